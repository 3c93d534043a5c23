// Numbers that protocol headers carry, by their registries' names.

/// EtherTypes (IEEE registry).
public enum EtherType {
    public static let ipv4: UInt16 = 0x0800
    public static let arp: UInt16 = 0x0806
    public static let rarp: UInt16 = 0x8035
    public static let transparentEthernet: UInt16 = 0x6558
    public static let vlan: UInt16 = 0x8100
    public static let ipv6: UInt16 = 0x86dd
    public static let lacp: UInt16 = 0x8809
    public static let mpls: UInt16 = 0x8847
    public static let mplsMulticast: UInt16 = 0x8848
    public static let vlanService: UInt16 = 0x88a8
    public static let nsh: UInt16 = 0x894f
    /// What a frame with an 802.2 header and no SNAP type is given (OpenFlow's OFP_DL_TYPE_NOT_ETH_TYPE).
    public static let none: UInt16 = 0x05ff
    /// The smallest value that is a type and not a length.
    public static let minimum: UInt16 = 0x0600

    @inlinable public static func isVLAN(_ type: UInt16) -> Bool { type == vlan || type == vlanService }
    @inlinable public static func isMPLS(_ type: UInt16) -> Bool { type == mpls || type == mplsMulticast }
}

/// IP protocol numbers (IANA).
public enum IPProtocol {
    public static let hopByHop: UInt8 = 0
    public static let icmp: UInt8 = 1
    public static let igmp: UInt8 = 2
    public static let tcp: UInt8 = 6
    public static let udp: UInt8 = 17
    public static let routing: UInt8 = 43
    public static let fragment: UInt8 = 44
    public static let gre: UInt8 = 47
    public static let authentication: UInt8 = 51
    public static let icmpv6: UInt8 = 58
    public static let destinationOptions: UInt8 = 60
    public static let sctp: UInt8 = 132
}

/// Sizes of fixed headers, in bytes.
public enum HeaderSize {
    public static let ethernet = 14
    public static let vlan = 4
    public static let mpls = 4
    public static let llcSNAP = 8
    public static let arp = 28
    public static let ipv4 = 20
    public static let ipv6 = 40
    public static let tcp = 20
    public static let udp = 8
    public static let sctp = 12
    public static let icmp = 8
    public static let igmp = 8
    public static let nshBase = 8
    public static let nshMD1 = 24
}

/// ICMPv6 types of neighbour discovery (RFC 4861).
public enum ICMPv6Type {
    public static let neighborSolicitation: UInt8 = 135
    public static let neighborAdvertisement: UInt8 = 136
}

/// Ethernet addresses as 48-bit integers.
public enum EthernetAddress {
    public static let broadcast: UInt64 = 0xffff_ffff_ffff
    public static let stp: UInt64 = 0x0180_c200_0000
    public static let lacp: UInt64 = 0x0180_c200_0002

    @inlinable public static func isMulticast(_ address: UInt64) -> Bool { address >> 40 & 1 != 0 }
    @inlinable public static func isBroadcast(_ address: UInt64) -> Bool { address == broadcast }
    /// An IEEE 802.1D/Q reserved group address, 01:80:c2:00:00:0x.
    @inlinable public static func isReserved(_ address: UInt64) -> Bool { address & ~0xf == 0x0180_c200_0000 }
}

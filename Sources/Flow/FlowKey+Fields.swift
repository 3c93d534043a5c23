// The named parts of a flow key: where each lies, and typed access for code that knows which field it wants.
// `Location` is what the field table refers to; the computed properties are for extraction and translation.

/// Locations of the fields in a `FlowKey`. Units and meaning are those of ovs-fields(7).
public enum Location {
    // Tunnel.
    public static let tunSrc = FieldLocation(0, 32, 32)
    public static let tunDst = FieldLocation(0, 0, 32)
    public static let tunIPv6Src = FieldLocation(1, 0, 128)
    public static let tunIPv6Dst = FieldLocation(3, 0, 128)
    public static let tunID = FieldLocation(5, 0, 64)
    public static let tunFlags = FieldLocation(6, 48, 16)
    /// The one tunnel flag that flows see.
    public static let tunOAM = FieldLocation(6, 48, 1)
    public static let tunTOS = FieldLocation(6, 40, 8)
    public static let tunTTL = FieldLocation(6, 32, 8)
    public static let tunTpSrc = FieldLocation(6, 16, 16)
    public static let tunTpDst = FieldLocation(6, 0, 16)
    public static let tunGBPID = FieldLocation(7, 48, 16)
    public static let tunGBPFlags = FieldLocation(7, 40, 8)
    public static let tunGTPUFlags = FieldLocation(7, 32, 8)
    public static let tunGTPUMsgType = FieldLocation(7, 24, 8)
    public static let tunERSPANVer = FieldLocation(7, 16, 4)
    public static let tunERSPANDir = FieldLocation(7, 8, 1)
    public static let tunERSPANHwid = FieldLocation(7, 0, 6)
    public static let tunERSPANIdx = FieldLocation(8, 32, 20)
    /// One bit for each tunnel option that is present, tun_metadata0 the least significant.
    public static let tunOptionsPresent = FieldLocation(9, 0, 64)
    /// The tunnel options' bytes: `tunOptionWords` words from here, laid out by the TLV map.
    public static let tunOptionsFirstWord = 10
    public static let tunOptionWords = 32
    // Metadata.
    public static let metadata = FieldLocation(42, 0, 64)
    public static func reg(_ n: Int) -> FieldLocation { FieldLocation(43 + n / 2, n % 2 == 0 ? 32 : 0, 32) }
    public static func xreg(_ n: Int) -> FieldLocation { FieldLocation(43 + n, 0, 64) }
    public static func xxreg(_ n: Int) -> FieldLocation { FieldLocation(43 + 2 * n, 0, 128) }
    public static let skbPriority = FieldLocation(51, 32, 32)
    public static let pktMark = FieldLocation(51, 0, 32)
    public static let dpHash = FieldLocation(52, 32, 32)
    public static let inPort = FieldLocation(52, 0, 32)
    public static let recircID = FieldLocation(53, 32, 32)
    public static let ctMark = FieldLocation(53, 0, 32)
    public static let ctState = FieldLocation(54, 48, 16)
    public static let ctZone = FieldLocation(54, 32, 16)
    public static let ctNwProto = FieldLocation(54, 24, 8)
    public static let ctLabel = FieldLocation(55, 0, 128)
    public static let conjID = FieldLocation(57, 32, 32)
    public static let actsetOutput = FieldLocation(57, 0, 32)
    public static let packetType = FieldLocation(58, 32, 32)
    // Layer 2.
    public static let ethDst = FieldLocation(59, 16, 48)
    public static let ethType = FieldLocation(59, 0, 16)
    public static let ethSrc = FieldLocation(60, 16, 48)
    public static let vlanTPID = FieldLocation(61, 48, 16)
    /// The tag control information with bit 0x1000 saying that a tag is there, as in vlan_tci of ovs-fields(7).
    public static let vlanTCI = FieldLocation(61, 32, 16)
    public static let vlanVID = FieldLocation(61, 32, 12)
    /// The VLAN ID with the bit that says that a tag is there, as OXM matches it.
    public static let vlanVIDAndPresent = FieldLocation(61, 32, 13)
    public static let vlanPresent = FieldLocation(61, 44, 1)
    public static let vlanPCP = FieldLocation(61, 45, 3)
    public static let innerVLANTPID = FieldLocation(61, 16, 16)
    public static let innerVLANTCI = FieldLocation(61, 0, 16)
    /// The label stack entry `n`, 0 to 2, outermost first.
    public static func mplsLSE(_ n: Int) -> FieldLocation { FieldLocation(n == 2 ? 63 : 62, n == 1 ? 0 : 32, 32) }
    public static let mplsLabel = FieldLocation(62, 44, 20)
    public static let mplsTC = FieldLocation(62, 41, 3)
    public static let mplsBOS = FieldLocation(62, 40, 1)
    public static let mplsTTL = FieldLocation(62, 32, 8)
    // Layer 3.
    public static let nwSrc = FieldLocation(64, 32, 32)
    public static let nwDst = FieldLocation(64, 0, 32)
    public static let ctNwSrc = FieldLocation(65, 32, 32)
    public static let ctNwDst = FieldLocation(65, 0, 32)
    public static let ipv6Src = FieldLocation(66, 0, 128)
    public static let ipv6Dst = FieldLocation(68, 0, 128)
    public static let ctIPv6Src = FieldLocation(70, 0, 128)
    public static let ctIPv6Dst = FieldLocation(72, 0, 128)
    public static let ipv6Label = FieldLocation(74, 32, 20)
    public static let nwFrag = FieldLocation(74, 24, 2)
    public static let nwTOS = FieldLocation(74, 16, 8)
    public static let nwDSCP = FieldLocation(74, 18, 6)
    public static let nwECN = FieldLocation(74, 16, 2)
    public static let nwTTL = FieldLocation(74, 8, 8)
    public static let nwProto = FieldLocation(74, 0, 8)
    // Layer 4.
    public static let ndTarget = FieldLocation(75, 0, 128)
    /// Also nd_sll.
    public static let arpSHA = FieldLocation(77, 16, 48)
    public static let tcpFlags = FieldLocation(77, 0, 16)
    /// Also nd_tll.
    public static let arpTHA = FieldLocation(78, 16, 48)
    public static let ndOptionsType = FieldLocation(78, 0, 8)
    public static let nshFlags = FieldLocation(79, 56, 8)
    public static let nshTTL = FieldLocation(79, 48, 8)
    public static let nshMDType = FieldLocation(79, 40, 8)
    public static let nshNP = FieldLocation(79, 32, 8)
    public static let nshSPI = FieldLocation(79, 8, 24)
    public static let nshSI = FieldLocation(79, 0, 8)
    /// NSH context header `n`, 0 to 3.
    public static func nshC(_ n: Int) -> FieldLocation { FieldLocation(80 + n / 2, n % 2 == 0 ? 32 : 0, 32) }
    /// TCP, UDP, SCTP port; ICMP type.
    public static let tpSrc = FieldLocation(82, 48, 16)
    /// TCP, UDP, SCTP port; ICMP code.
    public static let tpDst = FieldLocation(82, 32, 16)
    public static let ctTpSrc = FieldLocation(82, 16, 16)
    public static let ctTpDst = FieldLocation(82, 0, 16)
    /// The group of an IGMP message; also nd_reserved.
    public static let igmpGroup = FieldLocation(83, 32, 32)
}

/// Bits of the datapath's tunnel flags as they lie in `Location.tunFlags`.
public enum TunnelFlag {
    public static let oam: UInt16 = 0x0001
    public static let dontFragment: UInt16 = 0x0002
    public static let checksum: UInt16 = 0x0004
    public static let key: UInt16 = 0x0008
}

/// Values of `FlowKey.nwFrag`.
public enum IPFragment {
    public static let any: UInt8 = 1
    public static let later: UInt8 = 2
    public static let mask: UInt8 = 3
}

extension FlowKey {
    @inlinable public var tunSrc: UInt32 {
        get { bits(0, 32, as: UInt32.self) }
        set { setBits(0, 32, newValue) }
    }
    @inlinable public var tunDst: UInt32 {
        get { bits(0, 0, as: UInt32.self) }
        set { setBits(0, 0, newValue) }
    }
    @inlinable public var tunID: UInt64 {
        get { words[5] }
        set { words[5] = newValue }
    }
    @inlinable public var tunFlags: UInt16 {
        get { bits(6, 48, as: UInt16.self) }
        set { setBits(6, 48, newValue) }
    }
    @inlinable public var tunTOS: UInt8 {
        get { bits(6, 40, as: UInt8.self) }
        set { setBits(6, 40, newValue) }
    }
    @inlinable public var tunTTL: UInt8 {
        get { bits(6, 32, as: UInt8.self) }
        set { setBits(6, 32, newValue) }
    }
    @inlinable public var metadata: UInt64 {
        get { words[42] }
        set { words[42] = newValue }
    }
    @inlinable public var skbPriority: UInt32 {
        get { bits(51, 32, as: UInt32.self) }
        set { setBits(51, 32, newValue) }
    }
    @inlinable public var pktMark: UInt32 {
        get { bits(51, 0, as: UInt32.self) }
        set { setBits(51, 0, newValue) }
    }
    @inlinable public var dpHash: UInt32 {
        get { bits(52, 32, as: UInt32.self) }
        set { setBits(52, 32, newValue) }
    }
    /// The OpenFlow port in Ofproto, the datapath port below it.
    @inlinable public var inPort: UInt32 {
        get { bits(52, 0, as: UInt32.self) }
        set { setBits(52, 0, newValue) }
    }
    @inlinable public var recircID: UInt32 {
        get { bits(53, 32, as: UInt32.self) }
        set { setBits(53, 32, newValue) }
    }
    @inlinable public var ctMark: UInt32 {
        get { bits(53, 0, as: UInt32.self) }
        set { setBits(53, 0, newValue) }
    }
    @inlinable public var ctState: UInt16 {
        get { bits(54, 48, as: UInt16.self) }
        set { setBits(54, 48, newValue) }
    }
    @inlinable public var ctZone: UInt16 {
        get { bits(54, 32, as: UInt16.self) }
        set { setBits(54, 32, newValue) }
    }
    @inlinable public var ctNwProto: UInt8 {
        get { bits(54, 24, as: UInt8.self) }
        set { setBits(54, 24, newValue) }
    }
    @inlinable public var ctLabel: UInt128 {
        get { self[Location.ctLabel] }
        set { self[Location.ctLabel] = newValue }
    }
    @inlinable public var conjID: UInt32 {
        get { bits(57, 32, as: UInt32.self) }
        set { setBits(57, 32, newValue) }
    }
    @inlinable public var actsetOutput: UInt32 {
        get { bits(57, 0, as: UInt32.self) }
        set { setBits(57, 0, newValue) }
    }
    /// (namespace << 16) | type; 0 is Ethernet.
    @inlinable public var packetType: UInt32 {
        get { bits(58, 32, as: UInt32.self) }
        set { setBits(58, 32, newValue) }
    }

    /// 48 bits.
    @inlinable public var ethDst: UInt64 {
        get { words[59] &>> 16 }
        set { words[59] = words[59] & 0xffff | newValue &<< 16 }
    }
    @inlinable public var ethSrc: UInt64 {
        get { words[60] &>> 16 }
        set { words[60] = words[60] & 0xffff | newValue &<< 16 }
    }
    @inlinable public var ethType: UInt16 {
        get { bits(59, 0, as: UInt16.self) }
        set { setBits(59, 0, newValue) }
    }
    @inlinable public var vlanTPID: UInt16 {
        get { bits(61, 48, as: UInt16.self) }
        set { setBits(61, 48, newValue) }
    }
    @inlinable public var vlanTCI: UInt16 {
        get { bits(61, 32, as: UInt16.self) }
        set { setBits(61, 32, newValue) }
    }
    @inlinable public var innerVLANTPID: UInt16 {
        get { bits(61, 16, as: UInt16.self) }
        set { setBits(61, 16, newValue) }
    }
    @inlinable public var innerVLANTCI: UInt16 {
        get { bits(61, 0, as: UInt16.self) }
        set { setBits(61, 0, newValue) }
    }
    /// The label stack entry `n`, 0 to 2, outermost first.
    @inlinable public func mplsLSE(_ n: Int) -> UInt32 {
        bits(n == 2 ? 63 : 62, n == 1 ? 0 : 32, as: UInt32.self)
    }
    @inlinable public mutating func setMPLSLSE(_ n: Int, _ value: UInt32) {
        setBits(n == 2 ? 63 : 62, n == 1 ? 0 : 32, value)
    }
    /// How many labels a packet of an MPLS type has, 1 to 3: to the bottom of the stack, or until an entry is empty.
    public var mplsDepth: Int {
        for n in 1..<maxMPLSLabels where mplsLSE(n - 1) & 0x100 != 0 || mplsLSE(n) == 0 { return n }
        return maxMPLSLabels
    }

    @inlinable public var nwSrc: UInt32 {
        get { bits(64, 32, as: UInt32.self) }
        set { setBits(64, 32, newValue) }
    }
    @inlinable public var nwDst: UInt32 {
        get { bits(64, 0, as: UInt32.self) }
        set { setBits(64, 0, newValue) }
    }
    @inlinable public var ipv6Src: UInt128 {
        get { self[Location.ipv6Src] }
        set { self[Location.ipv6Src] = newValue }
    }
    @inlinable public var ipv6Dst: UInt128 {
        get { self[Location.ipv6Dst] }
        set { self[Location.ipv6Dst] = newValue }
    }
    @inlinable public var ipv6Label: UInt32 {
        get { bits(74, 32, as: UInt32.self) }
        set { setBits(74, 32, newValue) }
    }
    @inlinable public var nwFrag: UInt8 {
        get { bits(74, 24, as: UInt8.self) }
        set { setBits(74, 24, newValue) }
    }
    @inlinable public var nwTOS: UInt8 {
        get { bits(74, 16, as: UInt8.self) }
        set { setBits(74, 16, newValue) }
    }
    @inlinable public var nwTTL: UInt8 {
        get { bits(74, 8, as: UInt8.self) }
        set { setBits(74, 8, newValue) }
    }
    @inlinable public var nwProto: UInt8 {
        get { bits(74, 0, as: UInt8.self) }
        set { setBits(74, 0, newValue) }
    }

    @inlinable public var ndTarget: UInt128 {
        get { self[Location.ndTarget] }
        set { self[Location.ndTarget] = newValue }
    }
    @inlinable public var arpSHA: UInt64 {
        get { words[77] &>> 16 }
        set { words[77] = words[77] & 0xffff | newValue &<< 16 }
    }
    @inlinable public var tcpFlags: UInt16 {
        get { bits(77, 0, as: UInt16.self) }
        set { setBits(77, 0, newValue) }
    }
    @inlinable public var arpTHA: UInt64 {
        get { words[78] &>> 16 }
        set { words[78] = words[78] & 0xffff | newValue &<< 16 }
    }
    @inlinable public var ndOptionsType: UInt8 {
        get { bits(78, 0, as: UInt8.self) }
        set { setBits(78, 0, newValue) }
    }
    @inlinable public var tpSrc: UInt16 {
        get { bits(82, 48, as: UInt16.self) }
        set { setBits(82, 48, newValue) }
    }
    @inlinable public var tpDst: UInt16 {
        get { bits(82, 32, as: UInt16.self) }
        set { setBits(82, 32, newValue) }
    }
    @inlinable public var ctTpSrc: UInt16 {
        get { bits(82, 16, as: UInt16.self) }
        set { setBits(82, 16, newValue) }
    }
    @inlinable public var ctTpDst: UInt16 {
        get { bits(82, 0, as: UInt16.self) }
        set { setBits(82, 0, newValue) }
    }
    @inlinable public var igmpGroup: UInt32 {
        get { bits(83, 32, as: UInt32.self) }
        set { setBits(83, 32, newValue) }
    }

    /// Register `n`, 0 to 15.
    @inlinable public func reg(_ n: Int) -> UInt32 { bits(43 + n / 2, n % 2 == 0 ? 32 : 0, as: UInt32.self) }
}

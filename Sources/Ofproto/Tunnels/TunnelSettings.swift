// A tunnel port's settings: Interface.options as ovs-vswitchd.conf.db(5) has them, in numbers.

import Flow

/// What an interface of a tunnel type says of its tunnel.
public struct TunnelSettings: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable, CaseIterable { case vxlan, geneve, gre, erspan, gtpu }
    public enum Address: Hashable, Sendable {
        /// The flow says it.
        case flow
        case ipv4(UInt32)
        case ipv6(UInt128)
    }
    public enum Key: Hashable, Sendable {
        case absent, flow
        case value(UInt64)
    }
    /// What the payload is without its tunnel.
    public enum Layer: String, Hashable, Sendable { case legacyL2 = "legacy_l2", legacyL3 = "legacy_l3", ptap }

    public var kind: Kind
    /// The interface's type, which for some kinds says that the outer header is IPv6.
    public var type: String
    public var remote: Address
    /// Nil: any.
    public var local: Address?
    public var inKey = Key.absent
    public var outKey = Key.absent
    /// UDP port; 0 for tunnels without.
    public var destinationPort: UInt16 = 0
    /// Nil: the payload's.
    public var tos: UInt8? = 0
    public var ttl: UInt8? = 64
    public var dontFragment = true
    public var checksum = false
    public var hasSequence = false
    public var layer = Layer.legacyL2
    /// The VXLAN extension for other payloads than Ethernet.
    public var usesGPE = false
    /// The VXLAN extension for group policies.
    public var usesGBP = false
    public var erspanVersion: UInt8 = 1
    public var erspanIndex: UInt32 = 0
    public var erspanDirection: UInt8 = 0
    public var erspanHardware: UInt8 = 0

    /// Nil for interface types that are no tunnel of the userspace datapath, and for options that make no sense.
    public init?(type: String, options: [String: String]) {
        let kinds: [String: Kind] = [
            "vxlan": .vxlan, "geneve": .geneve, "gre": .gre, "ip6gre": .gre, "erspan": .erspan, "ip6erspan": .erspan,
            "gtpu": .gtpu,
        ]
        guard let kind = kinds[type], let remote = options["remote_ip"].flatMap(Self.address) else { return nil }
        self.kind = kind
        self.type = type
        self.remote = remote
        local = options["local_ip"].flatMap(Self.address)
        let both = options["key"]
        inKey = Self.key(options["in_key"] ?? both)
        outKey = Self.key(options["out_key"] ?? both)
        let standard: UInt16 =
            switch kind {
            case .vxlan: 4789
            case .geneve: 6081
            case .gtpu: 2152
            case .gre, .erspan: 0
            }
        destinationPort = standard == 0 ? 0 : options["dst_port"].flatMap { UInt16($0) } ?? standard
        if let text = options["tos"] { tos = text == "inherit" ? nil : Self.number(text).map { UInt8(truncatingIfNeeded: $0) } ?? 0 }
        if let text = options["ttl"] { ttl = text == "inherit" ? nil : Self.number(text).map { UInt8(truncatingIfNeeded: $0) } ?? 64 }
        dontFragment = options["df_default"] != "false"
        checksum = options["csum"] == "true"
        hasSequence = options["seq"] == "true"
        let extensions = (options["exts"] ?? "").split(separator: ",")
        usesGPE = extensions.contains("gpe")
        usesGBP = extensions.contains("gbp")
        layer = options["packet_type"].flatMap(Layer.init(rawValue:)) ?? (kind == .gtpu ? .legacyL3 : .legacyL2)
        erspanVersion = options["erspan_ver"].flatMap { UInt8($0) } ?? 1
        erspanIndex = options["erspan_idx"].flatMap(Self.hexadecimal).map { UInt32(truncatingIfNeeded: $0) & 0xfffff } ?? 0
        erspanDirection = options["erspan_dir"] == "1" ? 1 : 0
        erspanHardware = options["erspan_hwid"].flatMap(Self.hexadecimal).map { UInt8(truncatingIfNeeded: $0) & 0x3f } ?? 0
    }

    private static func address(_ text: String) -> Address? {
        if text == "flow" { return .flow }
        if let v4 = AddressText.parseIPv4(text) { return .ipv4(v4) }
        return AddressText.parseIPv6(text).map { .ipv6($0) }
    }
    private static func number(_ text: String) -> UInt64? {
        AddressText.parseInteger(text).flatMap { UInt64(exactly: $0) }
    }
    private static func hexadecimal(_ text: String) -> UInt64? {
        UInt64(text.hasPrefix("0x") ? String(text.dropFirst(2)) : text, radix: 16)
    }
    private static func key(_ text: String?) -> Key {
        guard let text else { return .absent }
        return text == "flow" ? .flow : number(text).map { .value($0) } ?? .absent
    }

    /// The datapath's port that all tunnels of the kind and UDP port share.
    public var backingName: String {
        switch kind {
        case .vxlan: "vxlan_sys_\(destinationPort)"
        case .geneve: "genev_sys_\(destinationPort)"
        case .gtpu: "gtpu_sys_\(destinationPort)"
        case .gre: "gre_sys"
        case .erspan: "erspan_sys"
        }
    }

    /// The type and name of the port that they share in a datapath that puts the headers on by itself: there, IPv6 is a kind of its own
    /// where GRE is below.
    public var datapathBacking: (type: String, name: String) {
        guard kind == .gre || kind == .erspan else { return (kind.rawValue, backingName) }
        var isIPv6 = type.hasPrefix("ip6")
        if case .ipv6 = remote { isIPv6 = true }
        return isIPv6 ? ("ip6\(kind.rawValue)", "ip6\(kind.rawValue)_sys") : (kind.rawValue, backingName)
    }

    /// IP protocol and UDP port that the outer header has.
    var ipProtocol: UInt8 { kind == .gre || kind == .erspan ? 47 : 17 }

    /// As `ofproto/list-tunnels` prints it behind the port's name.
    func text(datapathPort: UInt32) -> String {
        func text(_ a: Address?) -> String {
            switch a {
            case nil: "::"
            case .flow: "flow"
            case .ipv4(let v): AddressText.ipv4(v)
            case .ipv6(let v): AddressText.ipv6(v)
            }
        }
        func text(_ k: Key) -> String {
            switch k {
            case .absent: "0"
            case .flow: "flow"
            case .value(let v): AddressText.hex(v)
            }
        }
        var out = "\(kind.rawValue): \(text(local))->\(text(remote)), "
        out += inKey == outKey ? "key=\(text(inKey))" : "in_key=\(text(inKey)), out_key=\(text(outKey))"
        out += ", \(layer.rawValue), dp port=\(datapathPort), ttl=\(ttl.map(String.init) ?? "inherit")"
        if let tos { if tos != 0 { out += ", tos=\(AddressText.hex(tos))" } } else { out += ", tos=inherit" }
        if !dontFragment { out += ", df=false" }
        if checksum { out += ", csum=true" }
        return out
    }

    /// The options that mean something, as `dpif/show` prints them.
    public static func shown(type: String, options: [String: String]) -> [String: String] {
        let known: Set<String> = [
            "remote_ip", "local_ip", "key", "in_key", "out_key", "ttl", "tos", "csum", "df_default", "dst_port",
            "packet_type", "seq", "erspan_ver", "erspan_idx", "erspan_dir", "erspan_hwid", "egress_pkt_mark",
        ]
        var out = options.filter { known.contains($0.key) }
        let standard = ["vxlan": "4789", "geneve": "6081", "gtpu": "2152"][type]
        if out["dst_port"] == standard { out["dst_port"] = nil }
        for name in ["erspan_idx", "erspan_hwid"] {
            if let n = out[name].flatMap(hexadecimal) { out[name] = "0x" + String(n, radix: 16) }
        }
        return out
    }
}

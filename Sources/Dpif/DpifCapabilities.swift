// What a datapath can do. One value says it all; Ofproto asks it before every key field and action, and no datapath is
// ever asked for what it did not advertise. Each row of the table below documents what it enables and what happens
// without it.

/// The capability set of a datapath. A value; providers probe (netlink) or declare (netdev, dummy) theirs.
public struct DpifCapabilities: Hashable, Sendable {
    // Actions.
    /// `set` can rewrite part of an attribute. Without: whole attributes are set, and all their fields are matched.
    public var maskedSet = true
    /// Tunnels are actions (`tnl_push`/`tnl_pop`). Without: tunnels are datapath ports and `set(tunnel())`.
    public var tunnelPushPop = false
    /// Flows may be named by a 128-bit id. Without: by their key, and `dpctl/get-flow` and `dpctl/del-flow` refuse ids.
    public var ufid = true
    /// `trunc`. Without: outputs with max_len take the slow path.
    public var truncate = true
    /// `clone`. Without: a `sample` of 100 % does it, or the slow path.
    public var clone = true
    /// How deep `sample` may nest. Packets whose actions nest it deeper take the slow path.
    public var sampleNesting = 10
    /// `ct(eventmask=...)`. Without: events are not filtered.
    public var ctEventMask = true
    /// `ct_clear`. Without: the action only forgets the state within translation.
    public var ctClear = true
    /// The highest `dp_hash` algorithm. Select groups that want a higher one use algorithm 0; without algorithm 1, those that leave
    /// the method open hash the packet's fields in translation.
    public var maxHashAlgorithm = 1
    /// `check_pkt_len`. Without: check_pkt_larger takes the slow path.
    public var checkPacketLength = true
    /// `ct(timeout=...)`. Without: zones use the default timeouts.
    public var ctTimeoutPolicy = true
    /// `drop` with a reason. Without: the empty list, and drops are not counted by their reasons.
    public var explicitDrop = true
    /// `lb_output` for balance-tcp bonds. Without: recirculation.
    public var lbOutput = true
    /// SNAT to 0.0.0.0, which resolves collisions of tuples. Nothing is asked of a datapath for it that others do not get: it is
    /// told to orchestrators (Datapath.capabilities), which decide what flows they write.
    public var ctZeroSNAT = true
    /// `add_mpls`. Without: pushing MPLS onto packets without Ethernet header takes the slow path.
    public var addMPLS = true
    /// `meter`. Without: meter instructions are refused.
    public var meters = true
    /// NAT in `ct`. Without: nat() is refused.
    public var ctNAT = true

    // Keys.
    /// VLAN tags that can be matched. Flows that look at more take the slow path.
    public var maxVLANHeaders = 1
    /// MPLS labels that can be matched. Flows that look at more take the slow path.
    public var maxMPLSDepth = 3
    /// `recirc` and the `recirc_id` and `dp_hash` keys. Without: what needs them is refused.
    public var recirculation = true
    /// Each conntrack key. Without one: a match or set of it is refused, and so is `ct` when `ctState` is missing.
    public var ctState = true
    public var ctZone = true
    public var ctMark = true
    public var ctLabel = true
    /// The snat and dnat bits of `ct_state`. Without: a match of them is refused.
    public var ctStateNAT = true
    /// The original tuple keys. Without: a match of them is refused.
    public var ctOrigTuple = true
    public var ctOrigTuple6 = true
    /// nd_reserved and nd_options_type. Without: a match of them is refused.
    public var ndExtensions = true
    /// `tcp_flags`. Without: a match of them is refused.
    public var tcpFlags = true
    /// SCTP ports. Without: SCTP flows match their addresses only, and where ports matter they take the slow path.
    public var sctp = true
    /// Wildcarded flows. Without: every flow is installed exact.
    public var megaflows = true

    // Features beside flows.
    /// Conntrack zone limits.
    public var ctZoneLimit = true
    /// Several datapaths at once. Without: a second one is refused.
    public var multipleDatapaths = true
    /// Tunnel types that ports may have.
    public var tunnelTypes: Set<String> = []

    public init() {}

    /// Whether flows may match whatever OpenFlow has fields for.
    public var matchesEveryField: Bool {
        ctState && ctStateNAT && ctZone && ctMark && ctLabel && ctOrigTuple && ctOrigTuple6 && ndExtensions && recirculation && tcpFlags
    }
}

/// One row of the capability table: the real daemon's title, and access to the member.
public struct CapabilityRow: Sendable {
    public enum Member: Sendable {
        case flag(WritableKeyPath<DpifCapabilities, Bool> & Sendable)
        case count(WritableKeyPath<DpifCapabilities, Int> & Sendable)
    }
    /// By which `dpif/set-dp-features` knows it.
    public let name: String
    /// As printed by `dpif/show-dp-features`.
    public let title: String
    public let member: Member
    /// Printed by `dpif/show-dp-features`; the others belong to this switch alone.
    public let isStandard: Bool

    init(_ name: String, _ title: String, _ path: WritableKeyPath<DpifCapabilities, Bool> & Sendable, standard: Bool = true) {
        self.name = name
        self.title = title
        member = .flag(path)
        isStandard = standard
    }
    init(_ name: String, _ title: String, count path: WritableKeyPath<DpifCapabilities, Int> & Sendable) {
        self.name = name
        self.title = title
        member = .count(path)
        isStandard = true
    }

    /// Every capability that is a flag or a number, in the order of `dpif/show-dp-features`.
    public static let all: [CapabilityRow] = [
        .init("masked_set_action", "Masked set action", \.maskedSet),
        .init("tnl_push_pop", "Tunnel push pop", \.tunnelPushPop),
        .init("ufid", "Ufid", \.ufid),
        .init("trunc", "Truncate action", \.truncate),
        .init("clone", "Clone action", \.clone),
        .init("sample_nesting", "Sample nesting", count: \.sampleNesting),
        .init("ct_eventmask", "Conntrack eventmask", \.ctEventMask),
        .init("ct_clear", "Conntrack clear", \.ctClear),
        .init("max_hash_alg", "Max dp_hash algorithm", count: \.maxHashAlgorithm),
        .init("check_pkt_len", "Check pkt length action", \.checkPacketLength),
        .init("ct_timeout", "Conntrack timeout policy", \.ctTimeoutPolicy),
        .init("explicit_drop_action", "Explicit Drop action", \.explicitDrop),
        .init("lb_output_action", "Optimized Balance TCP mode", \.lbOutput),
        .init("ct_zero_snat", "Conntrack all-zero IP SNAT", \.ctZeroSNAT),
        .init("add_mpls", "MPLS Label add", \.addMPLS),
        .init("max_vlan_headers", "Max VLAN headers", count: \.maxVLANHeaders),
        .init("max_mpls_depth", "Max MPLS depth", count: \.maxMPLSDepth),
        .init("recirc", "Recirc", \.recirculation),
        .init("ct_state", "CT state", \.ctState),
        .init("ct_zone", "CT zone", \.ctZone),
        .init("ct_mark", "CT mark", \.ctMark),
        .init("ct_label", "CT label", \.ctLabel),
        .init("ct_state_nat", "CT state NAT", \.ctStateNAT),
        .init("ct_orig_tuple", "CT orig tuple", \.ctOrigTuple),
        .init("ct_orig_tuple6", "CT orig tuple for IPv6", \.ctOrigTuple6),
        .init("nd_ext", "IPv6 ND Extension", \.ndExtensions),
        .init("meters", "Meters", \.meters, standard: false),
        .init("ct_nat", "CT NAT", \.ctNAT, standard: false),
        .init("tcp_flags", "TCP flags", \.tcpFlags, standard: false),
        .init("sctp", "SCTP", \.sctp, standard: false),
        .init("megaflows", "Megaflows", \.megaflows, standard: false),
        .init("ct_zone_limit", "CT zone limit", \.ctZoneLimit, standard: false),
        .init("multiple_datapaths", "Multiple datapaths", \.multipleDatapaths, standard: false),
    ]

    /// The value in a set, as `dpif/set-dp-features` prints it: true, false or a number.
    public func value(_ capabilities: DpifCapabilities) -> String {
        switch member {
        case .flag(let path): String(capabilities[keyPath: path])
        case .count(let path): String(capabilities[keyPath: path])
        }
    }

    /// The value in a set, as printed: Yes, No or a number.
    public func text(_ capabilities: DpifCapabilities) -> String {
        switch member {
        case .flag(let path): capabilities[keyPath: path] ? "Yes" : "No"
        case .count(let path): String(capabilities[keyPath: path])
        }
    }
}

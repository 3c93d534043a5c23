// Timeout policies of the kernel's tracker (linux/netfilter/nfnetlink_cttimeout.h): one of each name for a protocol over IPv4 or IPv6.

import CLinux
import Dpif
import Glibc

/// Requests about timeout policies.
struct TimeoutPolicies {
    let transport: NetlinkTransport

    /// A protocol's states: names of CT_Timeout_Policy.timeouts, with the attribute of each.
    private struct Kind {
        let suffix: String
        let network: Int32
        let transport: UInt8
        let states: [(key: String, attribute: Int)]
    }
    private static let tcp: [(key: String, attribute: Int)] = [
        ("tcp_syn_sent", Int(CTA_TIMEOUT_TCP_SYN_SENT.rawValue)), ("tcp_syn_recv", Int(CTA_TIMEOUT_TCP_SYN_RECV.rawValue)),
        ("tcp_established", Int(CTA_TIMEOUT_TCP_ESTABLISHED.rawValue)), ("tcp_fin_wait", Int(CTA_TIMEOUT_TCP_FIN_WAIT.rawValue)),
        ("tcp_close_wait", Int(CTA_TIMEOUT_TCP_CLOSE_WAIT.rawValue)), ("tcp_last_ack", Int(CTA_TIMEOUT_TCP_LAST_ACK.rawValue)),
        ("tcp_time_wait", Int(CTA_TIMEOUT_TCP_TIME_WAIT.rawValue)), ("tcp_close", Int(CTA_TIMEOUT_TCP_CLOSE.rawValue)),
        ("tcp_syn_sent2", Int(CTA_TIMEOUT_TCP_SYN_SENT2.rawValue)), ("tcp_retransmit", Int(CTA_TIMEOUT_TCP_RETRANS.rawValue)),
        ("tcp_unack", Int(CTA_TIMEOUT_TCP_UNACK.rawValue)),
    ]
    private static let udp: [(key: String, attribute: Int)] = [
        ("udp_single", Int(CTA_TIMEOUT_UDP_UNREPLIED.rawValue)), ("udp_first", Int(CTA_TIMEOUT_UDP_UNREPLIED.rawValue)),
        ("udp_multiple", Int(CTA_TIMEOUT_UDP_REPLIED.rawValue)),
    ]
    private static let icmp: [(key: String, attribute: Int)] = [
        ("icmp_first", Int(CTA_TIMEOUT_ICMP_TIMEOUT.rawValue)), ("icmp_reply", Int(CTA_TIMEOUT_ICMP_TIMEOUT.rawValue)),
    ]
    private static let kinds: [Kind] = [
        Kind(suffix: "tcp4", network: AF_INET, transport: 6, states: tcp),
        Kind(suffix: "tcp6", network: AF_INET6, transport: 6, states: tcp),
        Kind(suffix: "udp4", network: AF_INET, transport: 17, states: udp),
        Kind(suffix: "udp6", network: AF_INET6, transport: 17, states: udp),
        Kind(suffix: "icmp4", network: AF_INET, transport: 1, states: icmp),
        Kind(suffix: "icmpv6", network: AF_INET6, transport: 58, states: icmp),
    ]

    // The suffixes are those that `DatapathBacker.timeoutPolicy` names.
    /// Makes a policy for every protocol, changes it, or removes it with nil. Names of 31 bytes are the longest.
    /// Throws ENOENT without nfnetlink_cttimeout, EINVAL for a name that is too long.
    func set(_ policy: String, _ timeouts: [String: UInt32]?) throws(DpifError) {
        for kind in Self.kinds {
            let name = "\(policy)_\(kind.suffix)"
            guard name.utf8.count < 32 else { throw DpifError(EINVAL, "timeout policy name \(name)") }
            guard let timeouts else {
                var w = KernelConntrack.request(NFNL_SUBSYS_CTNETLINK_TIMEOUT, IPCTNL_MSG_TIMEOUT_DELETE.rawValue)
                w.attribute(Int(CTA_TIMEOUT_NAME.rawValue), string: name)
                try transport.transact(w, "timeout policy \(name)")
                continue
            }
            var w = KernelConntrack.request(
                NFNL_SUBSYS_CTNETLINK_TIMEOUT, IPCTNL_MSG_TIMEOUT_NEW.rawValue, flags: NLM_F_CREATE | NLM_F_REPLACE)
            w.attribute(Int(CTA_TIMEOUT_NAME.rawValue), string: name)
            w.attribute(Int(CTA_TIMEOUT_L3PROTO.rawValue), network: UInt16(kind.network))
            w.attribute(Int(CTA_TIMEOUT_L4PROTO.rawValue), host: kind.transport)
            w.flaggedNest(Int(CTA_TIMEOUT_DATA.rawValue)) {
                for (key, attribute) in kind.states { if let seconds = timeouts[key] { $0.attribute(attribute, network: seconds) } }
            }
            try transport.transact(w, "timeout policy \(name)")
        }
    }
}

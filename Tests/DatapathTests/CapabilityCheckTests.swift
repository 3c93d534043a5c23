import Dpif
import Flow
import Testing

@Suite struct CapabilityCheckTests {
    /// For each capability: something that needs it, refused without it and allowed with it.
    static let cases: [(WritableKeyPath<DpifCapabilities, Bool> & Sendable, key: String, actions: String)] = [
        (\.maskedSet, "", "set(eth(src=01:00:00:00:00:00/01:00:00:00:00:00))"),
        (\.truncate, "", "trunc(100),1"),
        (\.clone, "", "clone(1)"),
        (\.checkPacketLength, "", "check_pkt_len(size=100,gt(1),le(2))"),
        (\.meters, "", "meter(1)"),
        (\.recirculation, "recirc_id(0x5)", "1"),
        (\.ctState, "ct_state(+trk)", "1"),
        (\.ctState, "", "ct(commit)"),
        (\.ctZone, "ct_zone(5)", "1"),
        (\.ctMark, "ct_mark(5)", "1"),
        (\.ctLabel, "ct_label(5)", "1"),
        (\.ctStateNAT, "ct_state(+snat)", "1"),
        (\.ctNAT, "", "ct(commit,nat(src=1.2.3.4))"),
        (\.ctClear, "", "ct_clear"),
        (\.tcpFlags, "eth_type(0x0800),ipv4(proto=6,frag=no),tcp(),tcp_flags(+syn)", "1"),
    ]

    @Test(arguments: cases.indices) func eachCapabilityIsChecked(_ index: Int) throws {
        let (path, key, actions) = Self.cases[index]
        let flow = try ODPFlow(parsing: "in_port(1)" + (key.isEmpty ? "" : "," + key))
        let list = try DpAction.parse(actions)
        var capabilities = DpifCapabilities()
        #expect(CapabilityCheck(capabilities).problem(key: flow.key, mask: flow.mask, actions: list) == nil)
        capabilities[keyPath: path] = false
        #expect(CapabilityCheck(capabilities).problem(key: flow.key, mask: flow.mask, actions: list) != nil)
    }
}

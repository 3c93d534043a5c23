// Datapath action text: what is printed is read back, and what makes no sense is refused, without a trap.
import Testing

@testable import Dpif

@Suite struct ActionTextTests {
    /// Text that fuzzing found to end the process, and numbers that do not fit.
    @Test(arguments: [
        "ct(=)", "ct(=,nat(src=1.1.1.1))", "ct(nat(=))", "ct(nat(=,random))", "push_nsh(mdtype=3)", "push_nsh(=)",
        "push_nsh(mdtype=2,md2=0x123)", "push_nsh(mdtype=2,md2=0x+1)", "push_nsh(mdtype=2,c1=0x1)", "push_nsh(md2=0x11)",
        "push_nsh(spi=0x1000000)", "push_nsh(ttl=64)", "push_nsh(flags=4)",
    ])
    func isRefused(_ text: String) {
        #expect(throws: DpActionSyntaxError.self) { try DpAction.parse(text) }
    }

    @Test(arguments: [
        "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x0,si=255,c1=0x0,c2=0x0,c3=0x0,c4=0x0)",
        "push_nsh(flags=2,ttl=1,mdtype=1,np=1,spi=0x123456,si=4,c1=0x1,c2=0xffffffff,c3=0x3,c4=0x40)",
        "push_nsh(flags=0,ttl=63,mdtype=2,np=3,spi=0x1,si=255,md2=0x10203040)",
        "pop_nsh()", "push_vlan(vid=5,pcp=2)", "pop_vlan", "add_mpls(label=5,tc=0,ttl=64,bos=1,eth_type=0x8847)",
        "push_mpls(label=100,tc=1,ttl=64,bos=1,eth_type=0x8847)",
        "sample(sample=50.0%,actions(1))", "clone(set(eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02)),3)",
        "check_pkt_len(size=100,gt(1),le(2))", "ct(commit,zone=5,nat(src=10.0.0.1))",
    ])
    func isReadBack(_ text: String) throws {
        let actions = try DpAction.parse(text)
        #expect(DpAction.text(actions) == text)
    }
}

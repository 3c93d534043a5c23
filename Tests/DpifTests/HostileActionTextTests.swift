// Action text that fuzzing found to end the process. It is refused, or read, but never traps.
import Testing

@testable import Dpif

@Suite struct HostileActionTextTests {
    @Test(arguments: ["ct(=)", "ct(=,nat(src=1.1.1.1))", "ct(nat(=))", "ct(nat(=,random))"])
    func isRefused(_ text: String) {
        #expect(throws: DpActionSyntaxError.self) { try DpAction.parse(text) }
    }
}

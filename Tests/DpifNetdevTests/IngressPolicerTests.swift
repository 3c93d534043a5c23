// The policer of devices whose packets this process reads: rates, bursts, and packets larger than what is left.

import Dpif
import NIOConcurrencyHelpers
import Netdev
import Testing

@Suite struct IngressPolicerTests {
    private func policer(_ settings: PolicingSettings?) -> (IngressPolicer, NIOLockedValueBox<UInt64>) {
        let clock = NIOLockedValueBox<UInt64>(1_000_000_000)
        let policer = IngressPolicer { clock.withLockedValue { $0 } }
        policer.set(settings)
        return (policer, clock)
    }

    @Test func withoutLimitAllEnters() {
        let (policer, _) = policer(nil)
        #expect((0..<1000).allSatisfy { _ in policer.admits(65_000) } && policer.dropped == 0)
    }

    @Test func theBurstThenTheRate() {
        // 1000 bytes per millisecond, and 100,000 at once.
        let (policer, clock) = policer(PolicingSettings(rate: 8000, burst: 800))
        #expect((0..<200).count { _ in policer.admits(1000) } == 100)
        for _ in 0..<50 {
            clock.withLockedValue { $0 += 10_000_000 }
            #expect((0..<20).count { _ in policer.admits(1000) } == 10)
        }
        #expect(policer.dropped == 600)
    }

    @Test func largePacketsAreMadeUpFor() {
        let (policer, clock) = policer(PolicingSettings(rate: 8000, burst: 80))
        #expect(policer.admits(60_000))
        var admitted = 0
        for _ in 0..<1200 {
            clock.withLockedValue { $0 += 1_000_000 }
            if policer.admits(60_000) { admitted += 60_000 }
        }
        #expect(abs(admitted - 1_200_000) <= 60_000)
    }

    @Test func packetsAreCounted() {
        var settings = PolicingSettings(rate: 0, burst: 0)
        settings.packetRate = 2
        settings.packetBurst = 1
        let (policer, clock) = policer(settings)
        #expect((0..<5000).count { _ in policer.admits(60_000) } == 1000)
        clock.withLockedValue { $0 += 100_000_000 }
        #expect((0..<5000).count { _ in policer.admits(60) } == 200)
        // The same again does not fill it.
        policer.set(settings)
        #expect(!policer.admits(60))
    }
}

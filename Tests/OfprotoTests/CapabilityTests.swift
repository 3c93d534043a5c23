// For each capability: what Ofproto does without it, and that a datapath without it never hears of it.

import Dpif
import Flow
import OpenFlow
import Testing

@testable import Ofproto

@Suite struct CapabilityTests {
    @Test func withoutMaskedSetWholeAttributesAreSet() throws {
        let bench = try SwitchBench { $0.maskedSet = false }
        try bench.add([.setEthSrc(0x0102_0304_0506), .output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.datapath.refused.isEmpty)
        let flow = try #require(bench.installed.first)
        #expect(flow.mask.isExact(Location.ethDst))
        #expect(bench.sent[1].first.map { Array($0[6..<12]) } == [1, 2, 3, 4, 5, 6])
    }

    @Test func withoutTruncateOutputsTakeTheSlowPath() throws {
        let bench = try SwitchBench { $0.truncate = false }
        try bench.add([.outputTruncated(OFPort(2), maxLength: 40)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.datapath.refused.isEmpty)
        #expect(bench.installed.first?.actions == [.userspace(.slowPath(.action))])
        #expect(bench.sent[1].map(\.count) == [40])
    }

    @Test func withoutCheckPacketLengthPacketsTakeTheSlowPath() throws {
        for capable in [true, false] {
            let bench = try SwitchBench { $0.checkPacketLength = capable }
            let register = Subfield(.reg0, low: 0, count: 1)
            try bench.add([
                .checkPacketLarger(100, to: register), .resubmit(ResubmitAction(table: 1)),
            ])
            try bench.add({ $0.set(Location.reg(0), 1, mask: 1) }, table: 1, [.output(OFPort(2), maxLength: 0)])
            try bench.add({ $0.set(Location.reg(0), 0, mask: 1) }, table: 1, [.output(OFPort(3), maxLength: 0)])
            try bench.receive(SwitchBench.udp, size: 60)
            try bench.receive(SwitchBench.udp, size: 200)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].map(\.count) == [200])
            #expect(bench.sent[2].map(\.count) == [60])
            #expect((bench.installed.first?.actions == [.userspace(.slowPath(.action))]) == !capable)
        }
    }

    @Test func withoutConntrackItsFieldsAndActionsAreRefused() throws {
        func refused(_ change: (inout DpifCapabilities) -> Void, _ field: FieldLocation, _ mask: UInt128 = 1) throws -> OFError? {
            let bench = try SwitchBench(change)
            do throws(OFError) {
                try bench.add({ $0.set(field, mask, mask: mask) }, [])
                return nil
            } catch {
                return error
            }
        }
        #expect(try refused({ $0.ctState = false }, Location.ctState, 0x20) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctStateNAT = false }, Location.ctState, 0x40) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctStateNAT = false }, Location.ctState, 0x20) == nil)
        #expect(try refused({ $0.ctZone = false }, Location.ctZone) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctMark = false }, Location.ctMark) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctLabel = false }, Location.ctLabel) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctOrigTuple = false }, Location.ctNwSrc) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctOrigTuple6 = false }, Location.ctIPv6Src) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.recirculation = false }, Location.recircID) == .bmcBadField)
        var ct = CTAction()
        ct.commit = true
        for change: (inout DpifCapabilities) -> Void in [{ $0.ctState = false }, { $0.recirculation = false }] {
            let bench = try SwitchBench(change)
            #expect(throws: OFError.nxbacCtDatapathSupport) { try bench.add([.ct(ct)]) }
        }
        var nat = ct
        nat.actions = [.nat(NATAction())]
        let bench = try SwitchBench { $0.ctNAT = false }
        #expect(throws: OFError.nxbacCtDatapathSupport) { try bench.add([.ct(nat)]) }
        try bench.add([.ct(ct)])
    }

    @Test func withoutCtClearTheStateIsForgottenInTranslationOnly() throws {
        let bench = try SwitchBench { $0.ctClear = false }
        try bench.add([.ctClear, .output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.datapath.refused.isEmpty)
        #expect(bench.sent[1].count == 1)
    }

    @Test func withoutMetersTheInstructionDoesNothingToTheDatapath() throws {
        let bench = try SwitchBench { $0.meters = false }
        #expect(bench.datapath.meters == nil)
        #expect(throws: OFError.mmfcInvalidMeter) { try bench.add([.meter(1), .output(OFPort(2), maxLength: 0)]) }
    }

    @Test func withoutTCPFlagsAMatchOfThemIsRefused() throws {
        let bench = try SwitchBench { $0.tcpFlags = false }
        #expect(throws: OFError.bmcBadField) {
            try bench.add(
                {
                    $0.set(Location.ethType, 0x0800)
                    $0.set(Location.nwProto, 6)
                    $0.set(Location.tcpFlags, 2, mask: 2)
                }, [])
        }
    }

    @Test func withoutMegaflowsEveryFlowIsExact() throws {
        let bench = try SwitchBench { $0.megaflows = false }
        try bench.add([.output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        let flow = try #require(bench.installed.first)
        for l in [Location.ethSrc, Location.ethDst, Location.nwSrc, Location.nwDst, Location.tpSrc, Location.tpDst] {
            #expect(flow.mask.isExact(l))
        }
    }

    @Test func withoutNDExtensionsAMatchOfThemIsRefused() throws {
        let bench = try SwitchBench { $0.ndExtensions = false }
        #expect(throws: OFError.bmcBadField) {
            try bench.add(
                {
                    $0.set(Location.ethType, 0x86dd)
                    $0.set(Location.ndOptionsType, 1)
                }, [])
        }
    }
}

// Which thread polls which queue, on machines that no test has: two NUMA nodes, pinned queues, measured loads.
import Dpif
import TestSupport
import Testing

@testable import DpifNetdev

@Suite struct QueueAssignmentTests {
    typealias Queue = QueueAssignment.Queue
    private let cores = [0, 1].map { QueueAssignment.Core(core: $0, node: 0) }

    private func queue(_ port: UInt32, _ queue: Int = 0, node: Int = 0, load: UInt64 = 0, pinned: Int? = nil) -> Queue {
        Queue(id: .init(port: port, queue: queue), node: node, load: load, pinned: pinned)
    }
    private func assign(
        _ queues: [Queue], _ algorithm: QueueAssignment.Algorithm = .cycles, isolates: Bool = true, cores: [QueueAssignment.Core]? = nil
    ) -> [Int?] {
        let result = QueueAssignment(queues, cores: cores ?? self.cores, algorithm: algorithm, isolates: isolates)
        return queues.map { result.coreOf[$0.id] }
    }

    /// As the real daemon does without measurements: there and back.
    @Test func cyclesGoThereAndBack() {
        #expect(assign([queue(1, 0), queue(1, 1), queue(2)]) == [0, 1, 1])
        #expect(assign([queue(1), queue(2), queue(3), queue(4), queue(5)]) == [0, 1, 1, 0, 0])
    }

    @Test func theBusiestComeFirst() {
        #expect(assign([queue(1, load: 10), queue(2, load: 30), queue(3, load: 20)]) == [1, 0, 1])
        #expect(assign([queue(1, load: 50), queue(2, load: 20), queue(3, load: 20), queue(4, load: 5)], .group) == [0, 1, 1, 1])
    }

    @Test func roundRobinDoesNotTurn() {
        #expect(assign([queue(1, load: 1), queue(2, load: 9), queue(3), queue(4)], .roundrobin) == [0, 1, 0, 1])
    }

    @Test func pinnedQueuesIsolateTheirThreads() {
        let queues = [queue(1, 0, pinned: 1), queue(1, 1, pinned: 1), queue(2)]
        #expect(assign(queues) == [1, 1, 0])
        #expect(assign([queue(1, load: 10), queue(2, load: 1, pinned: 1), queue(3, load: 5)], .group, isolates: false) == [0, 1, 1])
        // No thread is left over: polled somewhere is better than nowhere.
        #expect(assign([queue(1, pinned: 0), queue(2, pinned: 1), queue(3)]).allSatisfy { $0 != nil })
    }

    @Test func aCoreWithoutThreadIsTold() {
        let result = QueueAssignment([queue(1, pinned: 7)], cores: cores, algorithm: .cycles, isolates: true)
        #expect(result.unpinnable == [.init(port: 1, queue: 0)])
        #expect(result.coreOf.count == 1)
    }

    @Test func queuesStayOnTheirNode() {
        let cores = [(0, 0), (1, 0), (2, 1)].map { QueueAssignment.Core(core: $0.0, node: $0.1) }
        #expect(assign([queue(1, node: 1), queue(2, node: 1), queue(3, node: 0), queue(4, node: 2)], cores: cores) == [2, 2, 0, 0])
    }

    /// Whatever there is: every queue has one thread, and pinned ones have theirs.
    @Test func everyQueueIsPolled() {
        var g = SeededGenerator(for: "queue assignment")
        for _ in 0..<500 {
            let cores = (0..<Int.random(in: 1...6, using: &g)).map { QueueAssignment.Core(core: $0, node: $0 % 2) }
            let queues = (0..<UInt32.random(in: 0...20, using: &g)).map {
                queue(
                    $0, Int($0 % 3), node: Int.random(in: 0...2, using: &g), load: UInt64.random(in: 0...100, using: &g),
                    pinned: Bool.random(using: &g) ? Int.random(in: 0...7, using: &g) : nil)
            }
            let algorithm: QueueAssignment.Algorithm = [.cycles, .roundrobin, .group].randomElement(using: &g) ?? .cycles
            let result = QueueAssignment(queues, cores: cores, algorithm: algorithm, isolates: Bool.random(using: &g))
            #expect(Set(result.coreOf.keys) == Set(queues.map(\.id)))
            for q in queues { if let pinned = q.pinned, pinned < cores.count { #expect(result.coreOf[q.id] == pinned) } }
        }
    }

    @Test(arguments: [("0:1,1:1", [0: 1, 1: 1]), ("", [:]), ("2:0", [2: 0])] as [(String, [Int: Int])])
    func affinityIsRead(_ text: String, _ cores: [Int: Int]) { #expect(QueueAssignment.affinity(text) == cores) }

    @Test(arguments: ["1", "1:", "a:1", "1:2:3", "-1:0"]) func affinityIsRefused(_ text: String) {
        #expect(QueueAssignment.affinity(text) == nil)
    }

    @Test func usageIsThatOfTheTimeAskedFor() {
        var usage = ThreadUsage()
        let id = QueueAssignment.ID(port: 1, queue: 0)
        #expect(usage.percent(of: id, on: 0, seconds: 60) == nil)
        for (i, used) in [0, 10, 20, 100].enumerated() {
            usage.sample(now: Int64(i) * 5000, queues: [id: UInt64(used)], threads: [(0, UInt64(used), UInt64(i) * 100)])
        }
        #expect(usage.percent(of: id, on: 0, seconds: 5) == 80)
        #expect(usage.percent(of: id, on: 0, seconds: 60) == 33)
        #expect(usage.load(of: 0, seconds: 60) == 33)
        #expect(!usage.isDue(19_999) && usage.isDue(20_000))
    }

    @Test func settingsAreReadAndBadOnesCountAsNone() throws {
        let settings = try ThreadSettings([
            "pmd-cpu-mask": "0x1", "pmd-rxq-assign": "group", "pmd-rxq-isolate": "false", "pmd-maxsleep": "100", "pmd-auto-lb": "true",
            "pmd-auto-lb-rebal-interval": "2", "pmd-auto-lb-load-threshold": "250",
        ])
        #expect(settings.cores == [0] && settings.algorithm == .group && !settings.isolates && settings.maxSleep == 100)
        #expect(settings.balancing.isOn && settings.balancing.interval == 120_000 && settings.balancing.loadThreshold == 95)
        #expect(try ThreadSettings(["pmd-rxq-isolate": "false"]).isolates, "only group shares threads")
        #expect(throws: DpifError.self) { try ThreadSettings(["pmd-cpu-mask": "xyz"]) }
    }

    @Test func portsBecomeDevices() throws {
        func devargs(_ kind: DPDKPortKind, _ name: String, _ options: [String: String] = [:]) throws -> String {
            try kind.devargs(name: name, options: options, queues: 2, socketDirectory: "/run/s")
        }
        #expect(try devargs(.dpdk, "p", ["dpdk-devargs": "0000:01:00.0"]) == "0000:01:00.0")
        #expect(try devargs(.dpdkvhostuser, "v1") == "net_vhost_v1,iface=/run/s/v1,queues=2,client=0")
        #expect(try devargs(.dpdkvhostuserclient, "v-1", ["vhost-server-path": "/a"]) == "net_vhost_v_2d1,iface=/a,queues=2,client=1")
        #expect(try devargs(.afxdp, "eth1") == "net_af_xdp_eth1,iface=eth1,start_queue=0,queue_count=2")
        #expect(throws: DpifError.self) { try devargs(.dpdk, "p") }
        #expect(throws: DpifError.self) { try devargs(.dpdkvhostuserclient, "p") }
        #expect(throws: DpifError.self) { try devargs(.dpdkvhostuser, "a/b") }
        #expect(throws: DpifError.self) { try devargs(.dpdkvhostuserclient, "p", ["vhost-server-path": "/a,iface=/b"]) }
    }
}

// What every datapath must do, as checks that run against whatever `Dpif` they are given.
//
// A check names the capability without which it cannot run, and is skipped then. Whether a capability is as it is advertised
// is checked both ways: what is advertised works, what is not is refused.

import Dpif
import Flow
import Packet

/// A port with its outside: what is put in there is received, what the datapath sends comes out.
public protocol ConformancePort: AnyObject {
    var device: any PortDevice { get }
    /// Lets a frame arrive.
    func inject(_ frame: [UInt8]) throws
    /// Frames that the datapath has sent since the last call.
    func taken() throws -> [[UInt8]]
}

/// A kind of datapath under test.
public protocol ConformanceSubject {
    /// As a test's name shows it.
    var name: String { get }
    /// A datapath without flows, and without ports other than its own.
    func open() throws -> any Dpif
    func makePort(_ name: String) throws -> any ConformancePort
    /// Whether flows and actions outside the capabilities are refused, and not only never asked for.
    var isStrict: Bool { get }
}

/// How a check ended.
public enum ConformanceOutcome: Equatable, Sendable {
    case passed
    /// The datapath lacks this capability.
    case skipped(String)
    case failed(String)
}

/// What is wrong.
struct ConformanceFailure: Error, CustomStringConvertible {
    let description: String
}

/// One thing that must hold.
public struct ConformanceCheck: Sendable, CustomStringConvertible {
    public let name: String
    /// The capability that it needs, in words; nil when the datapath has it.
    let missing: @Sendable (DpifCapabilities) -> String?
    let body: @Sendable (ConformanceBench) throws -> Void

    public var description: String { name }

    /// - Parameter needs: the names and values of the capabilities that the check needs.
    init(
        _ name: String, needs: @escaping @Sendable (DpifCapabilities) -> [(String, Bool)] = { _ in [] },
        _ body: @escaping @Sendable (ConformanceBench) throws -> Void
    ) {
        self.name = name
        missing = { needs($0).first { !$0.1 }?.0 }
        self.body = body
    }

    /// Runs the check on a datapath of its own.
    public func run(on subject: any ConformanceSubject) -> ConformanceOutcome {
        do {
            let bench = try ConformanceBench(subject)
            defer { bench.dpif.destroy() }
            if let capability = missing(bench.dpif.capabilities) { return .skipped(capability) }
            try body(bench)
            return .passed
        } catch let failure as ConformanceFailure {
            return .failed(failure.description)
        } catch {
            return .failed("\(error)")
        }
    }

    /// All of them.
    public static let all: [ConformanceCheck] = portChecks + flowChecks + packetChecks + capabilityChecks
}

/// A datapath with three ports, whose upcalls are kept.
public final class ConformanceBench: UpcallHandler {
    public let dpif: any Dpif
    let subject: any ConformanceSubject
    let ports: [any ConformancePort]
    let numbers: [UInt32]
    var upcalls: [Upcall] = []
    /// What upcalls are answered with.
    var verdict: (Upcall) -> UpcallVerdict = { _ in UpcallVerdict(actions: []) }

    init(_ subject: any ConformanceSubject) throws {
        self.subject = subject
        dpif = try subject.open()
        ports = try (1...3).map { try subject.makePort("c\($0)") }
        var numbers: [UInt32] = []
        for port in ports { numbers.append(try dpif.addPort(port.device, requested: nil)) }
        self.numbers = numbers
        dpif.upcallHandler = self
    }

    deinit { dpif.upcallHandler = nil }

    public func handle(_ upcall: Upcall, packet: borrowing Packet) -> UpcallVerdict {
        upcalls.append(upcall)
        return verdict(upcall)
    }

    func require(_ condition: Bool, _ text: @autoclosure () -> String) throws {
        guard condition else { throw ConformanceFailure(description: text()) }
    }

    /// Expects a call to fail with an errno.
    func refuses(_ errno: Int32, _ what: String, _ body: () throws(DpifError) -> Void) throws {
        do throws(DpifError) {
            try body()
        } catch {
            guard error.errno == errno else { throw ConformanceFailure(description: "\(what): errno \(error.errno), not \(errno)") }
            return
        }
        throw ConformanceFailure(description: "\(what) was accepted")
    }

    func inject(_ port: Int = 0, _ frame: [UInt8]? = nil) throws {
        try ports[port].inject(try frame ?? Self.udp())
        dpif.run()
    }

    func sent(_ port: Int) throws -> [[UInt8]] { try ports[port].taken() }

    /// A flow for all that port 0 receives, in one pass of recirculation.
    /// - Parameter type: only packets of this type, which some actions have to know.
    func flow(_ actions: [DpAction], recirculation: UInt32 = 0, type: UInt16? = nil) -> DpFlow {
        var match = Match()
        if let type { match.set(Location.ethType, UInt128(type)) }
        match.set(Location.inPort, UInt128(numbers[0]))
        if dpif.capabilities.recirculation { match.set(Location.recircID, UInt128(recirculation)) }
        return DpFlow(ufid: UFID(key: match.key, mask: match.mask), key: match.key, mask: match.mask, actions: actions)
    }

    func put(_ flow: DpFlow, _ mode: DpFlowPut.Mode = .create) throws(DpifError) { try dpif.putFlow(DpFlowPut(mode, flow)) }

    func output(_ port: Int) -> DpAction { .output(numbers[port]) }

    static func udp(size: Int = 100) throws -> [UInt8] {
        try ODPFlow(
            parsing:
                "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=5,dst=6)"
        ).key.composePacket(size: size).array
    }
}

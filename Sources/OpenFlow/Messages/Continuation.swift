// Continuations: what a `controller(pause)` action leaves to be done, as the properties of NXT_PACKET_IN2 that a controller gives
// back untouched in NXT_RESUME. They come from outside like everything else, so they are checked like it.

/// The rest of a translation.
public struct Continuation: Hashable, Sendable {
    public enum Step: Hashable, Sendable {
        case action(OFAction)
        /// Return from a resubmit to this table and flow cookie.
        case unroll(table: UInt8, cookie: UInt64)
    }

    /// Names the bridge, 16 bytes.
    public var bridge: [UInt8] = []
    /// The bottom first.
    public var stack: [UInt128] = []
    public var conntracked = false
    public var steps: [Step] = []
    public var actionSet: [OFAction] = []
    /// The datapath's number of the port that the packet came in at.
    public var datapathPort: UInt32?

    public init() {}

    private enum Property {
        static let bridge: UInt16 = 0x8000
        static let stack: UInt16 = 0x8001
        static let conntracked: UInt16 = 0x8003
        static let table: UInt16 = 0x8004
        static let cookie: UInt16 = 0x8005
        static let actions: UInt16 = 0x8006
        static let actionSet: UInt16 = 0x8007
        static let datapathPort: UInt16 = 0x8008
    }

    /// The most entries that a stack and a list of steps may have: what resources a translation has anyway.
    private static let limit = 4096

    /// The properties, for a connection of a version. Instructions that cannot stand in a list of actions are left out.
    public func encode(version v: OFVersion) -> [UInt8] {
        var w = WireWriter()
        func property(_ type: UInt16, _ body: (inout WireWriter) -> Void) {
            let start = w.count
            w.u16(type)
            w.u16(0)
            body(&w)
            w.patch16(w.count - start, at: start + 2)
            w.pad8(from: start)
        }
        property(Property.bridge) { $0.array(bridge) }
        for value in stack {
            property(Property.stack) { $0.uint(value, size: value >> 32 == 0 ? 4 : value >> 64 == 0 ? 8 : 16) }
        }
        if conntracked { property(Property.conntracked) { _ in } }
        var run: [OFAction] = []
        func flush() {
            guard !run.isEmpty else { return }
            property(Property.actions) { w in
                w.u32(0)
                ActionCodec.encodeActions(run, version: v, to: &w)
            }
            run = []
        }
        for step in steps {
            switch step {
            case .action(.gotoTable(let table)): run.append(.resubmit(ResubmitAction(inPort: .inPort, table: table)))
            case .action(let action): run.append(action)
            case .unroll(let table, let cookie):
                flush()
                property(Property.table) { $0.u8(table) }
                property(Property.cookie) { w in
                    w.u32(0)
                    w.u64(cookie)
                }
            }
        }
        flush()
        if !actionSet.isEmpty {
            property(Property.actionSet) { w in
                w.u32(0)
                ActionCodec.encodeActions(actionSet, version: v, to: &w)
            }
        }
        if let datapathPort { property(Property.datapathPort) { $0.u32(datapathPort) } }
        return w.bytes
    }

    /// Reads the properties that a controller gave back.
    public init(_ bytes: [UInt8], context: ActionContext) throws(OFError) {
        var r = WireReader(bytes)
        var table: UInt8?
        while !r.isEmpty {
            var (type, b) = try r.property()
            switch type {
            case Property.bridge: bridge = try b.array(16)
            case Property.stack:
                guard (1...16).contains(b.remaining), stack.count < Self.limit else { throw .bpcBadLen }
                stack.append(try b.uint(size: b.remaining))
            case Property.conntracked: conntracked = true
            case Property.table: table = try b.u8()
            case Property.cookie:
                try b.skip(4)
                steps.append(.unroll(table: table ?? 0, cookie: try b.u64()))
            case Property.actions, Property.actionSet:
                try b.skip(4)
                let list = try ActionCodec.decodeActionList(&b, length: b.remaining, context)
                if type == Property.actions { steps += list.map { .action($0) } } else { actionSet = list }
            case Property.datapathPort: datapathPort = try b.u32()
            // Mirrors that have had their copy: they would get no other, and here they are not known.
            case 0x8002: break
            default: throw .unknownProperty(type)
            }
            guard steps.count <= Self.limit else { throw .bpcBadValue }
        }
        guard bridge.count == 16 else { throw .bpcBadValue }
    }
}

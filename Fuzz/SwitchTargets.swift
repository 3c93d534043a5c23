// Actions, learn specs, groups, meters and bundles in each version of OpenFlow, told to a switch that packets then go through. The input
// chooses fields; lengths are made to fit more often than not, so that what lies behind them is reached.

import OpenFlow

private let nicira: UInt32 = 0x2320
private let onf: UInt32 = 0x4f4e_4600

/// Headers of fields that actions name: of a port, addresses, registers, a stack's worth, conntrack, tunnels, and none.
private let fieldHeaders: [UInt32] = [
    0x0000_0002, 0x0000_0206, 0x0000_0406, 0x0000_0802, 0x0000_0a01, 0x0000_0e04, 0x0000_1202, 0x0001_0004, 0x0001_0204, 0x0001_2008,
    0x0001_3410, 0x0001_3610, 0x0001_d210, 0x0001_d604, 0x0001_dc10, 0x8000_0004, 0x8000_0a02, 0x8000_1a10, 0x8000_4404, 0x8000_4c08,
    0x8001_0008, 0x0001_507c, 0xffff_0004, 0,
]

/// One action: standard, Nicira's or ONF's; its length is what its body is, or, seldom, what the input says.
private func action(_ c: inout Choices) -> [UInt8] {
    let form = c.u8()
    var w = WireWriter()
    let count = 8 * Int(1 + c.u8() % 10)
    w.u16(form < 100 ? UInt16(form % 32) : 0xffff)
    w.u16(form == 255 ? c.u16() : UInt16(form < 100 ? count : count + 8))
    if form < 100 {
        // A field to set is the body of most.
        if form % 32 == 25 || form & 64 != 0 { w.u32(c.pick(fieldHeaders)) } else { w.array(c.take(4)) }
        w.array(c.take(count - 8))
    } else {
        w.u32(form % 8 == 7 ? onf : nicira)
        w.u16(UInt16(c.u8() % 56))
        w.array(c.take(2))
        if form % 2 == 0, count >= 16 {
            w.array(c.take(4))
            w.u32(c.pick(fieldHeaders))
            w.array(c.take(count - 12))
        } else {
            w.array(c.take(count - 4))
        }
    }
    return w.bytes
}

private func actions(_ c: inout Choices, limit: Int = 512) -> [UInt8] {
    var list: [UInt8] = []
    while !c.isEmpty, list.count < limit { list += action(&c) }
    return list
}

/// A list of actions as a flow has it: apply-actions, or write-actions, from 1.1 on.
private func instructions(_ list: [UInt8], _ version: OFVersion, write: Bool) -> [UInt8] {
    guard version > .v10 else { return list }
    var w = WireWriter()
    w.u16(write ? 3 : 4)
    w.u16(UInt16(8 + list.count))
    w.u32(0)
    w.array(list)
    return w.bytes
}

private func version(_ c: inout Choices) -> OFVersion { c.pick(OFVersion.allCases) }

/// Flows with such actions, and packets that meet them.
@Sendable func fuzzActions(_ input: [UInt8]) {
    var c = Choices(input)
    guard let target = try? FuzzedSwitch(version(&c)) else { return }
    let write = c.u8() & 1 != 0
    try? target.addFlow(instructions(actions(&c), target.version, write: write))
    target.receive()
}

/// A learn action, of either form, with specs whose fields exist.
@Sendable func fuzzLearn(_ input: [UInt8]) {
    var c = Choices(input)
    guard let target = try? FuzzedSwitch(version(&c)) else { return }
    var body = WireWriter()
    let hasLimit = c.u8() & 1 != 0
    // Timeouts, priority, cookie; flags within what is known more often than not; a table that packets are sent to.
    for _ in 0..<3 { body.u16(c.u16()) }
    for _ in 0..<2 { body.u32(c.u32()) }
    body.u16(c.u16() & (c.u8() < 200 ? 7 : .max))
    body.u8(c.u8() % 3)
    body.u8(0)
    for _ in 0..<2 { body.u16(c.u16()) }
    if hasLimit {
        body.u32(c.u32() % 4)
        body.u16(c.u16() % 40)
        body.u16(0)
        if c.u8() & 1 != 0 { body.u32(c.pick(fieldHeaders)) }
    }
    while !c.isEmpty, body.count < 400 {
        let kind = c.u8()
        let bits = c.u16() % (kind < 250 ? 65 : 2048)
        let (isImmediate, destination) = (kind & 1 != 0, UInt16(kind >> 1 & 3))
        body.u16((isImmediate ? 0x2000 : 0) | destination << 11 | bits)
        if isImmediate {
            body.array(c.take(Int(bits + 15) / 16 * 2))
        } else {
            body.u32(c.pick(fieldHeaders))
            body.u16(c.u16() % 32)
        }
        if destination < 2 {
            body.u32(c.pick(fieldHeaders))
            body.u16(c.u16() % 32)
        }
    }
    var w = WireWriter()
    let bytes = body.bytes
    let size = (10 + bytes.count + 7) / 8 * 8
    w.u16(0xffff)
    w.u16(UInt16(size))
    w.u32(nicira)
    w.u16(hasLimit ? 45 : 16)
    w.array(bytes)
    w.zeros(size - 10 - bytes.count)
    // resubmit(,1), so that what was learned is met.
    let resubmit: [UInt8] = [0xff, 0xff, 0, 16, 0, 0, 0x23, 0x20, 0, 14, 0xff, 0xf8, 1, 0, 0, 0]
    try? target.addFlow(instructions(w.bytes + resubmit, target.version, write: false))
    target.receive()
    target.receive()
    // The learner goes, and what it taught, where it said so.
    try? target.addFlow(instructions([], target.version, write: false))
    target.receive()
}

/// Some messages about groups, and flows that use them.
@Sendable func fuzzGroups(_ input: [UInt8]) {
    var c = Choices(input)
    let version = c.pick(OFVersion.allCases.filter { $0 > .v10 })
    guard let target = try? FuzzedSwitch(version) else { return }
    var group: [UInt8] = [0, 22, 0, 8, 0, 0, 0, 1]
    try? target.addFlow(instructions(group, version, write: false))
    while !c.isEmpty {
        try? target.send(15, groupMod(&c, version))
        target.receive()
        group[7] = c.u8() % 4
        try? target.addFlow(instructions(group, version, write: c.u8() & 1 != 0))
        // Group statistics, descriptions and features.
        try? target.send(18, [0, c.u8() % 4 + 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, c.u8() % 4, 0, 0, 0, 0])
    }
}

private func groupMod(_ c: inout Choices, _ version: OFVersion) -> [UInt8] {
    var buckets = WireWriter()
    for _ in 0..<c.u8() % 4 {
        var list: [UInt8] = []
        for _ in 0..<c.u8() % 4 { list += action(&c) }
        if version < .v15 {
            buckets.u16(UInt16(16 + list.count))
            buckets.u16(UInt16(c.u8() % 8))
            buckets.u32(c.u8() < 128 ? .max : UInt32(c.u8() % 4))
            buckets.u32(c.u8() < 128 ? .max : UInt32(c.u8() % 4))
            buckets.u32(0)
            buckets.array(list)
        } else {
            var properties = WireWriter()
            for _ in 0..<c.u8() % 4 {
                properties.u16(c.u8() < 200 ? UInt16(c.u8() % 4) : c.u16())
                properties.u16(8)
                properties.u32(UInt32(c.u8() % 5))
            }
            let bytes = properties.bytes
            buckets.u16(UInt16(8 + list.count + bytes.count))
            buckets.u16(UInt16(list.count))
            buckets.u32(UInt32(c.u8() % 5))
            buckets.array(list)
            buckets.array(bytes)
        }
    }
    let bytes = buckets.bytes
    var w = WireWriter()
    w.u16(c.u8() < 240 ? UInt16(c.u8() % 7) : 0x8000)
    w.u8(c.u8() % 5)
    w.u8(0)
    w.u32(c.u8() < 240 ? UInt32(c.u8() % 4) : c.u32())
    if version >= .v15 {
        w.u16(c.u8() < 240 ? UInt16(bytes.count) : c.u16())
        w.u16(0)
        w.u32(c.u8() < 128 ? .max - UInt32(c.u8() % 3) : UInt32(c.u8() % 5))
    }
    w.array(bytes)
    if version >= .v15, c.u8() & 1 != 0 {
        // NTR's selection method.
        let fields = c.take(Int(c.u8() % 16))
        w.u16(0xffff)
        w.u16(UInt16(40 + fields.count))
        w.u32(0x0000_154d)
        w.u32(1)
        w.u32(0)
        w.string(c.pick(["hash", "dp_hash", "", "other"]), size: 16)
        w.array(c.take(8))
        w.array(fields)
        w.zeros((8 - fields.count % 8) % 8)
    }
    return w.bytes
}

/// Some messages about meters, and flows that use them.
@Sendable func fuzzMeters(_ input: [UInt8]) {
    var c = Choices(input)
    let version = c.pick([OFVersion.v13, .v14, .v15])
    guard let target = try? FuzzedSwitch(version) else { return }
    while !c.isEmpty {
        var w = WireWriter()
        w.u16(UInt16(c.u8() % 4))
        w.u16(c.u8() < 200 ? UInt16(c.pick([1, 2, 5, 6, 13, 15, 9])) : c.u16())
        w.u32(c.u8() < 220 ? UInt32(c.u8() % 4) : c.pick([0xffff_0000, 0xffff_fffd, 0xffff_fffe, 0xffff_ffff]))
        for _ in 0..<c.u8() % 4 {
            w.u16(c.u8() < 220 ? UInt16(1 + c.u8() % 2) : c.u16())
            w.u16(c.u8() < 240 ? 16 : c.u16())
            w.u32(c.u8() < 128 ? UInt32(c.u16()) : c.u32())
            w.u32(c.u8() < 128 ? UInt32(c.u16()) : c.u32())
            w.array(c.take(4))
        }
        try? target.send(29, w.bytes)
        // An instruction until 1.4, an action in 1.5.
        var meter: [UInt8] = version < .v15 ? [0, 6, 0, 8, 0, 0, 0, 1] : instructions([0, 29, 0, 8, 0, 0, 0, 1], version, write: false)
        meter[meter.count - 1] = c.u8() % 4
        try? target.addFlow(meter)
        target.receive()
        // Meter statistics, configurations and features.
        try? target.send(
            18,
            [0, c.u8() % 4 + 9, 0, 0, 0, 0, 0, 0] + (c.u8() & 1 != 0 ? [0xff, 0xff, 0xff, 0xff] : [0, 0, 0, c.u8() % 4]) + [0, 0, 0, 0])
    }
}

/// Bundles: opened, filled with messages of all kinds, closed, committed and discarded, in any order.
@Sendable func fuzzBundles(_ input: [UInt8]) {
    var c = Choices(input)
    let version = c.pick([OFVersion.v13, .v14, .v15])
    guard let target = try? FuzzedSwitch(version) else { return }
    func send(_ subtype: UInt32, _ body: [UInt8]) {
        var w = WireWriter()
        if version < .v14 {
            w.u32(onf)
            w.u32(subtype)
        }
        w.array(body)
        try? target.send(version < .v14 ? 4 : subtype == 2300 ? 33 : 34, w.bytes)
    }
    while !c.isEmpty {
        var w = WireWriter()
        w.u32(UInt32(c.u8() % 2))
        guard c.u8() & 3 != 0 else {
            w.u16(UInt16(c.u8() % 9))
            w.u16(UInt16(c.u8() % 4))
            send(2300, w.bytes)
            continue
        }
        w.u16(0)
        w.u16(UInt16(c.u8() % 4))
        var inner: [UInt8]
        var type: UInt8 = 14
        switch c.u8() % 5 {
        case 0:
            type = 15
            inner = groupMod(&c, version)
        case 1:
            type = c.u8() % 36
            inner = c.take(Int(c.u8()) % 64)
        case 2:
            // A port's configuration.
            type = 16
            inner = [0, 0, 0, c.u8() % 5, 0, 0, 0, 0] + c.take(32)
        default:
            var flow = WireWriter()
            flow.zeros(16)
            flow.u8(c.u8() % 3)
            flow.u8(c.u8() % 6)
            for field in [0, 0, c.u16() % 4] { flow.u16(field) }
            for _ in 0..<3 { flow.u32(.max) }
            flow.u16(c.u16() % 8)
            flow.u16(0)
            flow.u16(1)
            flow.u16(4)
            flow.zeros(4)
            flow.array(instructions(c.u8() & 1 != 0 ? action(&c) : [], version, write: false))
            inner = flow.bytes
        }
        w.array(FuzzedSwitch.message(version, type, xid: target.nextXID &- (c.u8() == 0 ? 1 : 0), inner))
        send(2301, w.bytes)
        if c.u8() & 7 == 0 { target.receive() }
    }
    target.receive()
}

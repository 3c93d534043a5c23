// What a `userspace` action carries, and its packets bring back (OVS_USERSPACE_ATTR_USERDATA): this switch's own form, since no one else
// reads it. A byte that names the kind, then its numbers, most significant byte first.

import Dpif

enum UserspaceCookie {
    private enum Kind: UInt8 { case slowPath = 0xa1, controller, sFlow, flowSample, ipfix }

    static func bytes(_ action: UserspaceAction) -> [UInt8] {
        var out: [UInt8] = []
        func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.bigEndian) { out.append(contentsOf: $0) } }
        func put(_ value: Bool) { out.append(value ? 1 : 0) }
        func put(tunnel: UInt32?) {
            put(tunnel != nil)
            put(tunnel ?? 0)
        }
        func kind(_ k: Kind) { out.append(k.rawValue) }
        switch action {
        case .slowPath(let reasons):
            kind(.slowPath)
            put(reasons.rawValue)
        case .controller(let reason, let dontSend, let continuation, let recircID, let cookie, let controller, let length):
            kind(.controller)
            put(reason)
            put(dontSend)
            put(continuation)
            put(recircID)
            put(cookie)
            put(controller)
            put(length)
        case .sFlow(let bridge, let vid, let pcp, let output):
            kind(.sFlow)
            put(bridge)
            put(vid)
            put(pcp)
            put(output)
        case .flowSample(let sample):
            kind(.flowSample)
            put(sample.bridge)
            put(sample.probability)
            put(sample.collectorSet)
            put(sample.domain)
            put(sample.point)
            put(sample.output)
            put(sample.direction.rawValue)
            put(tunnel: sample.tunnel)
        case .ipfix(let bridge, let output, let tunnel):
            kind(.ipfix)
            put(bridge)
            put(output)
            put(tunnel: tunnel)
        }
        return out
    }

    /// Nil for bytes that this switch did not write.
    static func action(_ bytes: ArraySlice<UInt8>) -> UserspaceAction? {
        guard let first = bytes.first, let kind = Kind(rawValue: first) else { return nil }
        var rest = bytes.dropFirst()
        func take<T: FixedWidthInteger>(_: T.Type) -> T? {
            guard let value = T(host: rest) else { return nil }
            rest = rest.dropFirst(T.bitWidth / 8)
            return T(bigEndian: value)
        }
        func flag() -> Bool? { take(UInt8.self).map { $0 != 0 } }
        let action: UserspaceAction
        switch kind {
        case .slowPath:
            guard let reasons = take(UInt32.self) else { return nil }
            action = .slowPath(SlowPathReasons(rawValue: reasons))
        case .controller:
            guard let reason = take(UInt8.self), let dontSend = flag(), let continuation = flag(), let recircID = take(UInt32.self),
                let cookie = take(UInt64.self), let controller = take(UInt16.self), let length = take(UInt16.self)
            else { return nil }
            action = .controller(
                reason: reason, dontSend: dontSend, continuation: continuation, recircID: recircID, ruleCookie: cookie,
                controllerID: controller, maxLength: length)
        case .sFlow:
            guard let bridge = take(UInt32.self), let vid = take(UInt16.self), let pcp = take(UInt8.self), let output = take(UInt32.self)
            else { return nil }
            action = .sFlow(bridge: bridge, vid: vid, pcp: pcp, output: output)
        case .flowSample:
            guard let bridge = take(UInt32.self), let probability = take(UInt16.self), let set = take(UInt32.self),
                let domain = take(UInt32.self), let point = take(UInt32.self), let output = take(UInt32.self),
                let direction = take(UInt8.self).flatMap(UserspaceAction.Direction.init(rawValue:)), let hasTunnel = flag(),
                let tunnel = take(UInt32.self)
            else { return nil }
            var sample = FlowSample()
            (sample.bridge, sample.probability, sample.collectorSet) = (bridge, probability, set)
            (sample.domain, sample.point, sample.output) = (domain, point, output)
            (sample.direction, sample.tunnel) = (direction, hasTunnel ? tunnel : nil)
            action = .flowSample(sample)
        case .ipfix:
            guard let bridge = take(UInt32.self), let output = take(UInt32.self), let hasTunnel = flag(), let tunnel = take(UInt32.self)
            else { return nil }
            action = .ipfix(bridge: bridge, output: output, tunnel: hasTunnel ? tunnel : nil)
        }
        return rest.isEmpty ? action : nil
    }
}

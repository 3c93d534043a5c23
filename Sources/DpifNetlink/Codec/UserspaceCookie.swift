// What a `userspace` action carries, and its packets bring back (OVS_USERSPACE_ATTR_USERDATA): this switch's own form, since no one else
// reads it. A byte that names the kind, then its numbers, most significant byte first.

import Dpif

enum UserspaceCookie {
    private enum Kind: UInt8 { case slowPath = 0xa1, controller, sFlow, flowSample, ipfix }

    static func bytes(_ action: UserspaceAction) -> [UInt8] {
        var out: [UInt8] = []
        func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.bigEndian) { out.append(contentsOf: $0) } }
        func put(_ value: Bool) { out.append(value ? 1 : 0) }
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
        case .sFlow(let vid, let pcp, let output):
            kind(.sFlow)
            put(vid)
            put(pcp)
            put(output)
        case .flowSample(let probability, let set, let domain, let point, let output, let ingress, let egress):
            kind(.flowSample)
            put(probability)
            put(set)
            put(domain)
            put(point)
            put(output)
            put(ingress)
            put(egress)
        case .ipfix(let output):
            kind(.ipfix)
            put(output)
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
            guard let vid = take(UInt16.self), let pcp = take(UInt8.self), let output = take(UInt32.self) else { return nil }
            action = .sFlow(vid: vid, pcp: pcp, output: output)
        case .flowSample:
            guard let probability = take(UInt16.self), let set = take(UInt32.self), let domain = take(UInt32.self),
                let point = take(UInt32.self), let output = take(UInt32.self), let ingress = flag(), let egress = flag()
            else { return nil }
            action = .flowSample(
                probability: probability, collectorSet: set, domain: domain, point: point, output: output, ingress: ingress, egress: egress)
        case .ipfix:
            guard let output = take(UInt32.self) else { return nil }
            action = .ipfix(output: output)
        }
        return rest.isEmpty ? action : nil
    }
}

// The rate limit on packets for a controller (Controller.controller_rate_limit): a token bucket, with a queue for each
// input port that is emptied in turn.

import OpenFlow

/// One bucket of tokens with the packets that wait for them.
struct PacketInLimiter {
    let rate: Int64
    let burst: Int64
    /// Thousandths of a packet.
    private var tokens: Int64
    private var filled: Int64
    private var queues: [UInt32: [[UInt8]]] = [:]
    private var order: [UInt32] = []
    private(set) var waiting = 0

    init(rate: Int64, burst: Int64, now: Int64) {
        self.rate = max(1, rate)
        self.burst = max(1, burst)
        tokens = self.burst * 1000
        filled = now
    }

    private mutating func fill(_ now: Int64) {
        guard now > filled else { return }
        let (gain, overflow) = (now - filled).multipliedReportingOverflow(by: rate)
        tokens = overflow ? burst * 1000 : min(burst * 1000, tokens + min(gain, burst * 1000))
        filled = now
    }

    /// Whether a packet may go now. When not, it is queued; the longest queue loses one when too many wait.
    mutating func admit(_ message: [UInt8], inPort: UInt32, now: Int64) -> Bool {
        fill(now)
        if waiting == 0, tokens >= 1000 {
            tokens -= 1000
            return true
        }
        if waiting >= burst, let longest = queues.max(by: { $0.value.count < $1.value.count })?.key {
            queues[longest]?.removeFirst()
            waiting -= 1
        }
        if queues[inPort]?.isEmpty ?? true, !order.contains(inPort) { order.append(inPort) }
        queues[inPort, default: []].append(message)
        waiting += 1
        return false
    }

    /// The next packet whose turn has come.
    mutating func next(_ now: Int64) -> [UInt8]? {
        fill(now)
        guard waiting > 0, tokens >= 1000 else { return nil }
        while !order.isEmpty {
            let port = order.removeFirst()
            guard var queue = queues[port], !queue.isEmpty else {
                queues[port] = nil
                continue
            }
            let message = queue.removeFirst()
            queues[port] = queue.isEmpty ? nil : queue
            if !queue.isEmpty { order.append(port) }
            waiting -= 1
            tokens -= 1000
            return message
        }
        return nil
    }
}

extension OpenFlowConnection {
    func configureLimits(_ settings: ControllerSettings) {
        guard let rate = settings.rateLimit, rate > 0 else {
            limiters = [nil, nil]
            return
        }
        let limiter = PacketInLimiter(rate: rate, burst: settings.burstLimit ?? max(rate / 4, 1), now: owner.time.now)
        limiters = [limiter, limiter]
    }

    /// Sends a packet-in, now or when the rate allows.
    func limitPacketIn(_ message: [UInt8], inPort: UInt32, isMiss: Bool) {
        let index = isMiss ? 1 : 0
        if limiters[index]?.admit(message, inPort: inPort, now: owner.time.now) ?? true { sendPacketIn(message) }
    }
}

extension OpenFlowService {
    /// Sends what waited for the rate limit.
    func drainLimiters(_ connection: OpenFlowConnection, _ now: Int64) {
        for i in connection.limiters.indices {
            while let message = connection.limiters[i]?.next(now) { connection.sendPacketIn(message) }
        }
    }
}

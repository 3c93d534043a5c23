// Everything here that reads what the kernel sent, in one function: what the fuzzer feeds.

import Dpif
import Flow

package enum MessageReading {
    /// Reads bytes as messages of every kind. What is malformed is an error, and forgotten; nothing traps.
    package static func readAll(_ bytes: [UInt8]) {
        guard let messages = try? NetlinkMessage.split(bytes[...]) else { return }
        var options = TunnelOptionMap()
        _ = options.add(index: 0, optionClass: 0x102, optionType: 1, length: 8)
        for message in messages {
            _ = message.errorCode
            _ = try? KernelUpcall(message)
            _ = try? KernelPort(message)
            _ = try? KernelDatapath(message)
            _ = try? ConntrackEntryCodec.entry(message)
            guard let attributes = try? message.attributes(after: 8) else { continue }
            _ = FlowRequests.statistics(attributes, at: ModuleMoment(now: 0))
            for list in [attributes] + attributes.compactMap({ try? $0.nested() }) {
                readKey(list, options)
                _ = try? ActionCodec(tunnelOptions: options).read(list)
            }
        }
    }

    /// A key that could be read can be written, and is the same when it is read again.
    private static func readKey(_ list: AttributeList, _ options: TunnelOptionMap) {
        var key = FlowKey()
        var mask = FlowMask()
        let codec = KeyCodec(tunnelOptions: options)
        guard (try? codec.readKey(list, into: &key)) != nil else { return }
        try? codec.readMask(list, into: &mask)
        _ = ODPFormatter().text(key: key, mask: mask)
        var w = NetlinkMessageWriter(type: 0, flags: 0)
        codec.writeKey(key, mask: mask, to: &w)
        codec.writeMask(mask, key: key, to: &w)
    }
}

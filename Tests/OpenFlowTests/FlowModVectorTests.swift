// Flow modifications of every version as ovs-ofctl sends them: they decode, print as the real daemon prints them, and
// their actions encode to the same bytes.
import Flow
import OpenFlow
import Testing
import struct Foundation.URL

@Suite struct FlowModVectorTests {
    struct Vector: Sendable, CustomTestStringConvertible {
        let bytes: [UInt8]
        let text: String
        var testDescription: String { "1.\(Int(bytes[0]) - 1) \(text)" }
    }

    static let vectors: [Vector] = {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/flow-mods.txt"
        guard let lines = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
        return lines.split(separator: "\n").compactMap { line in
            guard !line.hasPrefix("#"), let space = line.firstIndex(of: " ") else { return nil }
            let digits = Array(line[..<space].utf8)
            let bytes = stride(from: 0, to: digits.count - 1, by: 2).compactMap {
                UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
            }
            return Vector(bytes: bytes, text: String(line[line.index(after: space)...]))
        }
    }()

    @Test func vectorsAreThere() { #expect(Self.vectors.count > 300) }

    @Test(arguments: vectors) func decodesAndEncodes(_ vector: Vector) throws {
        let message = try OFMessage(vector.bytes)
        let mod = try FlowMod.decode(message, tableID: message.version == .v10, tunnelOptions: nil)
        #expect(mod.command == .add)
        let match = MatchFormatter().format(mod.match, priority: Int(mod.priority))
        #expect("\(match) actions=\(ActionFormatter().format(mod.actions))" == vector.text)
        var writer = WireWriter()
        ActionCodec.encodeFlowActions(mod.actions, version: message.version, to: &writer)
        #expect(Array(vector.bytes.suffix(writer.bytes.count)) == writer.bytes)
        // The match lies just before the actions.
        var matchWriter = WireWriter()
        switch message.version {
        case .v10:
            guard message.kind == .nxFlowMod else { return }
            _ = MatchCodec.encodeNXM(mod.match, to: &matchWriter)
        case .v11:
            // Tools send the fixed form, the switch answers with fields; what it says is the same.
            MatchCodec.encode11(mod.match, version: .v11, to: &matchWriter)
            var reader = WireReader(matchWriter.bytes)
            var match = Match()
            try MatchCodec.decode11(&reader, into: &match, tunnelOptions: nil)
            #expect(match == mod.match)
            return
        default: MatchCodec.encode11(mod.match, version: message.version, to: &matchWriter)
        }
        #expect(Array(vector.bytes.dropLast(writer.bytes.count).suffix(matchWriter.bytes.count)) == matchWriter.bytes)
    }

    /// What is printed can be typed.
    @Test(arguments: vectors) func actionsAreReadAsTheyArePrinted(_ vector: Vector) throws {
        let message = try OFMessage(vector.bytes)
        let actions = try FlowMod.decode(message, tableID: message.version == .v10, tunnelOptions: nil).actions
        let text = ActionFormatter().format(actions)
        let read = try OFAction.parse(text, ports: { _ in nil })
        #expect(ActionFormatter().format(read) == text)
    }

    /// What is compiled for a mask writes what is written field by field, for every version.
    @Test(arguments: vectors) func templatesWriteTheSame(_ vector: Vector) throws {
        let message = try OFMessage(vector.bytes)
        let match = try FlowMod.decode(message, tableID: message.version == .v10, tunnelOptions: nil).match
        let mask = MiniMask(match.mask)
        let values = mask.reduce(match.key)
        for version in OFVersion.allCases {
            let template = try #require(MatchTemplate(mask, values: values, version: version, tunnelOptions: nil))
            #expect(template.covers(values))
            var spelled = WireWriter()
            var compiled = WireWriter()
            match.writeTLVs(version: version, tunnelOptions: nil, to: &spelled)
            TemplateMatch(template, values).writeTLVs(version: version, tunnelOptions: nil, to: &compiled)
            #expect(compiled.bytes == spelled.bytes, "version \(version)")
        }
    }

    /// A template is not used for a match of the same mask that has other fields.
    @Test func templatesKnowWhatTheyCover() throws {
        func match(_ proto: UInt128) -> Match {
            var match = Match()
            match.set(Location.packetType, 0)
            match.set(Location.ethType, 0x0800)
            match.set(Location.nwProto, proto)
            match.set(Location.tpDst, 80)
            return match
        }
        let mask = MiniMask(match(6).mask)
        let template = try #require(
            MatchTemplate(mask, values: mask.reduce(match(6).key), version: .v13, tunnelOptions: nil))
        #expect(!template.covers(mask.reduce(match(17).key)))
        #expect(!template.covers([]))
    }

    @Test(arguments: vectors) func noTruncationTraps(_ vector: Vector) throws {
        for count in stride(from: 8, to: vector.bytes.count, by: 4) {
            var bytes = Array(vector.bytes.prefix(count))
            bytes[2] = UInt8(count >> 8)
            bytes[3] = UInt8(count & 0xff)
            // Where whole instructions remain a shorter flow does; anything else is refused.
            guard let message = try? OFMessage(bytes) else { continue }
            _ = try? FlowMod.decode(message, tableID: true, tunnelOptions: nil)
        }
    }
}

// JSON text in and out, framing, messages.
import Testing
@testable import OVSDB

@Suite struct JSONTests {
    @Test(arguments: [
        "null", "true", "[]", "{}", "[1,2,-3]", #"{"a":1,"b":[true,null]}"#, #""\"\\\b\f\n\r\t\u0001é😀""#,
        "[9223372036854775807,-9223372036854775808]", "[0.5,1e+300]", "[0.1]",
    ])
    func printsWhatItParsed(text: String) throws {
        #expect(try JSON(parsing: text).description == text)
    }

    @Test func numbersWithIntegralValuesAreIntegers() throws {
        #expect(try JSON(parsing: "[1.0,1e2,-0.0]") == [1, 100, 0])
        #expect(try JSON(parsing: "18446744073709551616") == .real(18446744073709551616))
        #expect(try JSON(parsing: #""\ud83d\ude00\/""#) == "😀/")
    }

    @Test(arguments: [
        "", "tru", "[1,]", "{\"a\"}", "{a:1}", "01", "1.", "1e", "-", "\"\u{1}\"", #""\x""#, #""\ud800""#, #""\u0000""#,
        "[1] 2", "[", "{", "\"", "1e999", "nul", #""\u12g4""#,
    ])
    func refuses(text: String) {
        #expect(throws: JSONError.self) { try JSON(parsing: text) }
    }

    @Test func refusesInvalidUTF8AndDepth() {
        #expect(throws: JSONError.self) { try JSON(parsing: [0x22, 0xff, 0x22]) }
        #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "[", count: 100_000)) }
    }

    @Test func objectsKeepOrderAndFindMembers() throws {
        var object = JSONObject()
        for number in 0..<100 { object["k\(99 - number)"] = .integer(Int64(number)) }
        object["k50"] = nil
        #expect(object.keys.first == "k99")
        #expect(object["k0"] == 99)
        #expect(object["k50"] == nil)
        #expect(object.count == 99)
        #expect(JSON.object(["b": 1, "a": 2]) == .object(["a": 2, "b": 1]))
        #expect(JSON.object(["b": 1, "a": 2]).text(sorted: true) == #"{"a":2,"b":1}"#)
    }

    @Test(arguments: [1, 2, 3, 7, 1000])
    func framerSplitsAnyChunks(size: Int) throws {
        let text = Array(#" {"a":"}]\"","b":[{}]}[1]{"c":{}} "#.utf8)
        var framer = JSONFramer(limit: 100)
        var values: [String] = []
        for start in stride(from: 0, to: text.count, by: size) {
            framer.append(text[start..<min(text.count, start + size)])
            while let value = try framer.next() { values.append(String(decoding: value, as: UTF8.self)) }
        }
        #expect(values == [#"{"a":"}]\"","b":[{}]}"#, "[1]", #"{"c":{}}"#])
        #expect(framer.bufferedBytes == 0)
    }

    @Test func framerRefusesGarbageAndExcess() {
        var framer = JSONFramer(limit: 10)
        framer.append("x".utf8)
        #expect(throws: JSONFramer.Failure.unexpectedByte(0x78)) { try framer.next() }
        framer = JSONFramer(limit: 10)
        framer.append("[11111111111111".utf8)
        #expect(throws: JSONFramer.Failure.tooLong(limit: 10)) { try framer.next() }
    }

    @Test func messages() throws {
        func read(_ text: String) throws -> JSONRPCMessage { try JSONRPCMessage(json: JSON(parsing: text)) }
        #expect(try read(#"{"id":1,"method":"m","params":[]}"#) == .request(method: "m", params: [], id: 1))
        #expect(try read(#"{"id":null,"method":"m","params":[2]}"#) == .notification(method: "m", params: [2]))
        #expect(try read(#"{"id":1,"result":{},"error":null}"#) == .reply(result: [:], id: 1))
        #expect(try read(#"{"id":1,"error":"x"}"#) == .error("x", id: 1))
        for text in ["[]", #"{"id":1}"#, #"{"id":1,"method":2,"params":[]}"#, #"{"id":1,"method":"m"}"#, #"{"z":1}"#] {
            #expect(throws: JSONRPCMessage.Malformed.self) { try read(text) }
        }
    }

    @Test func uuids() {
        let text = "0f8fad5b-d9cb-469f-a165-70867728950e"
        #expect(UUID(text)?.description == text)
        #expect(UUID(text.uppercased())?.description == text)
        #expect(UUID("0f8fad5bd9cb-469f-a165-70867728950e-") == nil)
        #expect(UUID("") == nil)
        #expect(UUID.random() != UUID.random())
    }

    @Test func remotes() throws {
        #expect(try OVSDBRemote("unix:/a:b") == .unix(path: "/a:b"))
        #expect(try OVSDBRemote("tcp:[::1]:6640") == .tcp(host: "::1", port: 6640))
        #expect(try OVSDBRemote("tcp:127.0.0.1") == .tcp(host: "127.0.0.1", port: 6640))
        #expect(try OVSDBRemote("ptcp:1:127.0.0.1") == .passiveTCP(host: "127.0.0.1", port: 1))
        for text in ["", "unix:", "tcp:", "tcp:1.2.3.4:99999", "tcp:[::1", "ptcp:x", "ssl:1.2.3.4:5"] {
            #expect(throws: OVSDBRemote.Invalid.self) { try OVSDBRemote(text) }
        }
    }
}

// dpctl commands about single flows of a datapath: shown and changed one by one, and changed from a file.

import Dpif
import Flow
import Glibc

extension ControlCommands {
    /// What a line of a file asks for.
    private enum FlowRequest: String { case add, modify, delete }

    func registerFlowCommands(
        _ add: (_ name: String, _ usage: String, _ low: Int, _ high: Int, _ body: @escaping DpctlCommand) -> Void
    ) {
        for (name, mode) in [("add-flow", DpFlowPut.Mode.create), ("mod-flow", .modify)] {
            add(name, "[dp] flow actions", 2, 3) { [unowned self] args throws(DpctlFailure) in
                let options = try DpctlArguments(args)
                guard options.words.count >= 2 else { throw DpctlFailure("parsing flow key", 22) }
                return try putFlow(
                    try optionalDatapath(Array(options.words.dropLast(2))), options.words[options.words.count - 2],
                    options.words[options.words.count - 1], mode, tells: options.statistics)
            }
        }
        add("get-flow", "[dp] ufid", 1, 2) { [unowned self] args throws(DpctlFailure) in
            let dpif = try optionalDatapath(Array(args.dropLast()))
            let word = args[args.count - 1]
            guard word.hasPrefix("ufid:"), let ufid = UFID(text: String(word.dropFirst(5))) else {
                return "ovs-vswitchd: parsing flow ufid (Invalid argument)"
            }
            guard dpif.capabilities.ufid else { throw DpctlFailure("getting flow", 95) }
            guard let flow = dpif.flow(ufid) else { throw DpctlFailure("getting flow", 2) }
            return dumpFlows(dpif, verbose: true, names: false) { $0.ufid == flow.ufid }
        }
        add("del-flow", "[dp] flow", 1, 2) { [unowned self] args throws(DpctlFailure) in
            let options = try DpctlArguments(args)
            guard let flow = options.words.last else { throw DpctlFailure("parsing flow key", 22) }
            return try deleteFlow(try optionalDatapath(Array(options.words.dropLast())), flow, tells: options.statistics)
        }
        for (name, request) in [("add-flows", FlowRequest.add), ("mod-flows", .modify)] {
            add(name, "[dp] file", 1, 2) { [unowned self] args throws(DpctlFailure) in try changeFlows(args, request) }
        }
        add("del-flows", "[dp] [file]", 0, 2) { [unowned self] args throws(DpctlFailure) in
            let words = try DpctlArguments(args).words
            if words.count == 2 || words.count == 1 && datapath(named: words[0]) == nil { return try changeFlows(args, .delete) }
            let dpif = try optionalDatapath(words)
            dpif.flushFlows()
            fabric.backers[dpif.type]?.flowsFlushed()
            return ""
        }
    }

    // MARK: Single flows

    private func putFlow(_ dpif: any Dpif, _ key: String, _ actions: String, _ mode: DpFlowPut.Mode, tells: Bool) throws(DpctlFailure)
        -> String
    {
        let flow: ODPFlow
        do throws(ODPSyntaxError) {
            flow = try ODPFlow(parsing: key) { dpif.port(named: $0)?.number }
        } catch {
            throw DpctlFailure("parsing flow key (\(error))", 22)
        }
        let list: [DpAction]
        do throws(DpActionSyntaxError) {
            list = try DpAction.parse(actions) { dpif.port(named: $0)?.number }
        } catch {
            throw DpctlFailure("parsing actions", 22)
        }
        guard flow.fit == .perfect || flow.fit == .tooLittle else { throw DpctlFailure("updating flow table", 22) }
        let mask = flow.datapathMask
        let entry = DpFlow(ufid: UFID(key: flow.key, mask: mask), key: flow.key, mask: mask, actions: list)
        let before = tells ? dpif.flow(entry.ufid)?.stats : nil
        do throws(DpifError) {
            try dpif.putFlow(DpFlowPut(mode, entry))
        } catch {
            throw DpctlFailure("updating flow table", error.errno)
        }
        return tells ? statisticsText(before ?? DpFlowStats()) + "\n" : ""
    }

    private func deleteFlow(_ dpif: any Dpif, _ word: String, tells: Bool) throws(DpctlFailure) -> String {
        if word.hasPrefix("ufid:"), let ufid = UFID(text: String(word.dropFirst(5))) {
            guard dpif.capabilities.ufid else { throw DpctlFailure("deleting flow", 95) }
            do throws(DpifError) {
                return try deleteFlow(dpif, ufid, tells: tells)
            } catch {
                throw DpctlFailure("deleting flow", error.errno)
            }
        }
        let flow: ODPFlow
        do throws(ODPSyntaxError) {
            flow = try ODPFlow(parsing: word) { dpif.port(named: $0)?.number }
        } catch {
            throw DpctlFailure("\(error)", 22)
        }
        let mask = flow.datapathMask
        do throws(DpifError) {
            do throws(DpifError) {
                return try deleteFlow(dpif, UFID(key: flow.key, mask: mask), tells: tells)
            } catch {
                // Somebody else may have made it with another identifier.
                guard error.errno == ENOENT, let found = dpif.flow(key: flow.key, mask: mask) else { throw error }
                return try deleteFlow(dpif, found.ufid, tells: tells)
            }
        } catch {
            guard error.errno == ENOENT else { throw DpctlFailure("deleting flow", error.errno) }
            throw DpctlFailure(plain: "ovs-vswitchd: deleting flow (\(DpifError.reason(2)))\nPerhaps you need to specify a UFID?")
        }
    }

    private func deleteFlow(_ dpif: any Dpif, _ ufid: UFID, tells: Bool) throws(DpifError) -> String {
        let before = tells ? dpif.flow(ufid)?.stats : nil
        try dpif.deleteFlow(ufid)
        return tells ? statisticsText(before ?? DpFlowStats()) + "\n" : ""
    }

    // MARK: Files

    /// Does what the lines of a file ask for, each for itself: what fails is told, and the others are carried out.
    /// - Parameter usual: what a line without a keyword asks for.
    private func changeFlows(_ args: [String], _ usual: FlowRequest) throws(DpctlFailure) -> String {
        let options = try DpctlArguments(args)
        guard let path = options.words.last else { return "" }
        let text: String
        do throws(FileFailure) {
            text = try Self.contents(of: path)
        } catch {
            return "ovs-vswitchd: Opening file \"\(path)\" failed (\(DpifError.reason(error.errno)))\n"
        }
        let dpif = try optionalDatapath(Array(options.words.dropLast()))
        var out = ""
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
        for (number, line) in text.utf8.split(separator: 0x0a, omittingEmptySubsequences: false).enumerated() {
            var rest = line.prefix { $0 != UInt8(ascii: "#") }
            func word() -> String {
                let word = rest.drop(while: isSpace).prefix { !isSpace($0) }
                rest = rest[word.endIndex...].drop(while: isSpace)
                return String(Substring(word))
            }
            var flow = word()
            guard !flow.isEmpty else { continue }
            var request = usual
            if let named = FlowRequest(rawValue: flow) {
                request = named
                flow = word()
            }
            while let last = rest.last, isSpace(last) { rest.removeLast() }
            // A flow to be deleted has no actions, and any other has some.
            guard !flow.isEmpty, rest.isEmpty == (request == .delete) else {
                out += "ovs-vswitchd: Failed parsing line number \(number + 1), skipped!\n"
                continue
            }
            do throws(DpctlFailure) {
                switch request {
                case .add: out += try putFlow(dpif, flow, String(Substring(rest)), .create, tells: options.statistics)
                case .modify: out += try putFlow(dpif, flow, String(Substring(rest)), .modify, tells: options.statistics)
                case .delete: out += try deleteFlow(dpif, flow, tells: options.statistics)
                }
            } catch {
                out += error.text + "\n"
            }
        }
        return out
    }

    private struct FileFailure: Error { let errno: Int32 }
    /// The most that is read of a file, in bytes.
    private static let largestFile = 1 << 28

    /// A file's text; `-` is standard input.
    private static func contents(of path: String) throws(FileFailure) -> String {
        // A pipe without a writer must not keep the daemon waiting.
        let descriptor = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileFailure(errno: errno) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw FileFailure(errno: errno)
            }
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            guard bytes.count + count <= largestFile else { throw FileFailure(errno: EFBIG) }
            bytes.append(contentsOf: piece[..<count])
        }
    }
}

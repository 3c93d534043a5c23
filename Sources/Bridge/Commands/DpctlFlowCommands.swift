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

    private func parsePut(_ dpif: any Dpif, _ key: String, _ actions: String, _ mode: DpFlowPut.Mode) throws(DpctlFailure) -> DpFlowPut {
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
        return DpFlowPut(mode, DpFlow(ufid: UFID(key: flow.key, mask: mask), key: flow.key, mask: mask, actions: list))
    }

    private func putFlow(_ dpif: any Dpif, _ key: String, _ actions: String, _ mode: DpFlowPut.Mode, tells: Bool) throws(DpctlFailure)
        -> String
    {
        let put = try parsePut(dpif, key, actions, mode)
        let before = tells ? dpif.flow(put.flow.ufid)?.stats : nil
        do throws(DpifError) {
            try dpif.putFlow(put)
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
        let flow = try parseDeletion(dpif, word)
        do throws(DpifError) {
            return try deleteFlow(dpif, UFID(key: flow.key, mask: flow.datapathMask), tells: tells)
        } catch {
            return try deleteOther(dpif, flow, tells: tells, error)
        }
    }

    private func parseDeletion(_ dpif: any Dpif, _ word: String) throws(DpctlFailure) -> ODPFlow {
        do throws(ODPSyntaxError) {
            return try ODPFlow(parsing: word) { dpif.port(named: $0)?.number }
        } catch {
            throw DpctlFailure("\(error)", 22)
        }
    }

    /// Deletes a flow that was not there by the identifier that this switch would give it: somebody else may have made it with another.
    private func deleteOther(_ dpif: any Dpif, _ flow: ODPFlow, tells: Bool, _ failure: DpifError) throws(DpctlFailure) -> String {
        do throws(DpifError) {
            guard failure.errno == ENOENT, let found = dpif.flow(key: flow.key, mask: flow.datapathMask) else { throw failure }
            return try deleteFlow(dpif, found.ufid, tells: tells)
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
        var batch = FlowBatch()
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
                batch.lines.append(.said("ovs-vswitchd: Failed parsing line number \(number + 1), skipped!\n"))
                continue
            }
            if batch.request != request || batch.operations.count == FlowBatch.limit { carryOut(&batch, dpif) }
            batch.request = request
            do throws(DpctlFailure) {
                switch request {
                // Statistics are those from before, so that each is asked for by itself.
                case .add where options.statistics:
                    batch.lines.append(.said(try putFlow(dpif, flow, String(Substring(rest)), .create, tells: true)))
                case .modify where options.statistics:
                    batch.lines.append(.said(try putFlow(dpif, flow, String(Substring(rest)), .modify, tells: true)))
                case .add: batch.append(.put(try parsePut(dpif, flow, String(Substring(rest)), .create)), .put)
                case .modify: batch.append(.put(try parsePut(dpif, flow, String(Substring(rest)), .modify)), .put)
                case .delete where options.statistics || flow.hasPrefix("ufid:"):
                    batch.lines.append(.said(try deleteFlow(dpif, flow, tells: options.statistics)))
                case .delete:
                    let flow = try parseDeletion(dpif, flow)
                    let mask = flow.datapathMask
                    batch.append(.delete(UFID(key: flow.key, mask: mask), flow.key, mask), .deletion(flow))
                }
            } catch {
                batch.lines.append(.said(error.text + "\n"))
            }
        }
        carryOut(&batch, dpif)
        return batch.text
    }

    /// Lines of a file that ask for the same and are carried out together: a datapath may take them in one call.
    private struct FlowBatch {
        enum Line {
            case said(String)
            case put
            case deletion(ODPFlow)
        }
        static let limit = 64
        var request = FlowRequest.add
        /// What became of each line, in their order; those that are operations are so in that order.
        var lines: [Line] = []
        var operations: [DpifOperation] = []
        /// What there is to tell of the lines that were carried out.
        var text = ""

        mutating func append(_ operation: DpifOperation, _ line: Line) {
            operations.append(operation)
            lines.append(line)
        }
    }

    private func carryOut(_ batch: inout FlowBatch, _ dpif: any Dpif) {
        var results = (batch.operations.isEmpty ? [] : dpif.operate(batch.operations)).makeIterator()
        for line in batch.lines {
            do throws(DpctlFailure) {
                switch line {
                case .said(let text): batch.text += text
                case .put: if case .failed(let error)? = results.next() { throw DpctlFailure("updating flow table", error.errno) }
                case .deletion(let flow):
                    if case .failed(let error)? = results.next() { batch.text += try deleteOther(dpif, flow, tells: false, error) }
                }
            } catch {
                batch.text += error.text + "\n"
            }
        }
        batch.lines.removeAll(keepingCapacity: true)
        batch.operations.removeAll(keepingCapacity: true)
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

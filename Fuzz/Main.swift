// The entry of libFuzzer: one program for all targets. FUZZ_TARGET names the one to run; scripts/fuzz.sh runs them all.
// An input passes when nothing traps and no access leaves its memory; errors are thrown and forgotten.

import Glibc

/// What reads from a wire, a file or a person, by name.
private let targets: [String: @Sendable ([UInt8]) -> Void] = [
    "packet": fuzzPacket, "odp": fuzzODP, "openflow": fuzzOpenFlow, "oxm": fuzzOXM, "json": fuzzJSON,
    "ovsdb": fuzzOVSDB, "protocols": fuzzProtocols, "netlink": fuzzNetlink,
    "actions": fuzzActions, "learn": fuzzLearn, "groups": fuzzGroups, "meters": fuzzMeters, "bundles": fuzzBundles,
    "conntrack": fuzzConntrack,
]

private let target: @Sendable ([UInt8]) -> Void = {
    let name = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = targets[name] else {
        fatalError("FUZZ_TARGET is \"\(name)\", not one of \(targets.keys.sorted().joined(separator: " "))")
    }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    target(Array(UnsafeBufferPointer(start: data, count: size)))
    return 0
}

/// Runs libFuzzer on the command line's options.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ argc: UnsafeMutablePointer<CInt>,
    _ argv: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// What the package manager links as the program's main function.
@_cdecl("fuzz_main")
public func fuzzMain(_ argc: CInt, _ argv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
    var argc = argc
    var argv = argv
    return runDriver(&argc, &argv, testOneInput)
}

// Helpers of the OVSDB tests: scratch directories, programs, and values confined to an event loop.
import class Foundation.Bundle
import class Foundation.FileHandle
import class Foundation.FileManager
import class Foundation.Pipe
import class Foundation.Process
import struct Foundation.URL
import Glibc
import NIOCore
import NIOPosix
import OVSDB

/// A directory of its own for one test, removed with it.
final class Scratch {
    let path: String

    init() throws {
        path = "/tmp/ovsdb-test-\(UUID.random().description.prefix(13))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// What a program printed, and how it ended.
struct Output {
    let status: Int32
    let output: String
}

func isInstalled(_ program: String) -> Bool {
    ["/usr/bin/", "/usr/sbin/"].contains { FileManager.default.isExecutableFile(atPath: $0 + program) }
}

/// Starts a program in the background.
func start(_ program: String, _ arguments: [String], standardOutput: Any? = nil) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardOutput = standardOutput ?? FileHandle.nullDevice
    process.standardError = standardOutput ?? FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    try process.run()
    return process
}

extension Process {
    /// Kills and reaps. Not by SIGTERM: a child inherits the signal mask of the thread that started it.
    func end() {
        kill(processIdentifier, SIGKILL)
        waitUntilExit()
    }
}

/// Runs a program to its end, at most `timeout` seconds.
func run(_ program: String, _ arguments: [String], timeout: Int = 20) throws -> Output {
    let pipe = Pipe()
    let process = try start("timeout", [String(timeout), program] + arguments, standardOutput: pipe)
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Output(status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
}

/// A value that lives on an event loop, used from a test.
struct OnLoop<Value>: Sendable {
    let box: NIOLoopBoundBox<Value?>
    let loop: any EventLoop

    init(_ loop: any EventLoop, _ make: @escaping @Sendable () throws -> Value) async throws {
        let box = NIOLoopBoundBox<Value?>.makeEmptyBox(valueType: Value.self, eventLoop: loop)
        try await loop.submit { box.value = try make() }.get()
        self.box = box
        self.loop = loop
    }

    func run<Result: Sendable>(_ body: @escaping @Sendable (Value) throws -> Result) async throws -> Result {
        let box = box
        return try await loop.submit { try body(box.value!) }.get()
    }

    /// Waits until `condition` holds; false when it does not within `seconds`.
    func until(_ seconds: Double = 10, _ condition: @escaping @Sendable (Value) -> Bool) async throws -> Bool {
        for _ in 0..<Int(seconds * 100) {
            if try await run(condition) { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }
}

func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

/// Waits until `condition` holds; false when it does not within `seconds`.
func until(_ seconds: Double = 10, _ condition: () -> Bool) async throws -> Bool {
    for _ in 0..<Int(seconds * 100) {
        if condition() { return true }
        try await Task.sleep(for: .milliseconds(10))
    }
    return false
}

let schemaPath = "/usr/share/openvswitch/vswitch.ovsschema"
let loopGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)

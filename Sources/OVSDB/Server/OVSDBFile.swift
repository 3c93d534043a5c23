// The standalone database file (ovsdb(5)): records `OVSDB JSON LENGTH SHA1\n` + JSON text, the first the
// schema, each further one a committed transaction. Only complete records with a right sum count.
import Glibc
import Vlog

/// Why a database file cannot be used.
public struct OVSDBFileError: Error, Sendable, CustomStringConvertible {
    public let path: String
    public let reason: String
    public var description: String { "\(path): \(reason)" }
}

/// An open, locked database file. Writes block for as long as the file system takes.
final class OVSDBFile {
    private static let log = Vlog.module("ovsdb_file")
    let path: String
    private var descriptor: Int32
    private let lockDescriptor: Int32
    /// Bytes of good records, and as of the last time that the file was written anew.
    private(set) var size = 0
    private var compactSize = 0

    /// The lock of the open file description, which other processes' POSIX locks honour (fcntl(2), F_OFD_SETLK).
    private static let setOpenFileLock: Int32 = 37

    /// Opens `path` and locks it against every other server; creates it when absent. `replay` is called with
    /// each complete record's JSON; when it throws the file is refused.
    init(path: String, replay: (_ number: Int, JSON) throws -> Void) throws(OVSDBFileError) {
        self.path = path
        lockDescriptor = try OVSDBFile.lock(path)
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else {
            let reason = "open failed (\(String(cString: strerror(errno))))"
            close(lockDescriptor)
            throw OVSDBFileError(path: path, reason: reason)
        }
        let bytes = try readAll()
        var offset = 0
        var number = 0
        while offset < bytes.count {
            guard let (json, end) = OVSDBFile.record(bytes, offset) else {
                OVSDBFile.log.warn("\(path): \(bytes.count - offset) bytes starting at offset \(offset) are not a complete record; dropped")
                guard ftruncate(descriptor, off_t(offset)) == 0 else {
                    throw OVSDBFileError(path: path, reason: "truncating failed (\(String(cString: strerror(errno))))")
                }
                break
            }
            do {
                try replay(number, json)
            } catch {
                throw OVSDBFileError(path: path, reason: "record \(number): \(error)")
            }
            number += 1
            offset = end
        }
        size = offset
        compactSize = offset
        lseek(descriptor, off_t(size), SEEK_SET)
    }

    deinit {
        close(descriptor)
        close(lockDescriptor)
    }

    private static func lock(_ path: String) throws(OVSDBFileError) -> Int32 {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let name = (parts.dropLast().map(String.init) + [".\(parts.last ?? "").~lock~"]).joined(separator: "/")
        let descriptor = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw OVSDBFileError(path: name, reason: String(cString: strerror(errno))) }
        var region = flock()
        region.l_type = Int16(F_WRLCK)
        region.l_whence = Int16(SEEK_SET)
        guard fcntl(descriptor, setOpenFileLock, &region) == 0 else {
            let reason = "cannot lock file because it is already locked (\(String(cString: strerror(errno))))"
            close(descriptor)
            throw OVSDBFileError(path: name, reason: reason)
        }
        return descriptor
    }

    private func readAll() throws(OVSDBFileError) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count == 0 { return bytes }
            guard count > 0 else {
                if errno == EINTR { continue }
                throw OVSDBFileError(path: path, reason: "read failed (\(String(cString: strerror(errno))))")
            }
            bytes += buffer[..<count]
        }
    }

    /// The record at `offset` and where it ends; nil when it is torn or damaged.
    private static func record(_ bytes: [UInt8], _ offset: Int) -> (JSON, Int)? {
        guard let newline = bytes[offset...].prefix(200).firstIndex(of: 0x0a) else { return nil }
        let words = String(decoding: bytes[offset..<newline], as: UTF8.self).split(separator: " ")
        guard words.count == 4, words[0] == "OVSDB", words[1] == "JSON", let length = Int(words[2]), length >= 0,
            length <= bytes.count - newline - 1
        else { return nil }
        let end = newline + 1 + length
        let text = Array(bytes[(newline + 1)..<end])
        guard SHA1.hexadecimal(text) == words[3], let json = try? JSON(parsing: text) else { return nil }
        return (json, end)
    }

    private static func encode(_ json: JSON) -> [UInt8] {
        var text = json.bytes()
        text.append(0x0a)
        return Array("OVSDB JSON \(text.count) \(SHA1.hexadecimal(text))\n".utf8) + text
    }

    /// Appends a record. When this returns a kill of this process cannot lose it; with `durable`, neither
    /// can a loss of power. On failure the file is as before.
    func append(_ json: JSON, durable: Bool) throws(OVSDBFileError) {
        let bytes = OVSDBFile.encode(json)
        guard OVSDBFile.write(bytes, descriptor), !durable || fdatasync(descriptor) == 0 else {
            let reason = "write failed (\(String(cString: strerror(errno))))"
            ftruncate(descriptor, off_t(size))
            lseek(descriptor, off_t(size), SEEK_SET)
            throw OVSDBFileError(path: path, reason: reason)
        }
        size += bytes.count
    }

    private static func write(_ bytes: [UInt8], _ descriptor: Int32) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { offset += count } else if count == 0 || errno != EINTR { return false }
        }
        return true
    }

    /// Whether the history is worth dropping: 10 MB and twice what it was after the last time.
    var wantsCompaction: Bool { size > 10 << 20 && size > compactSize * 2 }

    /// Replaces the file, at once and for good, by one with just these records.
    func replace(_ records: [JSON]) throws(OVSDBFileError) {
        let temporary = path + ".tmp"
        let new = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
        guard new >= 0 else { throw OVSDBFileError(path: temporary, reason: String(cString: strerror(errno))) }
        let bytes = records.flatMap(OVSDBFile.encode)
        guard OVSDBFile.write(bytes, new), fsync(new) == 0, rename(temporary, path) == 0 else {
            let reason = String(cString: strerror(errno))
            close(new)
            unlink(temporary)
            throw OVSDBFileError(path: temporary, reason: reason)
        }
        let parent =
            path.contains("/") ? path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/" : "."
        let directory = open(parent, O_RDONLY | O_CLOEXEC)
        if directory >= 0 {
            fsync(directory)
            close(directory)
        }
        close(descriptor)
        descriptor = new
        (size, compactSize) = (bytes.count, bytes.count)
    }
}

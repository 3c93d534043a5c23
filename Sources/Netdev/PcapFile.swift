// Capture files in the classic pcap format (draft-ietf-opsawg-pcap): what dummy devices write and read.

import Glibc
import Packet

/// A capture that packets are appended to; each is on disk when `write` returns.
final class PcapWriter {
    private let file: UnsafeMutablePointer<FILE>

    /// Appends to the file at `path`, writing the file header when it is new. Nil when it cannot be opened.
    init?(path: String) {
        guard let file = fopen(path, "a+b") else { return nil }
        self.file = file
        fseek(file, 0, SEEK_END)
        if ftell(file) == 0 {
            put(UInt32(0xa1b2_c3d4))
            put(UInt16(2))
            put(UInt16(4))
            for word: UInt32 in [0, 0, 1518, 1] { put(word) }
            fflush(file)
        }
    }

    deinit { fclose(file) }

    private func put<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value) { _ = fwrite($0.baseAddress, 1, $0.count, file) }
    }

    func write(_ bytes: UnsafeRawBufferPointer) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        put(UInt32(truncatingIfNeeded: now.tv_sec))
        put(UInt32(truncatingIfNeeded: now.tv_nsec / 1000))
        put(UInt32(bytes.count))
        put(UInt32(bytes.count))
        if let base = bytes.baseAddress { fwrite(base, 1, bytes.count, file) }
        fflush(file)
    }
}

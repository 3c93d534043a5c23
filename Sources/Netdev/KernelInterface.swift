// What the kernel says of a network interface, by ioctl(2) and sysfs: netdevice(7).

import CLinux
import Dpif
import Glibc

/// A kernel interface by name. Every call asks the kernel anew.
struct KernelInterface {
    let name: String

    init(_ name: String) throws(DpifError) {
        guard !name.isEmpty, name.utf8.count < Int(IFNAMSIZ) else {
            throw DpifError(ENAMETOOLONG, "interface name \"\(name)\"")
        }
        self.name = name
    }

    /// A request with the name filled in.
    func request() -> ifreq {
        var r = ifreq()
        withUnsafeMutableBytes(of: &r.ifr_ifrn.ifrn_name) { bytes in
            for (i, c) in name.utf8.enumerated() where i < bytes.count - 1 { bytes[i] = c }
        }
        return r
    }

    /// Any socket does for the ioctls of interfaces; below 0: there is none.
    private static let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)

    /// Runs one ioctl.
    private func control(_ code: Int32, _ r: inout ifreq) throws(DpifError) {
        let fd = Self.descriptor
        guard fd >= 0 else { throw DpifError(EMFILE, "socket for interface \(name)") }
        guard ioctl(fd, UInt(bitPattern: Int(code)), &r) == 0 else { throw DpifError(errno, "interface \(name)") }
    }

    var index: Int32 {
        get throws(DpifError) {
            let n = LinkLookup.index(of: name)
            guard n != 0 else { throw DpifError(ENODEV, "interface \(name)") }
            return n
        }
    }

    var flags: Int32 {
        get throws(DpifError) {
            var r = request()
            try control(SIOCGIFFLAGS, &r)
            return Int32(r.ifr_ifru.ifru_flags)
        }
    }

    func setUp(_ up: Bool) throws(DpifError) {
        let old = try flags
        let bit = Int32(IFF_UP)
        let new = up ? old | bit : old & ~bit
        guard new != old else { return }
        var r = request()
        r.ifr_ifru.ifru_flags = Int16(truncatingIfNeeded: new)
        try control(SIOCSIFFLAGS, &r)
    }

    var mac: UInt64 {
        get throws(DpifError) {
            var r = request()
            try control(SIOCGIFHWADDR, &r)
            return withUnsafeBytes(of: r.ifr_ifru.ifru_hwaddr.sa_data) { bytes in
                (0..<6).reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[$1]) }
            }
        }
    }

    func setMAC(_ address: UInt64) throws(DpifError) {
        var r = request()
        r.ifr_ifru.ifru_hwaddr.sa_family = 1
        withUnsafeMutableBytes(of: &r.ifr_ifru.ifru_hwaddr.sa_data) { bytes in
            for i in 0..<6 { bytes[i] = UInt8(address >> UInt64(40 - 8 * i) & 0xff) }
        }
        try control(SIOCSIFHWADDR, &r)
    }

    var mtu: Int {
        get throws(DpifError) {
            var r = request()
            try control(SIOCGIFMTU, &r)
            return Int(r.ifr_ifru.ifru_mtu)
        }
    }

    func setMTU(_ mtu: Int) throws(DpifError) {
        guard let value = Int32(exactly: mtu), value >= 68 else { throw DpifError(EINVAL, "MTU \(mtu) of \(name)") }
        var r = request()
        r.ifr_ifru.ifru_mtu = value
        try control(SIOCSIFMTU, &r)
    }

    /// A number in /sys/class/net/NAME, or nil.
    func sysfs(_ file: String) -> UInt64? {
        guard let f = fopen("/sys/class/net/\(name)/\(file)", "r") else { return nil }
        defer { fclose(f) }
        var buffer = [CChar](repeating: 0, count: 64)
        guard fgets(&buffer, 64, f) != nil else { return nil }
        let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return UInt64(text.filter { $0.isNumber })
    }

    var isRunning: Bool { sysfs("carrier") == 1 }

    var stats: DeviceStats {
        var s = DeviceStats()
        s.rxPackets = sysfs("statistics/rx_packets")
        s.txPackets = sysfs("statistics/tx_packets")
        s.rxBytes = sysfs("statistics/rx_bytes")
        s.txBytes = sysfs("statistics/tx_bytes")
        s.rxErrors = sysfs("statistics/rx_errors")
        s.txErrors = sysfs("statistics/tx_errors")
        s.rxDropped = sysfs("statistics/rx_dropped")
        s.txDropped = sysfs("statistics/tx_dropped")
        s.multicast = sysfs("statistics/multicast")
        s.collisions = sysfs("statistics/collisions")
        s.rxLengthErrors = sysfs("statistics/rx_length_errors")
        s.rxOverErrors = sysfs("statistics/rx_over_errors")
        s.rxCRCErrors = sysfs("statistics/rx_crc_errors")
        s.rxFrameErrors = sysfs("statistics/rx_frame_errors")
        s.rxFIFOErrors = sysfs("statistics/rx_fifo_errors")
        s.rxMissedErrors = sysfs("statistics/rx_missed_errors")
        return s
    }
}

// A network interface of the kernel: what it says of it, and what is changed by ioctl(2): netdevice(7).

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

    /// The interface as it is now; nil: there is none of the name.
    var link: LinkState? { LinkLookup.link(named: name) }

    /// As `link`; throws ENODEV.
    var present: LinkState {
        get throws(DpifError) {
            guard let link else { throw DpifError(ENODEV, "interface \(name)") }
            return link
        }
    }

    /// Asked for by itself before it is changed, without all that a link has besides.
    private var flags: Int32 {
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

    func setMAC(_ address: UInt64) throws(DpifError) {
        var r = request()
        r.ifr_ifru.ifru_hwaddr.sa_family = 1
        withUnsafeMutableBytes(of: &r.ifr_ifru.ifru_hwaddr.sa_data) { bytes in
            for i in 0..<6 { bytes[i] = UInt8(address >> UInt64(40 - 8 * i) & 0xff) }
        }
        try control(SIOCSIFHWADDR, &r)
    }

    func setMTU(_ mtu: Int) throws(DpifError) {
        guard let value = Int32(exactly: mtu), value >= 68 else { throw DpifError(EINVAL, "MTU \(mtu) of \(name)") }
        var r = request()
        r.ifr_ifru.ifru_mtu = value
        try control(SIOCSIFMTU, &r)
    }

    /// In Mb/s; nil where the driver tells none.
    var speed: UInt64? {
        guard let f = fopen("/sys/class/net/\(name)/speed", "r") else { return nil }
        defer { fclose(f) }
        var buffer = [CChar](repeating: 0, count: 64)
        guard fgets(&buffer, 64, f) != nil else { return nil }
        let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return UInt64(text.filter { $0.isNumber })
    }
}

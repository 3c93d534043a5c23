// Profiles of the dummy datapath: the capabilities of the datapaths in the published feature matrix.

import Dpif

/// Capabilities by profile name.
public enum DummyProfile {
    /// What the engine itself can do.
    public static var full: DpifCapabilities {
        var c = DpifCapabilities()
        c.tunnelPushPop = true
        return c
    }

    /// The capabilities of `COLUMN[:VERSION]`. Throws EINVAL for a name that is no column, or a version that is none.
    public static func capabilities(_ profile: String?) throws(DpifError) -> DpifCapabilities {
        guard let profile else { return full }
        let parts = profile.split(separator: ":", maxSplits: 1).map(String.init)
        let version = parts.count == 2 ? try Version(parts[1], in: profile) : nil
        switch parts[0] {
        case "userspace": return full
        case "linux-upstream": return linux(version ?? Version(6, 1))
        case "linux-ovs-tree": return linux(Version(5, 8))
        case "hyper-v": return hyperV
        default: throw DpifError(22, "dummy profile \(profile): no such column of the feature matrix")
        }
    }

    struct Version: Comparable {
        let major: Int
        let minor: Int
        init(_ major: Int, _ minor: Int) {
            self.major = major
            self.minor = minor
        }
        init(_ text: String, in profile: String) throws(DpifError) {
            let numbers = text.split(separator: ".").map { Int($0) }
            guard (1...2).contains(numbers.count), let major = numbers[0], let minor = numbers.count == 2 ? numbers[1] : 0
            else { throw DpifError(22, "dummy profile \(profile): \(text) is no version") }
            self.init(major, minor)
        }
        static func < (a: Version, b: Version) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
    }

    /// The kernel module at a release of Linux.
    private static func linux(_ v: Version) -> DpifCapabilities {
        var c = DpifCapabilities()
        c.maxVLANHeaders = v >= Version(4, 9) ? 2 : 1
        c.maxMPLSDepth = v >= Version(5, 5) ? 3 : v >= Version(3, 19) ? 1 : 0
        c.recirculation = v >= Version(3, 19)
        c.megaflows = v >= Version(3, 12)
        c.sctp = v >= Version(3, 12)
        c.tcpFlags = v >= Version(3, 13)
        c.ufid = v >= Version(4, 0)
        c.maskedSet = v >= Version(4, 0)
        let ct = v >= Version(4, 3)
        c.ctState = ct
        c.ctZone = ct
        c.ctMark = ct
        c.ctLabel = ct
        c.ctNAT = v >= Version(4, 6)
        c.ctStateNAT = v >= Version(4, 6)
        c.ctOrigTuple = v >= Version(4, 11)
        c.ctOrigTuple6 = v >= Version(4, 11)
        c.ctEventMask = v >= Version(4, 12)
        c.ctClear = v >= Version(4, 15)
        c.ctZoneLimit = v >= Version(4, 18)
        c.ctTimeoutPolicy = v >= Version(5, 2)
        c.ctZeroSNAT = v >= Version(5, 16)
        c.truncate = v >= Version(4, 8)
        c.clone = v >= Version(4, 12)
        c.sampleNesting = v >= Version(4, 12) ? 10 : 3
        c.meters = v >= Version(4, 15)
        c.checkPacketLength = v >= Version(5, 2)
        c.ndExtensions = false
        c.explicitDrop = false
        c.lbOutput = false
        c.addMPLS = v >= Version(5, 14)
        c.maxHashAlgorithm = 0
        return c
    }

    private static var hyperV: DpifCapabilities {
        var c = DpifCapabilities()
        c.megaflows = false
        c.ufid = false
        c.maskedSet = false
        c.tcpFlags = false
        c.meters = false
        c.checkPacketLength = false
        c.ctTimeoutPolicy = false
        c.multipleDatapaths = false
        c.ndExtensions = false
        c.explicitDrop = false
        c.lbOutput = false
        c.addMPLS = false
        c.clone = false
        c.truncate = false
        c.maxHashAlgorithm = 0
        return c
    }
}

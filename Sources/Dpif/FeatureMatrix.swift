// The published datapath feature matrix as data, and what this switch's own datapaths prove of it.
//
// Four columns are as published: the Linux kernel's module, Open vSwitch's own module, its userspace datapath, and
// Hyper-V. Three are computed: ours. A cell of ours is YES only when it names the test that proves it.

/// A published cell: since which version, or whether at all.
public enum FeatureSupport: Hashable, Sendable, CustomStringConvertible {
    case yes, no, partial, notApplicable, notPublished
    /// Since this version: of Linux in the first column, of Open vSwitch in the others.
    case since(String)

    public var description: String {
        switch self {
        case .yes: "YES"
        case .no: "NO"
        case .partial: "PARTIAL"
        case .notApplicable: "N/A"
        case .notPublished: "–"
        case .since(let version): version
        }
    }

    init(_ text: String) {
        switch text {
        case "YES": self = .yes
        case "NO": self = .no
        case "PARTIAL": self = .partial
        case "N-A": self = .notApplicable
        case "–": self = .notPublished
        default: self = .since(text)
        }
    }
}

/// The datapaths that are ours.
public enum OwnDatapath: String, CaseIterable, Sendable {
    case netlink, netdev, dummy
}

/// One feature.
public struct FeatureRow: Sendable {
    public let name: String
    public let linuxUpstream: FeatureSupport
    public let linuxOVSTree: FeatureSupport
    public let userspace: FeatureSupport
    public let hyperV: FeatureSupport
    /// The test that proves the feature, by datapath.
    public let evidence: [OwnDatapath: String]
    /// Why a datapath is without the feature that its column of the published matrix has, where there is something to say.
    public let reasons: [OwnDatapath: String]

    /// - Parameter cells: the four published columns, separated by slashes.
    init(_ name: String, _ cells: String, _ evidence: [OwnDatapath: String] = [:], lacks reasons: [OwnDatapath: String] = [:]) {
        self.name = name
        self.reasons = reasons
        let parts = cells.split(separator: "/").map { FeatureSupport(String($0)) }
        linuxUpstream = parts.count > 0 ? parts[0] : .notPublished
        linuxOVSTree = parts.count > 1 ? parts[1] : .notPublished
        userspace = parts.count > 2 ? parts[2] : .notPublished
        hyperV = parts.count > 3 ? parts[3] : .notPublished
        self.evidence = evidence
    }

    public var published: [FeatureSupport] { [linuxUpstream, linuxOVSTree, userspace, hyperV] }

    public func own(_ datapath: OwnDatapath) -> FeatureSupport { evidence[datapath] == nil ? .no : .yes }
}

public enum FeatureMatrix {
    public static let publishedColumns = ["Linux upstream", "Linux OVS tree", "Userspace", "Hyper-V"]

    private static func both(_ test: String) -> [OwnDatapath: String] { [.netdev: test, .dummy: test] }
    /// A check of the kernel's datapath, beside a test of the others.
    private static func all(_ test: String, kernel check: String) -> [OwnDatapath: String] {
        both(test).merging(kernel(check)) { $1 }
    }
    private static func kernel(_ check: String) -> [OwnDatapath: String] { [.netlink: "SystemTests.KernelDatapathTests/\(check)"] }

    /// A kind of tunnel, by the name of its test and of the kernel's check.
    private static func tunnel(_ kind: String) -> [OwnDatapath: String] {
        kernel(kind).merging([
            .netdev: "SystemTests.TunnelPacketTests/hostsReachEachOther", .dummy: "OfprotoTests.TunnelTests/\(kind)",
        ]) { $1 }
    }

    /// What users see.
    public static let userVisible: [FeatureRow] = [
        .init("Connection tracking", "4.3/2.5/2.6/YES", all("DatapathTests.ConntrackTests/connectionsAreFollowed", kernel: "connections")),
        .init(
            "Connection tracking-IPv6", "YES/YES/YES/3.0",
            all("DatapathTests.ConntrackTests/connectionsOverIPv6AreFollowed", kernel: "connectionsOverIPv6")),
        .init(
            "Conntrack Fragment Reass.", "4.3/2.6/2.12/YES",
            all("DatapathTests.ConntrackTests/fragmentsWaitForEachOther", kernel: "fragmentsAreReassembled")),
        .init(
            "Conntrack IPv6 Fragment", "4.3/2.6/2.12/3.1",
            all("DatapathTests.ConntrackTests/fragmentsOfIPv6WaitForEachOther", kernel: "fragmentsOfIPv6AreReassembled")),
        .init(
            "Conntrack Timeout Policies", "5.2/2.12/2.14/NO",
            all("DatapathTests.ConntrackTests/policiesChangeTimeouts", kernel: "timeoutPolicies")),
        .init("Conntrack Zone Limit", "4.18/2.10/2.13/YES", all("DatapathTests.ConntrackTests/zonesAreLimited", kernel: "zonesAreLimited")),
        .init("Conntrack NAT", "4.6/2.6/2.8/YES", all("DatapathTests.ConntrackTests/addressesAreTranslated", kernel: "sourceNAT")),
        .init(
            "Conntrack NAT6", "4.6/2.6/2.8/3.0",
            all("DatapathTests.ConntrackTests/addressesOfIPv6AreTranslated", kernel: "addressesOfIPv6AreTranslated")),
        .init("Conntrack Helper Persist.", "YES/–/3.3/–", kernel("helpersPersist")),
        .init("Tunnel - LISP", "NO/2.11/NO/NO"),
        .init("Tunnel - STT", "NO/2.4/NO/YES"),
        .init("Tunnel - GRE", "3.11/1.0/2.4/YES", tunnel("gre")),
        .init("Tunnel - VXLAN", "3.12/1.10/2.4/YES", tunnel("vxlan")),
        .init("Tunnel - Geneve", "3.18/2.4/2.4/YES", tunnel("geneve")),
        .init("Tunnel - GRE-IPv6", "4.18/2.6/2.6/NO", tunnel("greOverIPv6")),
        .init("Tunnel - VXLAN-IPv6", "4.3/2.6/2.6/NO", tunnel("vxlanOverIPv6")),
        .init("Tunnel - Geneve-IPv6", "4.4/2.6/2.6/3.0", tunnel("geneveOverIPv6")),
        .init("Tunnel - ERSPAN", "4.18/2.10/2.10/NO", tunnel("erspan")),
        .init("Tunnel - ERSPAN-IPv6", "4.18/2.10/2.10/NO", tunnel("erspanOverIPv6")),
        .init("Tunnel - GTP-U", "NO/NO/2.14/NO", both("OfprotoTests.TunnelTests/gtpu")),
        .init("Tunnel - SRv6", "NO/–/3.2/–"),
        .init(
            "Tunnel - Bareudp", "5.7/NO/NO/NO", lacks: [.netlink: "Debian's user-mode-linux, which the tests run in, has no bareudp driver"]
        ),
        .init(
            "QoS - Policing", "YES/1.1/2.6/NO",
            kernel("policing").merging([.netdev: "SystemTests.QualityOfServiceTests/whatEntersIsPoliced"]) { $1 }),
        .init(
            "QoS - Shaping", "YES/1.1/NO/NO",
            kernel("shaping").merging([.netdev: "SystemTests.QualityOfServiceTests/whatLeavesIsShaped"]) { $1 }),
        .init(
            "sFlow", "YES/1.0/1.0/NO",
            kernel("sFlow").merging([
                .netdev: "SystemTests.SamplingTests/sFlow", .dummy: "SystemTests.ExportTests/sFlowIsTheRealDaemons",
            ]) { $1 }),
        .init(
            "IPFIX", "3.10/1.11/1.11/YES",
            kernel("ipfix").merging([
                .netdev: "SystemTests.SamplingTests/ipfix", .dummy: "SystemTests.ExportTests/ipfixIsTheRealDaemons",
            ]) { $1 }),
        .init("Set action", "YES/1.0/1.0/PARTIAL", all("DatapathTests.ReferenceModelTests/rewritesKeepChecksums", kernel: "setActions")),
        .init("NIC Bonding", "YES/1.0/1.0/YES", all("OfprotoTests.BondTests/sourcesAreSpread", kernel: "bonds")),
        .init(
            "Multiple VTEPs", "YES/1.10/1.10/YES",
            kernel("multipleVTEPs").merging([
                .netdev: "SystemTests.TunnelPacketTests/multipleVTEPs", .dummy: "OfprotoTests.TunnelTests/multipleVTEPs",
            ]) { $1 }),
        .init("Meter action", "4.15/2.10/2.7/NO", all("DatapathTests.EngineTests/metersDrop", kernel: "metersDrop")),
        .init(
            "check_pkt_len action", "5.2/2.12/2.12/NO",
            all("DatapathTests.EngineTests/checkPacketLengthBranches", kernel: "checkPacketLength")),
    ]

    /// What Ofproto hides: where a datapath lacks it, packets take a slower way.
    public static let hiddenByOfproto: [FeatureRow] = [
        .init("SCTP flows", "3.12/YES/YES/YES", all("FlowTests.ExtractionTests/composedPacketsGiveTheirKeyBack", kernel: "sctpFlows")),
        .init("MPLS", "3.19/YES/YES/YES", all("DatapathTests.EngineTests/mplsIsPushedAndPopped", kernel: "mpls")),
        .init("UFID", "4.0/YES/YES/NO", all("DatapathTests.EngineTests/flowsAreFoundByUFID", kernel: "conformance")),
        .init("Megaflows", "3.12/YES/YES/NO", all("DatapathTests.ReferenceModelTests/randomTablesAndPackets", kernel: "pings")),
        .init(
            "Masked set action", "4.0/YES/YES/NO",
            all("DatapathTests.ReferenceModelTests/randomTablesAndPackets", kernel: "openFlowPipeline")),
        .init("Recirculation", "3.19/YES/YES/YES", all("DatapathTests.EngineTests/recirculationLooksUpAgain", kernel: "recirculation")),
        .init(
            "TCP flags matching", "3.13/YES/YES/NO",
            all("FlowTests.ExtractionTests/composedPacketsGiveTheirKeyBack", kernel: "tcpFlagsMatch")),
        .init(
            "Validate flow actions", "YES/YES/N-A/NO",
            kernel("conformance").merging([.dummy: "DatapathTests.CapabilityCheckTests/eachCapabilityIsChecked"]) { $1 }),
        .init("Multiple datapaths", "YES/YES/YES/NO", kernel("conformance")),
    ]

    /// The matrix in a format: `text`, `json` or `markdown`; nil for any other.
    /// - Parameter datapath: only this one of our columns.
    public static func render(format: String, datapath: OwnDatapath? = nil) -> String? {
        let own = datapath.map { [$0] } ?? OwnDatapath.allCases
        switch format {
        case "text": return text(own)
        case "json": return json(own)
        case "markdown": return markdown(own)
        default: return nil
        }
    }

    private static var tables: [(title: String, rows: [FeatureRow])] {
        [("Features that users see", userVisible), ("Features that Ofproto hides", hiddenByOfproto)]
    }

    private static func text(_ own: [OwnDatapath]) -> String {
        var out = ""
        for table in tables {
            out += table.title + "\n"
            for row in table.rows {
                let name = row.name + String(repeating: " ", count: max(1, 28 - row.name.count))
                let cells = own.map { "\($0.rawValue)=\(row.own($0))" } + row.published.map(\.description)
                out += "  \(name)\(cells.joined(separator: "  "))\n"
            }
        }
        return out
    }

    private static func json(_ own: [OwnDatapath]) -> String {
        func quote(_ s: String) -> String { "\"\(s)\"" }
        let rows = tables.flatMap { table in
            table.rows.map { row -> String in
                var pairs = ["\"feature\":\(quote(row.name))", "\"table\":\(quote(table.title))"]
                for (column, cell) in zip(publishedColumns, row.published) { pairs.append("\(quote(column)):\(quote(cell.description))") }
                for d in own {
                    pairs.append("\(quote(d.rawValue)):\(quote(row.own(d).description))")
                    if let test = row.evidence[d] { pairs.append("\(quote(d.rawValue + " test")):\(quote(test))") }
                }
                return "  {\(pairs.joined(separator: ","))}"
            }
        }
        return "[\n\(rows.joined(separator: ",\n"))\n]\n"
    }

    private static func markdown(_ own: [OwnDatapath]) -> String {
        var out = """
            # Datapath feature matrix

            Generated by `vswitchd features --format markdown`; checked against the code by the tests. The first four columns are
            the published matrix of Open vSwitch: a number is the first version with the feature (of Linux in the first column, of
            Open vSwitch in the others), and – means that nothing was published. The others are this switch's datapaths: a cell says
            YES only where a test proves it, and the test is named.

            """
        for table in tables {
            out += "\n## \(table.title)\n\n"
            out += "| Feature | \((publishedColumns + own.map(\.rawValue)).joined(separator: " | ")) |\n"
            out += "|\(String(repeating: " --- |", count: 1 + publishedColumns.count + own.count))\n"
            for row in table.rows {
                let ours = own.map { d in row.evidence[d].map { "YES (`\($0)`)" } ?? row.reasons[d].map { "NO: \($0)" } ?? "NO" }
                out += "| \(row.name) | \((row.published.map(\.description) + ours).joined(separator: " | ")) |\n"
            }
        }
        return out
    }
}

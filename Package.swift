// swift-tools-version: 6.1
// The targets are the architecture: each may import only what is listed here,
// bottom up. Ofproto imports no provider, no provider imports Ofproto, and
// vswitchd alone links the providers together. See docs/architecture.md.
import PackageDescription

/// Exclusive access is checked where the tests run; the checks cost a release a twentieth of its time.
let checked: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]
/// DPDK's headers need these; Debian keeps them apart from the libraries' other flags (pkg-config --cflags libdpdk).
#if arch(x86_64)
    let dpdkFlags = ["-I/usr/include/dpdk", "-I/usr/include/x86_64-linux-gnu/dpdk", "-march=x86-64-v3"]
#else
    let dpdkFlags = ["-I/usr/include/dpdk", "-I/usr/include/aarch64-linux-gnu/dpdk"]
#endif
let usesDPDK: [SwiftSetting] = checked + [.unsafeFlags(dpdkFlags.flatMap { ["-Xcc", $0] })]
/// For the target that holds per-packet code: no checks of overflow, bounds and exclusive access there, and none of its code may
/// count on them.
let hot: [SwiftSetting] =
    usesDPDK + [.unsafeFlags(["-Ounchecked"], .when(configuration: .release))]

func module(_ name: String, _ dependencies: [Target.Dependency] = [], _ settings: [SwiftSetting] = checked) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = [], _ settings: [SwiftSetting] = checked) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies, swiftSettings: settings)
}

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]

let package = Package(
    name: "vswitch",
    products: [
        .executable(name: "vswitchd", targets: ["vswitchd"]),
        // For the benchmarks of single functions, in Benchmarks/Micro.
        .library(name: "VSwitchCore", targets: ["Packet", "Flow", "Classifier"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    ],
    targets: [
        .target(name: "CLinux"),
        .systemLibrary(name: "CMnl", pkgConfig: "libmnl"),
        .systemLibrary(name: "CNuma", pkgConfig: "numa"),
        module("Vlog", [.product(name: "NIOConcurrencyHelpers", package: "swift-nio")]),
        module("Packet"),
        module("Flow", ["Packet"]),
        module("Classifier", ["Flow", .product(name: "HashTreeCollections", package: "swift-collections")]),
        module("Dpif", ["CLinux", "Flow", "Packet"]),
        module("Datapath", ["Vlog", "Dpif"]),
        module("Netdev", ["Vlog", "Dpif", "Flow", "CLinux", "CMnl", .product(name: "NIOConcurrencyHelpers", package: "swift-nio")]),
        module(
            "DpifNetlink",
            ["Vlog", "Dpif", "Datapath", "Netdev", "CLinux", "CMnl", .product(name: "NIOConcurrencyHelpers", package: "swift-nio")]),
        .target(
            name: "CDPDK", cSettings: [.unsafeFlags(dpdkFlags)],
            linkerSettings: ["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_ring", "rte_eal"].map { .linkedLibrary($0) }),
        module("FastPath", ["CDPDK", "Dpif"], hot),
        module(
            "DpifNetdev",
            [
                "Vlog", "Dpif", "Datapath", "Netdev", "FastPath", "CDPDK", "CNuma",
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            ],
            usesDPDK),
        module("DpifDummy", ["Vlog", "Dpif", "Datapath", "Netdev"]),
        module("OpenFlow", ["Flow"]),
        module("Ofproto", ["Vlog", "Dpif", "Classifier", "OpenFlow"]),
        module(
            "OpenFlowService",
            [
                "Ofproto", "OpenFlow", "Flow", "Packet", "Dpif", "Vlog", "CLinux",
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ] + nio),
        module("OVSDB", nio + ["Vlog"]),
        module("Unixctl", ["Vlog", "OVSDB"] + nio),
        module("Bridge", ["CLinux", "Vlog", "Ofproto", "OpenFlowService", "OVSDB", "Netdev", "Unixctl"] + nio),
        .executableTarget(
            name: "vswitchd",
            dependencies: [
                "Bridge", "DpifNetlink", "DpifNetdev", "DpifDummy", "Unixctl", "OVSDB", "Vlog", "Netdev", "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ] + nio,
            swiftSettings: usesDPDK),
        tests("OVSDB", nio),
        tests("Unixctl", ["Vlog"] + nio),
        tests("Bridge", ["Ofproto", "OVSDB", "vswitchd"] + nio),
        .testTarget(
            name: "SystemTests", dependencies: ["vswitchd"], exclude: ["learning_switch.py", "switch_tester.py", "Export", "Kernel"],
            swiftSettings: checked),
        .testTarget(
            name: "OpenFlowTests", dependencies: ["OpenFlow", "Flow"], exclude: ["flow-mods.txt"], swiftSettings: checked),
        tests(
            "DpifNetdev",
            ["Dpif", "FastPath", "Flow", "Netdev", "TestSupport", .product(name: "NIOConcurrencyHelpers", package: "swift-nio")],
            usesDPDK),
        tests("FastPath", ["Datapath", "Dpif", "Flow", "Packet", "TestSupport"], usesDPDK),
        tests("DpifNetlink", ["CLinux", "Dpif", "Flow", "Packet"]),
        tests("Packet"),
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: checked),
        tests("Dpif"),
        // What every datapath must do, for the tests of each.
        .target(name: "DpifConformance", dependencies: ["Dpif", "Flow", "Packet"], path: "Tests/DpifConformance", swiftSettings: checked),
        .testTarget(
            name: "DpifConformanceTests",
            dependencies: ["DpifConformance", "Dpif", "DpifDummy", "DpifNetdev", "DpifNetlink", "Netdev", "Packet"],
            swiftSettings: usesDPDK),
        tests("Flow", ["Packet", "TestSupport"]),
        tests("Classifier", ["Flow", "TestSupport"]),
        tests("Datapath", ["Dpif", "Flow", "Packet", "TestSupport"]),
        tests(
            "OpenFlowService",
            [
                "Datapath", "Dpif", "DpifDummy", "Flow", "Netdev", "OpenFlow", "Ofproto", "Packet",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        tests("Ofproto", ["Datapath", "Dpif", "DpifDummy", "Flow", "Netdev", "OpenFlow", "Packet", "TestSupport"]),
    ]
)

// libFuzzer's program needs its own compiler flags (scripts/fuzz.sh); other builds do not see it.
if Context.environment["VSWITCH_FUZZ"] != nil {
    package.products.append(.executable(name: "fuzz", targets: ["fuzz"]))
    package.targets.append(
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "OVSDB", "OpenFlow", "OpenFlowService", "Ofproto", "Datapath", "Dpif", "DpifDummy", "DpifNetlink", "Netdev", "Flow",
                "Packet", "Vlog",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOEmbedded", package: "swift-nio"),
            ], path: "Fuzz",
            exclude: ["Corpus"], swiftSettings: checked + [.unsafeFlags(["-parse-as-library"])]))
}

// swift-tools-version: 6.1
// Benchmarks of single functions, a package of their own so that building the switch does not build their library.
import PackageDescription

let package = Package(
    name: "micro",
    platforms: [.macOS(.v13)],
    dependencies: [
        .package(name: "vswitch", path: "../.."),
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "Lookup",
            dependencies: [
                .product(name: "Benchmark", package: "benchmark"),
                .product(name: "VSwitchCore", package: "vswitch"),
            ],
            path: "Benchmarks/Lookup",
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
    ]
)

// The feature matrix: the generated file is what the code says, and every test that it names exists.
import Foundation
import Testing

@testable import Dpif

struct FeatureMatrixTests {
    private var package: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
    }
    private var rows: [FeatureRow] { FeatureMatrix.userVisible + FeatureMatrix.hiddenByOfproto }

    @Test func generatedFileIsCurrent() throws {
        let file = try String(contentsOf: package.appendingPathComponent("feature-matrix.md"), encoding: .utf8)
        #expect(file == FeatureMatrix.render(format: "markdown"), "feature-matrix.md is old: run `make docs`")
    }

    @Test func everyNamedTestExists() throws {
        let names = Set(rows.flatMap(\.evidence.values))
        #expect(!names.isEmpty)
        for name in names.sorted() {
            let parts = name.split(separator: "/").map(String.init)
            let suite = parts.first?.split(separator: ".").map(String.init) ?? []
            guard parts.count == 2, suite.count == 2 else {
                Issue.record("\(name): expected MODULE.SUITE/FUNCTION")
                continue
            }
            let directory = package.appendingPathComponent("Tests/\(suite[0])")
            let files = try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
            let sources = try files.filter { $0.pathExtension == "swift" }.map {
                try String(contentsOf: $0, encoding: .utf8)
            }
            let found = sources.contains {
                $0.range(of: "(struct|class) \(suite[1])\\b", options: .regularExpression) != nil
                    && $0.range(of: "@Test[^\\n]*\\n?[^\\n]*func \(parts[1])\\(", options: .regularExpression) != nil
            }
            #expect(found, "\(name) is named as evidence, and is not there")
        }
    }

    @Test func rowsAreComplete() {
        #expect(FeatureMatrix.userVisible.count == 31)
        #expect(FeatureMatrix.hiddenByOfproto.count == 9)
        #expect(Set(rows.map(\.name)).count == rows.count)
        let meters = rows.first { $0.name == "Meter action" }
        #expect(meters?.published == [.since("4.15"), .since("2.10"), .since("2.7"), .no])
    }

    @Test func formats() throws {
        let json = try #require(FeatureMatrix.render(format: "json", datapath: .dummy))
        let parsed = try #require(JSONSerialization.jsonObject(with: Data(json.utf8)) as? [[String: String]])
        #expect(parsed.count == rows.count)
        #expect(parsed.allSatisfy { $0["dummy"] != nil && $0["netdev"] == nil })
        #expect(FeatureMatrix.render(format: "text")?.contains("netlink=NO") == true)
        #expect(FeatureMatrix.render(format: "yaml") == nil)
    }
}

// `vswitchd features`: prints the datapath feature matrix. Needs neither a database nor root.

import ArgumentParser
import Dpif

/// The command line of `vswitchd features`.
struct FeaturesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vswitchd features",
        abstract: "Print what the datapaths can do, beside the published feature matrix.")

    @Option(help: "Only this one of the switch's own datapaths: netlink, netdev or dummy.") var datapath: String?
    @Option(help: "text, json or markdown.") var format = "text"

    /// Runs with the arguments after `features`. Prints and ends the process: with 1 when an argument is wrong.
    static func execute(_ arguments: [String]) -> Never {
        let command: FeaturesCommand
        do {
            command = try FeaturesCommand.parse(arguments)
        } catch {
            guard exitCode(for: error) == .success else { die("features: \(message(for: error))") }
            print(fullMessage(for: error))
            exit(withError: nil)
        }
        print(command.rendered(), terminator: "")
        exit(withError: nil)
    }

    private func rendered() -> String {
        var own: OwnDatapath?
        if let datapath {
            own = OwnDatapath(rawValue: datapath)
            if own == nil { die("features: --datapath=\(datapath): expected netlink, netdev or dummy") }
        }
        guard let text = FeatureMatrix.render(format: format, datapath: own) else {
            die("features: --format=\(format): expected text, json or markdown")
        }
        return text
    }
}

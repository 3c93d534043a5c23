// dpctl/add-dp, del-dp, add-if, set-if, del-if and the sizes of caches: datapaths and ports by hand, beside those of bridges.

import Dpif
import Netdev
import Unixctl

extension ControlCommands {
    typealias DpctlRegistration = (_ name: String, _ usage: String, _ low: Int, _ high: Int, _ body: @escaping DpctlCommand) -> Void

    func registerDatapathsByHand(_ add: DpctlRegistration) {
        add("add-dp", "dp [iface...]", 1, .max) { [unowned self] args throws(DpctlFailure) in
            let words = try DpctlArguments(args).words
            guard let word = words.first else { throw DpctlFailure("add_dp", 22) }
            let (type, name) = typeAndName(word)
            guard datapath(named: "\(type)@\(name)") == nil else { throw DpctlFailure("add_dp", 17) }
            let dpif: any Dpif
            do throws(DpifError) {
                dpif = try fabric.registry.open(type: type, name: name)
            } catch {
                throw DpctlFailure("add_dp", error.errno)
            }
            return try addInterfaces(words.dropFirst(), to: dpif)
        }
        add("del-dp", "dp", 1, 1) { [unowned self] args throws(DpctlFailure) in
            let dpif = try findDatapath(args[0])
            // That of bridges stays as long as they do.
            guard !isOfBridges(dpif) || dpif.type == "system" else { return "" }
            for device in dpif.ports.compactMap({ dpif.device($0.number) }) { fabric.factory.close(device) }
            fabric.registry.close(dpif)
            return ""
        }
        add("add-if", "dp iface...", 2, .max) { [unowned self] args throws(DpctlFailure) in
            try addInterfaces(args.dropFirst(), to: try findDatapath(args[0]))
        }
        add("del-if", "dp iface...", 2, .max) { [unowned self] args throws(DpctlFailure) in
            let dpif = try findDatapath(args[0])
            return try forEach(args.dropFirst()) { word throws(DpctlFailure) in
                guard let port = UInt32(word).flatMap({ dpif.port($0) }) ?? dpif.port(named: word) else {
                    throw DpctlFailure(plain: "ovs-vswitchd: no port named \(word)")
                }
                // A datapath has its own port as long as it lives.
                guard port.number != 0 else {
                    throw DpctlFailure("deleting port \(word) from \(dpif.type)@\(dpif.name) failed", 22)
                }
                let device = dpif.device(port.number)
                do throws(DpifError) {
                    try dpif.deletePort(port.number)
                } catch {
                    throw DpctlFailure("deleting port \(word) from \(dpif.type)@\(dpif.name) failed", error.errno)
                }
                if let device, !isOfBridges(dpif) { fabric.factory.close(device) }
            }
        }
        add("set-if", "dp iface...", 2, .max) { [unowned self] args throws(DpctlFailure) in
            let dpif = try findDatapath(args[0])
            return try forEach(args.dropFirst()) { [unowned self] word throws(DpctlFailure) in try change(InterfaceWords(word), of: dpif) }
        }
    }

    func registerCacheSizes(_ add: DpctlRegistration) {
        add("cache-get-size", "[dp]", 0, 1) { [unowned self] args throws(DpctlFailure) in
            let words = try DpctlArguments(args).words
            guard let word = words.first else { return orderedDatapaths.map { sizes(of: $0) }.joined() }
            guard let dpif = datapath(named: word) else { throw unopened(word) }
            return sizes(of: dpif)
        }
        add("cache-set-size", "dp cache <size>", 3, 3) { [unowned self] args throws(DpctlFailure) in
            guard let size = UInt32(args[2]) else { throw DpctlFailure("size is malformed", 22) }
            guard let dpif = datapath(named: args[0]) else { throw unopened(args[0]) }
            guard dpif.masksCacheSize != nil else { throw DpctlFailure("Setting caches not supported", 95) }
            guard args[1] == "masks-cache" else { throw DpctlFailure("Cache name \"\(args[1])\" not found on dpif", 22) }
            do throws(DpifError) {
                try dpif.setMasksCacheSize(size)
            } catch {
                throw DpctlFailure("Setting cache size failed", error.errno)
            }
            return "Setting cache size successful, new size \(dpif.masksCacheSize ?? 0)\n"
        }
    }

    private func sizes(of dpif: any Dpif) -> String {
        let title = "\(dpif.type)@\(dpif.name):\n"
        return title + (dpif.masksCacheSize.map { "  caches:\n    masks-cache: size:\($0)\n" } ?? "")
    }

    private func unopened(_ word: String) -> DpctlFailure { DpctlFailure("Opening datapath \(word) failed", unopenedReason(word)) }

    /// Whether bridges forward by a datapath.
    private func isOfBridges(_ dpif: any Dpif) -> Bool { fabric.backers.values.contains { $0.dpif === dpif } }

    /// Does something for each word, and goes on where it fails. Throws all that was wrong.
    private func forEach(_ words: ArraySlice<String>, _ body: (String) throws(DpctlFailure) -> Void) throws(DpctlFailure) -> String {
        var problems: [String] = []
        for word in words {
            do throws(DpctlFailure) { try body(word) } catch { problems.append(error.text) }
        }
        guard problems.isEmpty else { throw DpctlFailure(plain: problems.joined(separator: "\n")) }
        return ""
    }

    // MARK: Interfaces

    /// `NAME[,KEY=VALUE]...`
    private struct InterfaceWords {
        let name: String
        var type: String?
        var number: UInt32?
        var options: [String: String] = [:]

        init(_ text: String) {
            let parts = text.split(separator: ",", omittingEmptySubsequences: true).map(String.init)
            name = parts.first ?? ""
            for part in parts.dropFirst() {
                let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                let value = sides.count == 2 ? sides[1] : ""
                switch sides[0] {
                case "type": type = value
                // Like atoi(3): what is no number is 0.
                case "port_no": number = UInt32(value) ?? 0
                default: options[sides[0]] = value
                }
            }
        }
    }

    private func addInterfaces(_ words: ArraySlice<String>, to dpif: any Dpif) throws(DpctlFailure) -> String {
        try forEach(words) { [unowned self] word throws(DpctlFailure) in
            let wanted = InterfaceWords(word)
            let target = "\(dpif.type)@\(dpif.name)"
            guard dpif.port(named: wanted.name) == nil else { throw DpctlFailure("adding \(wanted.name) to \(target) failed", 17) }
            // A device's packets go to one port.
            guard fabric.devices[wanted.name] == nil else { throw DpctlFailure("adding \(wanted.name) to \(target) failed", 16) }
            let device: any PortDevice
            do throws(DpifError) {
                let provider = fabric.registry.provider(dpif.type)
                let type = provider?.portType(wanted.type ?? "system") ?? wanted.type ?? "system"
                if let own = try provider?.openDevice(name: wanted.name, type: type) {
                    device = own
                } else {
                    device = try fabric.factory.open(name: wanted.name, type: type, options: wanted.options)
                }
            } catch {
                throw DpctlFailure("\(wanted.name): failed to open network device", error.errno)
            }
            do throws(DpifError) {
                try fabric.factory.configure(device, options: wanted.options)
                // The ports of bridges come from the database; others are taken out of their datapath again.
                guard !isOfBridges(dpif) else { return fabric.factory.close(device) }
                _ = try dpif.addPort(device, requested: wanted.number)
            } catch {
                fabric.factory.close(device)
                throw DpctlFailure("adding \(wanted.name) to \(target) failed", error.errno)
            }
        }
    }

    /// Changes the options of a port; its type and number stay.
    private func change(_ wanted: InterfaceWords, of dpif: any Dpif) throws(DpctlFailure) {
        let name = wanted.name
        guard let port = dpif.port(named: name), let device = dpif.device(port.number) else {
            throw DpctlFailure("\(name): failed to query port in \(dpif.type)@\(dpif.name)", 19)
        }
        if let type = wanted.type, type != port.type {
            throw DpctlFailure(plain: "ovs-vswitchd: \(name): can't change type from \(port.type) to \(type)")
        }
        if let number = wanted.number, number != port.number {
            throw DpctlFailure(plain: "ovs-vswitchd: \(name): can't change port number from \(port.number) to \(number)")
        }
        do throws(DpifError) {
            try fabric.factory.configure(device, options: fabric.configuredOptions(name).merging(wanted.options) { _, new in new })
        } catch {
            throw DpctlFailure("\(name): failed to configure network device", error.errno)
        }
    }
}

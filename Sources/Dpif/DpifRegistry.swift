// Datapath types by name. vswitchd fills it with the providers it links; everything else asks it.

/// Makes the datapaths of one type.
public protocol DpifProvider: AnyObject {
    /// The type as in Bridge.datapath_type, e.g. `system`.
    var type: String { get }
    /// Opens the datapath, creating it when it is not there.
    func open(name: String) throws(DpifError) -> any Dpif
    /// Names of the datapaths that exist.
    func enumerate() -> [String]
    /// The Interface.type that a bridge's local port has, e.g. `internal`, `tap`, `dummy-internal`.
    func portType(_ type: String) -> String
    /// Opens a device of a type that this datapath has its own of; nil for the others, which are as everywhere.
    /// Throws ENODEV when there is no such interface.
    func openDevice(name: String, type: String) throws(DpifError) -> (any PortDevice)?
    /// Applies Open_vSwitch.other_config. Called again whenever it changes; throws what is wrong with it.
    func configure(_ config: [String: String]) throws(DpifError)
    var status: ProviderStatus { get }
}

extension DpifProvider {
    public func openDevice(name: String, type: String) throws(DpifError) -> (any PortDevice)? { nil }
    public func configure(_ config: [String: String]) throws(DpifError) {}
    public var status: ProviderStatus { ProviderStatus() }
}

/// What a provider reports in the Open_vSwitch table.
public struct ProviderStatus: Hashable, Sendable {
    public var dpdkInitialized: Bool
    public var dpdkVersion: String
    public init(dpdkInitialized: Bool = false, dpdkVersion: String = "none") {
        self.dpdkInitialized = dpdkInitialized
        self.dpdkVersion = dpdkVersion
    }
}

/// The datapath types that this daemon knows. Confined to the main thread.
public final class DpifRegistry {
    private var providers: [String: any DpifProvider] = [:]
    private var order: [String] = []
    private var open: [String: any Dpif] = [:]
    /// The type for bridges without a datapath_type.
    public var defaultType = "system"

    public init() {}

    public func register(_ provider: any DpifProvider) {
        if providers[provider.type] == nil { order.append(provider.type) }
        providers[provider.type] = provider
    }

    public var types: [String] { order }

    public func provider(_ type: String) -> (any DpifProvider)? { providers[type] }

    /// The type that a name stands for: flag names (`netlink`) and the empty name are aliases.
    public func normalise(_ type: String) -> String {
        switch type {
        case "": defaultType
        case "netlink": "system"
        default: type
        }
    }

    /// Applies Open_vSwitch.other_config to all providers. Returns what is wrong with it.
    public func configure(_ config: [String: String]) -> [DpifError] {
        order.compactMap { type in
            do throws(DpifError) {
                try providers[type]?.configure(config)
                return nil
            } catch {
                return error
            }
        }
    }

    /// The status of the first provider that has something to report.
    public var status: ProviderStatus {
        order.lazy.compactMap { self.providers[$0]?.status }.first { $0.dpdkInitialized } ?? ProviderStatus()
    }

    /// Opens a datapath; one that is open already is returned again.
    public func open(type: String, name: String) throws(DpifError) -> any Dpif {
        let type = normalise(type)
        guard let provider = providers[type] else { throw DpifError(97, "could not create datapath \(name) of unknown type \(type)") }
        if let dpif = open["\(type)@\(name)"] { return dpif }
        if let other = open.values.first(where: { $0.type == type }), !other.capabilities.multipleDatapaths {
            throw DpifError(
                95, "could not create datapath \(name): datapaths of type \(type) cannot be several, and \(other.name) is there")
        }
        let dpif = try provider.open(name: name)
        open["\(type)@\(name)"] = dpif
        return dpif
    }

    /// Destroys a datapath.
    public func close(_ dpif: any Dpif) {
        open["\(dpif.type)@\(dpif.name)"] = nil
        dpif.destroy()
    }

    /// The open datapaths, by type and name.
    public var openDatapaths: [any Dpif] { open.keys.sorted().compactMap { open[$0] } }
}

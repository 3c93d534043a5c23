// The dummy device: packets come in by `receive` and by streams, and go out to capture files and streams. It stands for a
// network card wherever a test needs none.

import Dpif
import Packet
import Synchronization

/// A device without hardware. Types: `dummy`, `dummy-internal`, `dummy-pmd`.
public final class DummyDevice: PacketDevice, AddressedDevice {
    public let name: String
    public let type: String
    public private(set) var macAddress: UInt64
    public private(set) var mtu = 1500
    public private(set) var isAdminUp = true
    public private(set) var linkResets: UInt64 = 0
    public private(set) var changeCount: UInt64 = 1
    private var counters = DeviceStats()
    public var receiver: ((consuming Packet) -> Void)?

    private var txCapture: PcapWriter?
    private var rxCapture: PcapWriter?
    private var options: [String: String] = [:]
    /// Set by `netdev-dummy/ip4addr` and `ip6addr`: one of each kind.
    public private(set) var addresses: [InterfaceAddress] = []
    /// Frames that are sent, for whoever holds the other end of the wire.
    public var onTransmit: ((UnsafeRawBufferPointer) -> Void)?

    private static let nextAddress = Atomic<UInt32>(0)

    public init(name: String, type: String) {
        self.name = name
        self.type = type
        let n = Self.nextAddress.add(1, ordering: .relaxed).oldValue
        macAddress = 0xaa55_aa55_0000 | UInt64(n & 0xffff)
    }

    /// Takes Interface.options: `tx_pcap`, `rxq_pcap` (or `rx_pcap`), and `pcap`, which stands for both.
    public func configure(_ options: [String: String]) throws(DpifError) {
        guard options != self.options else { return }
        self.options = options
        txCapture = nil
        rxCapture = nil
        if let path = options["pcap"] {
            let both = PcapWriter(path: path)
            txCapture = both
            rxCapture = both
        } else {
            if let path = options["rxq_pcap"] ?? options["rx_pcap"] { rxCapture = PcapWriter(path: path) }
            if let path = options["tx_pcap"] { txCapture = PcapWriter(path: path) }
        }
    }

    public var isLinkUp: Bool { isAdminUp }
    public var features: (current: PortFeatures, advertised: PortFeatures, supported: PortFeatures, peer: PortFeatures) { ([], [], [], []) }
    public var stats: DeviceStats { counters }
    public var status: [String: String] { [:] }
    /// The one that is always there, which does not count.
    public var queues: [UInt32: QueueCounters] {
        var queue = QueueCounters()
        (queue.packets, queue.bytes, queue.dropped) = (.max, .max, .max)
        return [0: queue]
    }
    /// What options:ifindex says.
    public var interfaceIndex: Int { options["ifindex"].flatMap { Int32($0) }.map { Int(max(0, $0)) } ?? 0 }

    public func setAdminUp(_ up: Bool) throws(DpifError) {
        guard up != isAdminUp else { return }
        isAdminUp = up
        changeCount += 1
    }

    public func setMAC(_ address: UInt64) throws(DpifError) {
        guard address != macAddress else { return }
        macAddress = address
        changeCount += 1
    }

    public func setMTU(_ mtu: Int) throws(DpifError) {
        guard mtu != self.mtu else { return }
        self.mtu = mtu
        changeCount += 1
    }

    public func setIPv4(_ address: UInt32, prefix: Int) {
        add(InterfaceAddress(UInt128(address), isIPv6: false, prefix: prefix))
    }

    public func setIPv6(_ address: UInt128, prefix: Int) { add(InterfaceAddress(address, isIPv6: true, prefix: prefix)) }

    private func add(_ address: InterfaceAddress) {
        addresses.removeAll { $0.isIPv6 == address.isIPv6 }
        addresses.append(address)
        changeCount += 1
    }

    /// A packet arrives. Devices that are down drop it.
    public func receive(_ packet: consuming Packet) {
        guard isAdminUp else { return }
        rxCapture?.write(packet.bytes)
        counters.rxPackets = (counters.rxPackets ?? 0) + 1
        counters.rxBytes = (counters.rxBytes ?? 0) + UInt64(packet.count)
        receiver?(packet)
    }

    /// Sends a frame, unless it is shorter than a header, or longer than the MTU allows.
    public func transmit(_ packet: consuming Packet) {
        guard packet.count >= 14,
            packet.count <= mtu + 14 + (packet.bytes.loadUnaligned(fromByteOffset: 12, as: UInt16.self).bigEndian == 0x8100 ? 4 : 0)
        else { return }
        counters.txPackets = (counters.txPackets ?? 0) + 1
        counters.txBytes = (counters.txBytes ?? 0) + UInt64(packet.count)
        txCapture?.write(packet.bytes)
        onTransmit?(packet.bytes)
    }
}

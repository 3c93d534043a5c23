// Actions that the kernel's module lacks: their packets are changed here, and sent on by it.

import Datapath
import Dpif
import Flow
import Packet

/// Runs lists of actions that the module would refuse.
struct UserspaceExecution {
    let vlanLimit: Int

    /// True when a list has an action that the module does not know: rewriting ARP, neighbour discovery or ICMP.
    static func isNeeded(_ actions: [DpAction]) -> Bool {
        actions.contains { action in
            switch action {
            case .set(let set): [.arp, .nd, .icmp, .icmpv6].contains(set.kind)
            case .clone(let list), .sample(_, let list): isNeeded(list)
            case .checkPacketLength(_, let greater, let less): isNeeded(greater) || isNeeded(less)
            default: false
            }
        }
    }

    /// Rewrites the packet step by step; every other action goes to `send`, with the packet as it is then.
    func run(_ actions: [DpAction], _ packet: borrowing Packet, metadata: FlowKey, _ send: ([UInt8], FlowKey, [DpAction]) -> Void) {
        var copy = packet.clone()
        var key = metadata.metadataOnly
        key.packetType = metadata.packetType
        var pending: [DpAction] = []
        for action in actions {
            var parsed = key.metadataOnly
            parsed.packetType = key.packetType
            parsed.extract(from: &copy, vlanLimit: vlanLimit)
            switch action {
            case .set(let set): copy.apply(set, key: &key, parsed: parsed)
            case .pushVLAN(let tpid, let tci): copy.pushVLAN(tpid: tpid, tci: tci)
            case .popVLAN: copy.popVLAN()
            case .pushMPLS(let lse, let type): copy.pushMPLS(lse: lse, ethType: type)
            case .popMPLS(let type): copy.popMPLS(ethType: type)
            case .addMPLS, .pushEthernet, .popEthernet, .pushNSH, .popNSH:
                // Without what is to be taken away, nothing more is to be done to the packet.
                guard copy.changeOutermost(action, key: &key, vlanLimit: vlanLimit) else { return }
            case .clone(let list): run(list, copy, metadata: key, send)
            case .sample(let probability, let list):
                if probability == .max || UInt32.random(in: 0 ... .max) < probability { run(list, copy, metadata: key, send) }
            case .checkPacketLength(let size, let greater, let less):
                run(copy.count > Int(size) ? greater : less, copy, metadata: key, send)
            case .truncate, .hash:
                // They are for the action that follows.
                pending.append(action)
            default:
                send(copy.array, key, pending + [action])
                pending = []
            }
        }
    }
}

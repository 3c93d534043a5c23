// Datapath actions as the kernel's attributes (OVS_ACTION_ATTR_*), both ways.

import CLinux
import Dpif
import Flow

/// Writes and reads lists of actions.
struct ActionCodec: Sendable {
    /// Where packets of `userspace` actions go; with dispatch per processor the module chooses itself and takes any number but 0.
    var upcallPort: UInt32 = .max
    var tunnelOptions: TunnelOptionMap?

    /// Deeper lists are refused; the module allows no more.
    private static let maxDepth = 16

    private static func type(_ t: ovs_action_attr) -> Int { Int(t.rawValue) }

    /// Writes actions one after the other. Throws EINVAL for what the kernel's module has no action for.
    func write(_ actions: [DpAction], to w: inout NetlinkMessageWriter) throws(DpifError) {
        var problem: DpifError?
        for action in actions {
            do throws(DpifError) { try write(action, to: &w) } catch { problem = problem ?? error }
        }
        if let problem { throw problem }
    }

    /// Writes a list into an attribute.
    private func nest(_ type: Int, _ actions: [DpAction], to w: inout NetlinkMessageWriter) throws(DpifError) {
        var problem: DpifError?
        w.nest(type) { w in
            do throws(DpifError) { try write(actions, to: &w) } catch { problem = error }
        }
        if let problem { throw problem }
    }

    private func write(_ action: DpAction, to w: inout NetlinkMessageWriter) throws(DpifError) {
        var problem: DpifError?
        func list(_ type: Int, _ actions: [DpAction], _ w: inout NetlinkMessageWriter) {
            do throws(DpifError) { try nest(type, actions, to: &w) } catch { problem = error }
        }
        switch action {
        case .output(let port): w.attribute(Self.type(OVS_ACTION_ATTR_OUTPUT), host: port)
        case .userspace(let cookie):
            w.nest(Self.type(OVS_ACTION_ATTR_USERSPACE)) {
                $0.attribute(Int(OVS_USERSPACE_ATTR_PID.rawValue), host: upcallPort)
                $0.attribute(Int(OVS_USERSPACE_ATTR_USERDATA.rawValue), UserspaceCookie.bytes(cookie))
                if let tunnel = cookie.tunnelPort { $0.attribute(Int(OVS_USERSPACE_ATTR_EGRESS_TUN_PORT.rawValue), host: tunnel) }
                if cookie.wantsActions { $0.flag(Int(OVS_USERSPACE_ATTR_ACTIONS.rawValue)) }
            }
        case .set(let set): try SetCodec(tunnelOptions: tunnelOptions).write(set, to: &w)
        case .pushVLAN(let tpid, let tci):
            w.attribute(Self.type(OVS_ACTION_ATTR_PUSH_VLAN)) {
                $0.network(tpid)
                // The module wants the bit that says that there is a tag.
                $0.network(tci | 0x1000)
            }
        case .popVLAN: w.flag(Self.type(OVS_ACTION_ATTR_POP_VLAN))
        case .pushMPLS(let lse, let type):
            w.attribute(Self.type(OVS_ACTION_ATTR_PUSH_MPLS)) {
                $0.network(lse)
                $0.network(type)
                $0.zeros(2)
            }
        case .popMPLS(let type): w.attribute(Self.type(OVS_ACTION_ATTR_POP_MPLS), network: type)
        case .addMPLS(let lse, let type):
            w.attribute(Self.type(OVS_ACTION_ATTR_ADD_MPLS)) {
                $0.network(lse)
                $0.network(type)
                // Without OVS_MPLS_L3_TUNNEL_FLAG_MASK: before all of the packet.
                $0.host(UInt16(0))
            }
        case .recirc(let id): w.attribute(Self.type(OVS_ACTION_ATTR_RECIRC), host: id)
        case .hash(let algorithm, let basis):
            guard algorithm == .l4 else { throw DpifError(EINVAL_, "hash algorithm \(algorithm.rawValue) in the kernel") }
            w.attribute(Self.type(OVS_ACTION_ATTR_HASH)) {
                $0.host(algorithm.rawValue)
                $0.host(basis)
            }
        case .sample(let probability, let actions):
            w.nest(Self.type(OVS_ACTION_ATTR_SAMPLE)) {
                $0.attribute(Int(OVS_SAMPLE_ATTR_PROBABILITY.rawValue), host: probability)
                list(Int(OVS_SAMPLE_ATTR_ACTIONS.rawValue), actions, &$0)
            }
        case .ct(let ct): ConntrackActionCodec.write(ct, to: &w)
        case .ctClear: w.flag(Self.type(OVS_ACTION_ATTR_CT_CLEAR))
        case .truncate(let length): w.attribute(Self.type(OVS_ACTION_ATTR_TRUNC), host: length)
        case .pushEthernet(let source, let destination):
            var key = FlowKey()
            key.ethSrc = source
            key.ethDst = destination
            w.attribute(Self.type(OVS_ACTION_ATTR_PUSH_ETH)) { AttributeLayout.ethernet.write(key, isMask: false, to: &$0) }
        case .popEthernet: w.flag(Self.type(OVS_ACTION_ATTR_POP_ETH))
        case .clone(let actions): list(Self.type(OVS_ACTION_ATTR_CLONE), actions, &w)
        case .meter(let id): w.attribute(Self.type(OVS_ACTION_ATTR_METER), host: id)
        case .checkPacketLength(let length, let greater, let less):
            w.nest(Self.type(OVS_ACTION_ATTR_CHECK_PKT_LEN)) {
                $0.attribute(Int(OVS_CHECK_PKT_LEN_ATTR_PKT_LEN.rawValue), host: length)
                list(Int(OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER.rawValue), greater, &$0)
                list(Int(OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL.rawValue), less, &$0)
            }
        case .pushNSH(let header): writeNSH(header, &w)
        case .popNSH: w.flag(Self.type(OVS_ACTION_ATTR_POP_NSH))
        case .tunnelPop, .tunnelPush, .drop, .lbOutput:
            throw DpifError(EINVAL_, "action \(DpAction.text([action])) in the kernel")
        }
        if let problem { throw problem }
    }

    private func writeNSH(_ header: DpNSH, _ w: inout NetlinkMessageWriter) {
        w.nest(Self.type(OVS_ACTION_ATTR_PUSH_NSH)) {
            $0.attribute(Int(OVS_NSH_KEY_ATTR_BASE.rawValue)) {
                $0.raw([header.flags, header.ttl, header.mdType, header.nextProtocol])
                $0.network(header.path)
            }
            let type = header.mdType == 1 ? OVS_NSH_KEY_ATTR_MD1 : OVS_NSH_KEY_ATTR_MD2
            if header.mdType == 1 || !header.context.isEmpty { $0.attribute(Int(type.rawValue), header.context) }
        }
    }

    // MARK: Reading

    /// Reads a list. Throws EINVAL for attributes that are malformed, and for actions that are not known here.
    func read(_ attributes: AttributeList, depth: Int = 0) throws(DpifError) -> [DpAction] {
        guard depth < Self.maxDepth else { throw DpifError(EINVAL_, "actions nested more than \(Self.maxDepth) deep") }
        var out: [DpAction] = []
        for attribute in attributes { out.append(try read(attribute, depth: depth)) }
        return out
    }

    private func read(_ a: Attribute, depth: Int) throws(DpifError) -> DpAction {
        func bad() -> DpifError { DpifError(EINVAL_, "action attribute \(a.type) of \(a.payload.count) bytes") }
        func u32(_ offset: Int = 0) throws(DpifError) -> UInt32 {
            guard let value = UInt32(host: a.payload.dropFirst(offset)) else { throw bad() }
            return value
        }
        func be16(_ offset: Int) throws(DpifError) -> UInt16 {
            guard let value = UInt16(host: a.payload.dropFirst(offset)) else { throw bad() }
            return UInt16(bigEndian: value)
        }
        func actions(_ list: Attribute?) throws(DpifError) -> [DpAction] {
            guard let list else { return [] }
            return try read(list.nested(), depth: depth + 1)
        }
        switch a.type {
        case Self.type(OVS_ACTION_ATTR_OUTPUT): return .output(try u32())
        case Self.type(OVS_ACTION_ATTR_USERSPACE):
            guard let data = try a.nested()[Int(OVS_USERSPACE_ATTR_USERDATA.rawValue)], let cookie = UserspaceCookie.action(data.payload)
            else { throw bad() }
            return .userspace(cookie)
        case Self.type(OVS_ACTION_ATTR_SET): return .set(try SetCodec(tunnelOptions: tunnelOptions).read(a.nested(), isMasked: false))
        case Self.type(OVS_ACTION_ATTR_SET_MASKED): return .set(try SetCodec(tunnelOptions: tunnelOptions).read(a.nested(), isMasked: true))
        case Self.type(OVS_ACTION_ATTR_PUSH_VLAN): return .pushVLAN(tpid: try be16(0), tci: try be16(2) & ~0x1000)
        case Self.type(OVS_ACTION_ATTR_POP_VLAN): return .popVLAN
        case Self.type(OVS_ACTION_ATTR_PUSH_MPLS): return .pushMPLS(lse: UInt32(bigEndian: try u32()), ethType: try be16(4))
        case Self.type(OVS_ACTION_ATTR_POP_MPLS): return .popMPLS(ethType: try be16(0))
        case Self.type(OVS_ACTION_ATTR_ADD_MPLS):
            guard try be16(6) == 0 else { throw bad() }
            return .addMPLS(lse: UInt32(bigEndian: try u32()), ethType: try be16(4))
        case Self.type(OVS_ACTION_ATTR_RECIRC): return .recirc(try u32())
        case Self.type(OVS_ACTION_ATTR_HASH):
            guard let algorithm = HashAlgorithm(rawValue: try u32()) else { throw bad() }
            return .hash(algorithm: algorithm, basis: try u32(4))
        case Self.type(OVS_ACTION_ATTR_SAMPLE):
            let inside = try a.nested()
            guard let probability = inside[Int(OVS_SAMPLE_ATTR_PROBABILITY.rawValue)]?.host(UInt32.self) else { throw bad() }
            return .sample(probability: probability, try actions(inside[Int(OVS_SAMPLE_ATTR_ACTIONS.rawValue)]))
        case Self.type(OVS_ACTION_ATTR_CT): return .ct(try ConntrackActionCodec.read(a.nested()))
        case Self.type(OVS_ACTION_ATTR_CT_CLEAR): return .ctClear
        case Self.type(OVS_ACTION_ATTR_TRUNC): return .truncate(try u32())
        case Self.type(OVS_ACTION_ATTR_PUSH_ETH):
            var key = FlowKey()
            guard AttributeLayout.ethernet.read(a.payload, isMask: false, into: &key) else { throw bad() }
            return .pushEthernet(source: key.ethSrc, destination: key.ethDst)
        case Self.type(OVS_ACTION_ATTR_POP_ETH): return .popEthernet
        case Self.type(OVS_ACTION_ATTR_CLONE): return .clone(try actions(a))
        case Self.type(OVS_ACTION_ATTR_METER): return .meter(try u32())
        case Self.type(OVS_ACTION_ATTR_CHECK_PKT_LEN):
            let inside = try a.nested()
            guard let length = inside[Int(OVS_CHECK_PKT_LEN_ATTR_PKT_LEN.rawValue)]?.host(UInt16.self) else { throw bad() }
            return .checkPacketLength(
                length, greater: try actions(inside[Int(OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER.rawValue)]),
                lessOrEqual: try actions(inside[Int(OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL.rawValue)]))
        case Self.type(OVS_ACTION_ATTR_PUSH_NSH): return .pushNSH(try readNSH(a.nested()))
        case Self.type(OVS_ACTION_ATTR_POP_NSH): return .popNSH
        default: throw DpifError(EINVAL_, "action attribute \(a.type), which is not known")
        }
    }

    private func readNSH(_ attributes: AttributeList) throws(DpifError) -> DpNSH {
        guard let base = attributes[Int(OVS_NSH_KEY_ATTR_BASE.rawValue)]?.payload, base.count >= 8,
            let path = UInt32(host: base.dropFirst(4))
        else { throw DpifError(EINVAL_, "push_nsh without a header") }
        let bytes = Array(base)
        var header = DpNSH()
        (header.flags, header.ttl, header.mdType, header.nextProtocol) = (bytes[0], bytes[1], bytes[2], bytes[3])
        header.path = UInt32(bigEndian: path)
        let type = header.mdType == 1 ? OVS_NSH_KEY_ATTR_MD1 : OVS_NSH_KEY_ATTR_MD2
        header.context = attributes[Int(type.rawValue)].map { Array($0.payload) } ?? []
        return header
    }
}

// Actions that count down, push, pop and wrap headers.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    func decrementTTL(_ action: DecTTLAction) {
        wildcards.setExact(Location.nwProto)
        wildcards.setExact(Location.nwTTL)
        guard flow.isIP else { return }
        if flow.nwTTL > 1 {
            flow.nwTTL -= 1
            return
        }
        endsList = true
        for id in action.controllers { sendToController(expiredTTL(id)) }
        report(.warning, "IPv\(flow.ethType == EtherType.ipv4 ? 4 : 6) decrement TTL exception")
    }

    private func expiredTTL(_ controller: UInt16) -> ControllerAction {
        var c = ControllerAction()
        c.reason = .invalidTTL
        c.controllerID = controller
        return c
    }

    func decrementMPLSTTL() {
        if EtherType.isMPLS(flow.ethType) {
            wildcards.setExact(Location.mplsTTL)
            let ttl = flow[Location.mplsTTL]
            if ttl > 1 {
                flow[Location.mplsTTL] = ttl - 1
                return
            }
            sendToController(expiredTTL(0))
        }
        // What lost its labels on the way here ends, too.
        endsList = true
        report(.warning, "MPLS decrement TTL exception")
    }

    func decrementNSHTTL() {
        if flow.ethType == EtherType.nsh {
            wildcards.setExact(Location.nshTTL)
            if flow[Location.nshTTL] > 1 {
                flow[Location.nshTTL] -= 1
                return
            }
            sendToController(expiredTTL(0))
        }
        endsList = true
        report(.warning, "NSH decrement TTL exception")
    }

    func pushMPLS(_ type: UInt16) {
        let n = flow.mplsCount
        consultLabels()
        if n == 0 {
            commit()
        } else if n >= maxMPLSLabels {
            reportMPLS("MPLS push action can't be performed as it would have more")
            error = .tooManyMPLSLabels
            return
        }
        if flow.isIP {
            wildcards.bits.nwTTL = 0xff
            wildcards.bits.nwTOS |= 0xfc
        }
        for i in 0..<n { wildcards.bits.setMPLSLSE(i, .max) }
        flow.pushMPLS(ethType: type, count: n)
    }

    /// Tells of too many labels, of which only a packet at hand is worth it.
    private func reportMPLS(_ problem: String) {
        guard packetLength != nil else { return }
        report(.error, "dropping packet on which an \(problem) MPLS LSEs than the \(maxMPLSLabels) supported.")
    }

    /// Finding the bottom of the stack looks at each label up to it.
    private func consultLabels() {
        guard EtherType.isMPLS(flow.ethType) else { return }
        for i in 0..<maxMPLSLabels {
            wildcards.bits.setMPLSLSE(i, wildcards.bits.mplsLSE(i) | 0x100)
            if flow.mplsLSE(i) & 0x100 != 0 { break }
        }
    }

    func popMPLS(_ type: UInt16) {
        guard let count = popLabel(type), count > 0 else { return }
        if !EtherType.isMPLS(type) { wasMPLS = true }
    }

    /// Takes the outermost label off.
    /// - Returns: how many there were; nil where there are more than can be seen.
    private func popLabel(_ type: UInt16) -> Int? {
        let n = flow.mplsCount
        consultLabels()
        guard n > 0 else { return 0 }
        if n >= maxMPLSLabels, flow.mplsLSE(maxMPLSLabels - 1) & 0x100 == 0 {
            reportMPLS("MPLS pop action can't be performed as it has more")
            error = .tooManyMPLSLabels
            return nil
        }
        for i in 1..<n { wildcards.bits.setMPLSLSE(i, .max) }
        flow.popMPLS(ethType: type, count: n)
        return n
    }

    // MARK: Headers around the packet

    /// ONF's name space of packet types, that of Ethernet types.
    private static func packetType(_ type: UInt16) -> UInt32 { 1 << 16 | UInt32(type) }

    private func refuse(_ problem: @autoclosure () -> String) {
        report(.action, "Dropping packet\(problem())")
        error = .unsupportedPacketType
    }

    private var packetTypeText: String { "(\(flow.packetType >> 16),0x\(String(flow.packetType & 0xffff, radix: 16)))" }

    func encapsulate(_ encap: EncapAction) {
        commit()
        switch encap.packetType {
        case 0:
            guard flow.packetType != 0 else {
                refuse(" as encap(ethernet) is not supported for packet type ethernet.")
                return
            }
            flow.ethType = UInt16(truncatingIfNeeded: flow.packetType)
            flow.packetType = 0
            flow.ethSrc = 0
            flow.ethDst = 0
            encapsulation.pending = .pushEthernet
        case Self.packetType(EtherType.nsh): encapsulateInNSH(encap)
        default: encapsulateInMPLS(UInt16(truncatingIfNeeded: encap.packetType))
        }
    }

    /// RFC 8300.
    private func encapsulateInNSH(_ encap: EncapAction) {
        var header = DpNSH()
        switch flow.packetType {
        case 0: header.nextProtocol = 3
        case Self.packetType(EtherType.ipv4): header.nextProtocol = 1
        case Self.packetType(EtherType.ipv6): header.nextProtocol = 2
        case Self.packetType(EtherType.nsh): header.nextProtocol = 4
        default:
            refuse(" as encap(nsh) is not supported for packet type \(packetTypeText)")
            return
        }
        for property in encap.properties {
            if case .nshMDType(let type) = property.kind { header.mdType = type }
            if case .nshTLV(let tlvClass, let type, let value) = property.kind {
                header.context += [UInt8(tlvClass >> 8), UInt8(tlvClass & 0xff), type, UInt8(truncatingIfNeeded: value.count)] + value
                while header.context.count % 4 != 0 { header.context.append(0) }
            }
        }
        if header.mdType == 1 { header.context = [UInt8](repeating: 0, count: 16) }
        flow.clearUpperLayers()
        flow.clearTags()
        flow.packetType = Self.packetType(EtherType.nsh)
        flow.ethType = EtherType.nsh
        flow.ethSrc = 0
        flow.ethDst = 0
        flow[Location.nshTTL] = 63
        flow[Location.nshSI] = 255
        flow[Location.nshMDType] = UInt128(header.mdType)
        flow[Location.nshNP] = UInt128(header.nextProtocol)
        encapsulation.pending = .pushNSH(header)
    }

    /// Puts a label before the packet, which need not be Ethernet; an Ethernet header becomes part of what is carried.
    private func encapsulateInMPLS(_ type: UInt16) {
        var count = 0
        if flow.packetType != 0 {
            count = flow.mplsCount
            consultLabels()
        }
        guard count < maxMPLSLabels else {
            reportMPLS("encap MPLS action can't be performed as it would have more")
            error = .tooManyMPLSLabels
            return
        }
        if count > 0 {
            for i in 0..<count { wildcards.bits.setMPLSLSE(i, .max) }
            flow.pushMPLS(ethType: type, count: count)
        } else {
            flow.clearUpperLayers()
            flow.clearTags()
            for i in 1..<maxMPLSLabels { flow.setMPLSLSE(i, 0) }
            flow.setMPLSLSE(0, 0x100 | 64)
        }
        flow.packetType = Self.packetType(type)
        flow.ethType = type
        flow.ethSrc = 0
        flow.ethDst = 0
        encapsulation.pending = .addMPLS
        if !capabilities.addMPLS { slowPath.insert(.action) }
    }

    /// - Parameter type: what the packet is without its outermost header, where that does not say so itself.
    func decapsulate(_ type: UInt32) {
        commit()
        switch flow.packetType {
        case 0:
            guard flow.vlanTCI & 0x1000 == 0 else {
                refuse(", cannot decap Ethernet if VLAN is present.")
                return
            }
            flow.packetType = Self.packetType(flow.ethType)
            flow.ethSrc = 0
            flow.ethDst = 0
            encapsulation.pending = .popEthernet
        case Self.packetType(EtherType.nsh):
            switch flow[Location.nshNP] {
            case 1: flow.packetType = Self.packetType(EtherType.ipv4)
            case 2: flow.packetType = Self.packetType(EtherType.ipv6)
            case 3: flow.packetType = 0
            case 4: flow.packetType = Self.packetType(EtherType.nsh)
            default:
                refuse(" as NSH next protocol \(flow[Location.nshNP]) is not supported")
                return
            }
            wildcards.setExact(Location.nshNP)
            encapsulation.pending = .popNSH
            // What was carried is known when the packet comes back.
            isFreezing = true
        case Self.packetType(EtherType.mpls), Self.packetType(EtherType.mplsMulticast):
            guard let count = popLabel(type == 0 ? EtherType.transparentEthernet : UInt16(truncatingIfNeeded: type)) else { return }
            flow.packetType = type
            encapsulation.pending = .popMPLS
            isFreezing = count == 1
            if !capabilities.addMPLS { slowPath.insert(.action) }
        default: refuse(" as the decap() does not support packet type \(packetTypeText)")
        }
    }
}

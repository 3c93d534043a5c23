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
            reportMPLS("push action can't be performed as it would have more")
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
        report(.error, "dropping packet on which an MPLS \(problem) MPLS LSEs than the \(maxMPLSLabels) supported.")
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
        let n = flow.mplsCount
        guard n > 0 || EtherType.isMPLS(flow.ethType) else { return }
        consultLabels()
        guard n > 0 else { return }
        if n >= maxMPLSLabels, flow.mplsLSE(maxMPLSLabels - 1) & 0x100 == 0 {
            reportMPLS("pop action can't be performed as it has more")
            error = .tooManyMPLSLabels
            return
        }
        for i in 1..<max(n, 1) where i < maxMPLSLabels { wildcards.bits.setMPLSLSE(i, .max) }
        flow.popMPLS(ethType: type, count: n)
        if !EtherType.isMPLS(type) { wasMPLS = true }
    }

    func encapsulate(_ encap: EncapAction) {
        switch encap.packetType {
        case 0:
            guard flow.packetType != 0 else {
                report(.warning, "encap(ethernet) ignored: the packet is Ethernet already")
                return
            }
            commit()
            flow.ethType = UInt16(truncatingIfNeeded: flow.packetType)
            flow.packetType = 0
            flow.ethSrc = 0
            flow.ethDst = 0
            pendingEncapsulation = .pushEthernet
        case 1 << 16 | UInt32(EtherType.nsh):
            commit()
            var header = DpNSH()
            switch flow.packetType {
            case 0: header.nextProtocol = 3
            case 1 << 16 | 0x0800: header.nextProtocol = 1
            case 1 << 16 | 0x86dd: header.nextProtocol = 2
            default: header.nextProtocol = 4
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
            flow.packetType = 1 << 16 | UInt32(EtherType.nsh)
            flow.ethType = EtherType.nsh
            flow.ethSrc = 0
            flow.ethDst = 0
            flow[Location.nshTTL] = 63
            flow[Location.nshSI] = 255
            flow[Location.nshMDType] = UInt128(header.mdType)
            flow[Location.nshNP] = UInt128(header.nextProtocol)
            pendingEncapsulation = .pushNSH(header)
        default: encapsulateInMPLS(UInt16(truncatingIfNeeded: encap.packetType))
        }
    }

    /// Puts a label before the packet, which need not be Ethernet; an Ethernet header becomes part of what is carried.
    private func encapsulateInMPLS(_ type: UInt16) {
        commit()
        let count = flow.packetType != 0 ? flow.mplsCount : 0
        guard count < maxMPLSLabels else {
            error = .tooManyMPLSLabels
            return
        }
        for i in stride(from: count, to: 0, by: -1) { flow.setMPLSLSE(i, flow.mplsLSE(i - 1)) }
        if count == 0 {
            flow.clearUpperLayers()
            flow.clearTags()
            for i in 1..<maxMPLSLabels { flow.setMPLSLSE(i, 0) }
        }
        flow.setMPLSLSE(0, (count == 0 ? 0x100 : 0) | 64)
        flow.packetType = 1 << 16 | UInt32(type)
        flow.ethType = type
        flow.ethSrc = 0
        flow.ethDst = 0
        pendingEncapsulation = .addMPLS
    }

    func decapsulate(_ type: UInt32) {
        if flow.packetType == 0 {
            guard flow.vlanTCI & 0x1000 == 0 else {
                report(.warning, "Cannot decap, VLAN tag present")
                return
            }
            commit()
            flow.packetType = 1 << 16 | UInt32(flow.ethType)
            flow.ethSrc = 0
            flow.ethDst = 0
            pendingEncapsulation = .popEthernet
        } else if flow.packetType == 1 << 16 | UInt32(EtherType.nsh) {
            commit()
            wildcards.setExact(Location.nshNP)
            switch flow[Location.nshNP] {
            case 1: flow.packetType = 1 << 16 | 0x0800
            case 2: flow.packetType = 1 << 16 | 0x86dd
            case 3: flow.packetType = 0
            case 4: flow.packetType = 1 << 16 | UInt32(EtherType.nsh)
            default:
                error = .unsupportedPacketType
                return
            }
            pendingEncapsulation = .popNSH
            // What was carried is known when the packet comes back.
            isFreezing = true
        } else {
            error = .unsupportedPacketType
        }
    }
}

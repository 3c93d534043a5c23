// Which messages there are in each version of OpenFlow, and how long their bodies are: what has no form is of an unknown type, and what
// has the wrong length is not looked into. Messages that only switches send have forms, too: which error a controller gets that sends one
// depends on its length.

/// The form of one kind of message. Lengths are of the body, behind all that says what the message is.
struct MessageForm {
    /// Nil: only switches send it.
    let kind: OFKind?
    /// The length without any of what it has a varying number of.
    let least: Int
    /// What the rest is a multiple of; 0: there is none.
    let unit: Int

    init(_ kind: OFKind?, _ least: Int, by unit: Int = 0) {
        self.kind = kind
        self.least = least
        self.unit = unit
    }

    func admits(length: Int) -> Bool { unit == 0 ? length == least : length >= least && (length - least) % unit == 0 }

    /// By the header's type; nil: it is of no type of this version. Experimenters' and multipart messages have forms by what they contain.
    static func of(type: UInt8, _ v: OFVersion) -> MessageForm? {
        switch type {
        case 0: Self(.hello, 0, by: 1)
        case 1: Self(.error, 0, by: 1)
        case 2: Self(.echoRequest, 0, by: 1)
        case 3: Self(.echoReply, 0, by: 1)
        case 5: Self(.featuresRequest, 0)
        case 7: Self(.getConfigRequest, 0)
        case 8: Self(nil, 4)
        case 9: Self(.setConfig, 4)
        default: v == .v10 ? of10(type: type) : of11(type: type, v)
        }
    }

    private static func of10(type: UInt8) -> MessageForm? {
        switch type {
        case 6: Self(nil, 24, by: 48)
        case 10: Self(nil, 10, by: 1)
        case 11: Self(nil, 80)
        case 12: Self(nil, 56)
        case 13: Self(.packetOut, 8, by: 1)
        case 14: Self(.flowMod, 64, by: 8)
        case 15: Self(.portMod, 24)
        case 18: Self(.barrierRequest, 0)
        case 19: Self(nil, 0)
        case 20: Self(.queueGetConfigRequest, 4)
        case 21: Self(nil, 8, by: 8)
        default: nil
        }
    }

    private static func of11(type: UInt8, _ v: OFVersion) -> MessageForm? {
        switch type {
        case 6: v >= .v13 ? Self(nil, 24) : Self(nil, 24, by: 64)
        case 10: Self(nil, v == .v12 ? 8 : 16, by: 1)
        case 11: Self(nil, v >= .v15 ? 16 : 40, by: 8)
        case 12: v >= .v14 ? Self(nil, 48, by: 8) : Self(nil, 72)
        case 13: Self(.packetOut, v >= .v15 ? 8 : 16, by: 1)
        case 14: Self(.flowMod, 40, by: 8)
        case 15: Self(.groupMod, v >= .v15 ? 16 : 8, by: 8)
        case 16: v >= .v14 ? Self(.portMod, 24, by: 8) : Self(.portMod, 32)
        case 17: Self(.tableMod, 8, by: v >= .v14 ? 8 : 0)
        case 20: Self(.barrierRequest, 0)
        case 21: Self(nil, 0)
        case 22 where v < .v14: Self(.queueGetConfigRequest, 8)
        case 23 where v < .v14: Self(nil, 8, by: 8)
        case 24 where v >= .v12: Self(.roleRequest, 16)
        case 25 where v >= .v12: Self(nil, 16)
        case 26 where v >= .v13: Self(.getAsyncRequest, 0)
        case 27 where v >= .v13: v == .v13 ? Self(nil, 24) : Self(nil, 0, by: 8)
        case 28 where v >= .v13: v == .v13 ? Self(.setAsync, 24) : Self(.setAsync, 0, by: 8)
        case 29 where v >= .v13: Self(.meterMod, 8, by: 8)
        case 30 where v >= .v14: Self(nil, 16, by: 8)
        case 31 where v >= .v14: Self(nil, 8, by: 8)
        case 32 where v >= .v14: Self(nil, 8, by: 8)
        case 33 where v >= .v14: Self(.bundleControl, 8, by: 8)
        case 34 where v >= .v14: Self(.bundleAdd, 8, by: 1)
        default: nil
        }
    }

    /// Nicira's messages; nil: of no subtype of this version.
    static func nicira(subtype: UInt32, _ v: OFVersion) -> MessageForm? {
        switch subtype {
        case 10: Self(.nxRoleRequest, 4)
        case 11: Self(nil, 4)
        case 12 where v == .v10: Self(.nxSetFlowFormat, 4)
        case 13: Self(.nxFlowMod, 32, by: 8)
        case 14: Self(nil, 40, by: 8)
        case 15: Self(.nxFlowModTableID, 8)
        case 16: Self(.nxSetPacketInFormat, 4)
        case 17: Self(nil, 24, by: 1)
        case 18: Self(.nxFlowAge, 0)
        case 19: Self(.nxSetAsync, 24)
        case 20: Self(.nxSetControllerID, 8)
        case 21 where v <= .v12: Self(.nxFlowMonitorCancel, 4)
        case 22 where v <= .v12, 23 where v <= .v12: Self(nil, 0)
        case 24: Self(.nxTLVTableMod, 8, by: 8)
        case 25: Self(.nxTLVTableRequest, 0)
        case 26: Self(nil, 16, by: 8)
        case 27 where v <= .v13: Self(.nxSetAsync2, 0, by: 8)
        case 28: Self(.nxResume, 0, by: 8)
        case 29: Self(.nxCTFlushZone, 8)
        case 30: Self(nil, 0, by: 8)
        case 31 where v == .v10: Self(.groupMod, 16, by: 8)
        case 32: Self(.nxCTFlush, 8, by: 8)
        default: nil
        }
    }

    /// The Open Networking Foundation's, which OpenFlow 1.4 took over.
    static func foundation(subtype: UInt32, _ v: OFVersion) -> MessageForm? {
        guard v == .v13 else { return nil }
        switch subtype {
        case 2300: return Self(.bundleControl, 8, by: 8)
        case 2301: return Self(.bundleAdd, 8, by: 1)
        default: return nil
        }
    }

    /// Statistics and multipart requests.
    static func request(_ type: UInt16, _ v: OFVersion) -> MessageForm? {
        switch type {
        case 0: Self(.descStats, 0)
        case 1: v == .v10 ? Self(.flowStats, 44) : Self(.flowStats, 32, by: 8)
        case 2: v == .v10 ? Self(.aggregateStats, 44) : Self(.aggregateStats, 32, by: 8)
        case 3: Self(.tableStats, 0)
        case 4: Self(.portStats, 8)
        case 5: Self(.queueStats, 8)
        case 6 where v >= .v11: Self(.groupStats, 8)
        case 7 where v >= .v11: Self(.groupDesc, v >= .v15 ? 8 : 0)
        case 8 where v >= .v12: Self(.groupFeatures, 0)
        case 9 where v >= .v13: Self(.meterStats, 8)
        case 10 where v >= .v13: Self(.meterConfig, 8)
        case 11 where v >= .v13: Self(.meterFeatures, 0)
        case 12 where v >= .v13: Self(.tableFeatures, 0, by: 8)
        case 13: Self(.portDesc, v >= .v15 ? 8 : 0)
        case 14 where v >= .v14: Self(.tableDesc, 0)
        case 15 where v >= .v14: Self(.queueDesc, 8)
        case 16 where v >= .v14: Self(.flowMonitor, 0, by: 8)
        default: nil
        }
    }

    /// What answers them.
    static func reply(_ type: UInt16, _ v: OFVersion) -> MessageForm? {
        switch type {
        case 0: Self(nil, 1056)
        case 1: Self(nil, 0, by: 1)
        case 2: v >= .v15 ? Self(nil, 0, by: 1) : Self(nil, 24)
        case 3: Self(nil, 0, by: v == .v10 ? 64 : v == .v11 ? 88 : v == .v12 ? 128 : 24)
        case 4: Self(nil, 0, by: v <= .v12 ? 104 : v == .v13 ? 112 : 8)
        case 5: Self(nil, 0, by: v <= .v12 ? 32 : v == .v13 ? 40 : 8)
        case 6 where v >= .v11, 7 where v >= .v11: Self(nil, 0, by: 8)
        case 8 where v >= .v12: Self(nil, 40)
        case 9 where v >= .v13, 10 where v >= .v13: Self(nil, 0, by: 8)
        case 11 where v >= .v13: Self(nil, 16)
        case 12 where v >= .v13: Self(nil, 64, by: 8)
        case 13: Self(nil, 0, by: v == .v10 ? 48 : v <= .v13 ? 64 : 8)
        case 14 where v >= .v14: Self(nil, 8, by: 8)
        case 15 where v >= .v14, 16 where v >= .v14: Self(nil, 0, by: 8)
        default: nil
        }
    }

    static func niciraRequest(_ subtype: UInt32, _ v: OFVersion) -> MessageForm? {
        switch subtype {
        case 0 where v == .v10: Self(.nxFlowStats, 8, by: 8)
        case 1 where v == .v10: Self(.nxAggregateStats, 8, by: 8)
        case 2 where v <= .v12: Self(.nxFlowMonitor, 0, by: 8)
        case 3: Self(.nxIPFIXBridge, 0)
        case 4: Self(.nxIPFIXFlow, 0)
        case 7 where v == .v10: Self(.groupStats, 8)
        case 8 where v == .v10: Self(.groupDesc, 8)
        case 9 where v <= .v11: Self(.groupFeatures, 0)
        default: nil
        }
    }

    static func niciraReply(_ subtype: UInt32, _ v: OFVersion) -> MessageForm? {
        switch subtype {
        case 0 where v == .v10: Self(nil, 0, by: 1)
        case 1 where v == .v10: Self(nil, 24)
        case 2 where v <= .v12: Self(nil, 0, by: 8)
        case 3: Self(nil, 88)
        case 4: Self(nil, 0, by: 88)
        case 7 where v == .v10, 8 where v == .v10: Self(nil, 0, by: 8)
        case 9 where v <= .v11: Self(nil, 40)
        default: nil
        }
    }
}

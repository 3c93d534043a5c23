// OpenFlow messages of every kind and version, matches and actions.

import Flow
import OpenFlow

/// A TLV table with a few options, so that both mapped and unknown ones are met.
private let options: TunnelOptionMap = {
    var map = TunnelOptionMap()
    _ = map.add(index: 0, optionClass: 0xffff, optionType: 1, length: 4)
    _ = map.add(index: 1, optionClass: 0, optionType: 0, length: 124)
    _ = map.add(index: 63, optionClass: 1, optionType: 2, length: 8)
    return map
}()

/// One message: taken apart as its kind says, then written again and printed.
@Sendable func fuzzOpenFlow(_ input: [UInt8]) {
    var bytes = input
    if bytes.count >= 8 {
        bytes = Array(bytes.prefix(0xffff))
        bytes[2] = UInt8(bytes.count >> 8)
        bytes[3] = UInt8(bytes.count & 0xff)
    }
    _ = OFHeader(input)
    _ = OFSimple.helloVersions(input)
    guard let message = try? OFMessage(bytes) else { return }
    decode(message, depth: 0)
}

private func decode(_ m: OFMessage, depth: Int) {
    let v = m.version
    for map in [nil, options] {
        switch m.kind {
        case .hello, .error, .echoReply, .featuresRequest, .barrierRequest, .getConfigRequest: break
        case .echoRequest: _ = OFSimple.echoReply(to: m)
        case .flowMod, .nxFlowMod:
            for tableID in [false, true] {
                guard let f = try? FlowMod.decode(m, tableID: tableID, tunnelOptions: map) else { continue }
                exercise(f.match, f.actions, v, map)
            }
        case .packetOut:
            guard let p = try? PacketOut.decode(m, tunnelOptions: map) else { break }
            exercise(Match(), p.actions, v, map)
        case .groupMod:
            guard let g = try? GroupMod.decode(m, tunnelOptions: map) else { break }
            for b in g.buckets { exercise(Match(), b.actions, v, map) }
        case .nxResume:
            guard let resume = try? Resume.decode(m, tunnelOptions: map) else { break }
            let context = ActionContext(version: v, tunnelOptions: map)
            if let rest = try? Continuation(resume.continuation, context: context) { _ = rest.encode(version: v) }
        case .nxCTFlush, .nxCTFlushZone: _ = try? ConntrackFlush.decode(m)
        case .flowStats, .aggregateStats, .nxFlowStats, .nxAggregateStats:
            guard let r = try? FlowStatsRequest.decode(m, tunnelOptions: map) else { break }
            exercise(r.match, [], v, map)
        case .flowMonitor, .nxFlowMonitor, .onfFlowMonitor:
            var r = m.body
            while !r.isEmpty, let request = try? FlowMonitorRequest.decode(&r, kind: m.kind, tunnelOptions: map) {
                exercise(request.match, [], v, map)
            }
        case .tableFeatures:
            var r = m.body
            while !r.isEmpty, (try? TableFeaturesRequest.decode(&r, version: v)) != nil {}
        case .setConfig: _ = try? SwitchConfig.decode(m)
        case .portMod: _ = try? PortMod.decode(m)
        case .tableMod: _ = try? TableConfig.decode(m)
        case .meterMod: _ = try? MeterMod.decode(m)
        case .meterStats, .meterConfig: _ = try? MeterMod.decodeRequest(m)
        case .roleRequest, .nxRoleRequest: _ = try? RoleRequest.decode(m)
        case .setAsync, .nxSetAsync, .nxSetAsync2:
            var async = AsyncConfig()
            try? async.apply(m)
            _ = async.reply(version: v, xid: m.xid)
        case .portStats, .portDesc: _ = try? PortStats.decodeRequest(m)
        case .queueStats: _ = try? QueueStats.decodeRequest(m)
        case .queueGetConfigRequest, .queueDesc: _ = try? QueueDescription.decodeRequest(m)
        case .bundleControl: _ = (try? BundleControl.decode(m))?.encode(version: v, xid: m.xid)
        case .bundleAdd:
            guard let add = try? BundleAdd.decode(m), depth < 4 else { break }
            decode(add.message, depth: depth + 1)
        default:
            // The rest is read where it is handled, by readers that throw.
            var body = m.body
            while (try? body.u8()) != nil {}
        }
    }
    _ = OFSimple.error(.brcBadLen, version: v, xid: m.xid, about: m.bytes)
}

/// What is done with a match and actions that came in: checked, written in every version, printed and parsed again.
private func exercise(_ match: Match, _ actions: [OFAction], _ v: OFVersion, _ map: TunnelOptionMap?) {
    var checker = ActionChecker(version: v, match: match)
    var checked = actions
    try? checker.check(&checked)
    for version in OFVersion.allCases {
        var w = WireWriter()
        if version == .v10 { MatchCodec.encode10(match, to: &w) }
        if version >= .v11 { MatchCodec.encode11(match, version: version, to: &w, tunnelOptions: map) }
        ActionCodec.encodeFlowActions(actions, version: version, to: &w)
    }
    var w = WireWriter()
    _ = MatchCodec.encodeNXM(match, to: &w, tunnelOptions: map)
    _ = MatchFormatter(tunnelOptions: map).format(match, priority: 3)
    let text = ActionFormatter().format(actions)
    _ = try? OFAction.parse(text, ports: { _ in nil })
}

/// A byte that chooses version and form, then match entries; or actions, as in a flow.
@Sendable func fuzzOXM(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let version = OFVersion.allCases[Int(first) % OFVersion.allCases.count]
    let bytes = Array(input.dropFirst())
    for map in [nil, options] {
        var match = Match()
        for loose in [false, true] {
            var r = WireReader(bytes)
            var decoded = Match()
            let cookie = try? MatchCodec.decodeNXM(
                &r, into: &decoded, length: bytes.count / 8 * 8, allowCookie: true, loose: loose, tunnelOptions: map)
            if cookie != nil { match = decoded }
            r = WireReader(bytes)
            decoded = Match()
            if (try? MatchCodec.decode11(&r, into: &decoded, tunnelOptions: map, ofPipeline: loose)) != nil { match = decoded }
        }
        exercise(match, [], version, map)
        var r = WireReader(bytes)
        if let m = try? MatchCodec.decode10(&r) { exercise(m, [], .v10, map) }
        let context = ActionContext(version: version, tunnelOptions: map)
        r = WireReader(bytes)
        if let actions = try? ActionCodec.decodeFlowActions(&r, context) { exercise(match, actions, version, map) }
        r = WireReader(bytes)
        if let actions = try? ActionCodec.decodeActionList(&r, length: bytes.count, context) {
            exercise(match, actions, version, map)
        }
    }
}

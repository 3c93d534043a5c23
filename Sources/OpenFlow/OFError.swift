// Every OpenFlow error that the switch can send, and what each is on the wire of each version: standard errors, and
// the experimenter errors of Nicira and the Open Networking Foundation. `ovs-ofctl print-error` shows the same table.

/// An OpenFlow error. Cases are named after the standard's constants: OFPBMC_BAD_FIELD is `bmcBadField`.
public enum OFError: UInt8, Error, CaseIterable, Hashable, Sendable {
    case hfcEperm, hfcIncompatible
    case brcBadLen, brcBadPacket, brcBadPort, brcBadStat, brcBadSubtype, brcBadTableId, brcBadType, brcBadVendor
    case brcBadVersion, brcBufferEmpty, brcBufferUnknown, brcEperm, brcIsSecondary, brcMultipartBadSched
    case brcMultipartBufferOverflow, brcMultipartReplyTimeout, brcMultipartRequestTimeout, brcPipelineFieldsOnly
    case brcUnknown
    case bacBadArgument, bacBadLen, bacBadMeter, bacBadOutGroup, bacBadOutPort, bacBadQueue, bacBadSetArgument
    case bacBadSetLen, bacBadSetMask, bacBadSetType, bacBadTag, bacBadType, bacBadVendor, bacBadVendorType
    case bacEperm, bacMatchInconsistent, bacTooMany, bacUnsupportedOrder
    case bicBadExperimenter, bicBadExpType, bicBadLen, bicBadTableId, bicDupInst, bicEperm, bicUnknownInst
    case bicUnsupInst, bicUnsupMetadata, bicUnsupMetadataMask
    case bmcBadDlAddrMask, bmcBadField, bmcBadLen, bmcBadMask, bmcBadNwAddrMask, bmcBadPrereq, bmcBadTag
    case bmcBadType, bmcBadValue, bmcBadWildcards, bmcDupField, bmcEperm
    case fmfcBadCommand, fmfcBadEmergTimeout, fmfcBadFlags, fmfcBadPriority, fmfcBadTableId, fmfcBadTimeout
    case fmfcCantSync, fmfcEperm, fmfcIsSync, fmfcOverlap, fmfcTableFull, fmfcUnknown, fmfcUnsupported
    case nxbacBadConjunction, nxbacBadEdProp, nxbacBadHeaderType, nxbacCtDatapathSupport, nxbacMustBeZero
    case nxbacUnknownEdProp
    case nxbmcCtDatapathSupport
    case nxbrcBadReason, nxbrcFmBadEvent, nxbrcMustBeZero, nxbrcNxmBadType, nxbrcNxmInvalid
    case nxbrcUnencodableError
    case nxfmfcBadTableId, nxfmfcHardware, nxfmfcInvalidTlvField
    case nxqofcQueueError
    case nxrNotSupported, nxrStale
    case nxstNotConfigured
    case nxtffcDupTable
    case nxttmfcAlreadyMapped, nxttmfcBadCommand, nxttmfcBadFieldIdx, nxttmfcBadOptLen, nxttmfcDupEntry
    case nxttmfcInvalidTlvDel, nxttmfcTableFull
    case acfcEperm, acfcInvalid, acfcUnsupported
    case bfcBadFlags, bfcBadId, bfcBadType, bfcBadVersion, bfcBundleClosed, bfcBundleExist, bfcBundleInProgress
    case bfcEperm, bfcMsgBadLen, bfcMsgBadXid, bfcMsgConflict, bfcMsgFailed, bfcMsgTooMany, bfcMsgUnsup
    case bfcOutOfBundles, bfcSchedFuture, bfcSchedNotSupported, bfcSchedPast, bfcTimeout, bfcUnknown
    case bpcBadExperimenter, bpcBadExpType, bpcBadExpValue, bpcBadLen, bpcBadType, bpcBadValue, bpcDupType
    case bpcEperm, bpcTooMany
    case gmfcBadBucket, gmfcBadCommand, gmfcBadType, gmfcBadWatch, gmfcBucketExists, gmfcChainedGroup
    case gmfcChainingUnsupported, gmfcEperm, gmfcGroupExists, gmfcInvalidGroup, gmfcLoop, gmfcOutOfBuckets
    case gmfcOutOfGroups, gmfcUnknownBucket, gmfcUnknownGroup, gmfcWatchUnsupported, gmfcWeightUnsupported
    case mmfcBadBand, mmfcBadBandValue, mmfcBadBurst, mmfcBadCommand, mmfcBadFlags, mmfcBadRate
    case mmfcInvalidMeter, mmfcMeterExists, mmfcOutOfBands, mmfcOutOfMeters, mmfcUnknown, mmfcUnknownMeter
    case mofcBadCommand, mofcBadFlags, mofcBadOut, mofcBadTableId, mofcInvalidMonitor, mofcMonitorExists
    case mofcUnknown, mofcUnknownMonitor
    case pmfcBadAdvertise, pmfcBadConfig, pmfcBadHwAddr, pmfcBadPort, pmfcEperm
    case qofcBadPort, qofcBadQueue, qofcEperm
    case rrfcBadRole, rrfcIdInUse, rrfcIdUnsup, rrfcStale, rrfcUnsup
    case scfcBadFlags, scfcBadLen, scfcEperm
    case tffcBadCapa, tffcBadCommand, tffcBadFeatures, tffcBadMaxEnt, tffcBadMetadata, tffcBadTable, tffcEperm
    case tffcTooMany
    case tmfcBadConfig, tmfcBadTable, tmfcEperm

    /// The constant's name, as Open vSwitch logs it.
    public var name: String { Row.all[Int(rawValue)].name.description }

    /// What the error is in a version: experimenter (0: none), type and code. Nil: the version has no such error.
    public func code(in version: OFVersion) -> (experimenter: UInt32, type: UInt16, code: UInt16)? {
        let v = version.rawValue
        for span in Row.all[Int(rawValue)].spans where v >= span.from && v <= span.to {
            return (span.experimenter, span.type, span.code)
        }
        return nil
    }
}

extension OFError: CustomStringConvertible {
    public var description: String { name }
}

/// Consecutive versions in which an error has the same numbers.
private struct Span: Sendable {
    let from: UInt8
    let to: UInt8
    let experimenter: UInt32
    let type: UInt16
    let code: UInt16

    init(_ versions: ClosedRange<UInt8>, _ type: UInt16, _ code: UInt16, _ experimenter: UInt32 = 0) {
        from = versions.lowerBound
        to = versions.upperBound
        self.experimenter = experimenter
        self.type = type
        self.code = code
    }
}

private struct Row: Sendable {
    let name: StaticString
    let spans: [Span]

    init(_ name: StaticString, _ spans: Span...) {
        self.name = name
        self.spans = spans
    }

    /// Indexed by `OFError.rawValue`.
    static let all: [Row] = requestRows + otherRows

    private static let requestRows: [Row] = [
        Row("OFPHFC_EPERM", Span(1...6, 0, 1)),
        Row("OFPHFC_INCOMPATIBLE", Span(1...6, 0, 0)),
        Row("OFPBRC_BAD_LEN", Span(1...6, 1, 6)),
        Row("OFPBRC_BAD_PACKET", Span(3...6, 1, 12)),
        Row("OFPBRC_BAD_PORT", Span(1...2, 1, 514, 0x2320), Span(3...6, 1, 11)),
        Row("OFPBRC_BAD_STAT", Span(1...6, 1, 2)),
        Row("OFPBRC_BAD_SUBTYPE", Span(1...6, 1, 4)),
        Row("OFPBRC_BAD_TABLE_ID", Span(1...1, 1, 512, 0x2320), Span(2...6, 1, 9)),
        Row("OFPBRC_BAD_TYPE", Span(1...6, 1, 1)),
        Row("OFPBRC_BAD_VENDOR", Span(1...6, 1, 3)),
        Row("OFPBRC_BAD_VERSION", Span(1...6, 1, 0)),
        Row("OFPBRC_BUFFER_EMPTY", Span(1...6, 1, 7)),
        Row("OFPBRC_BUFFER_UNKNOWN", Span(1...6, 1, 8)),
        Row("OFPBRC_EPERM", Span(1...6, 1, 5)),
        Row("OFPBRC_IS_SECONDARY", Span(1...2, 1, 5), Span(3...6, 1, 10)),
        Row("OFPBRC_MULTIPART_BAD_SCHED", Span(6...6, 1, 16)),
        Row("OFPBRC_MULTIPART_BUFFER_OVERFLOW", Span(4...6, 1, 13)),
        Row("OFPBRC_MULTIPART_REPLY_TIMEOUT", Span(4...4, 2641, 0, 0x4f4e4600), Span(5...6, 1, 15)),
        Row("OFPBRC_MULTIPART_REQUEST_TIMEOUT", Span(4...4, 2640, 0, 0x4f4e4600), Span(5...6, 1, 14)),
        Row("OFPBRC_PIPELINE_FIELDS_ONLY", Span(6...6, 1, 17)),
        Row("OFPBRC_UNKNOWN", Span(6...6, 1, 18)),
        Row("OFPBAC_BAD_ARGUMENT", Span(1...6, 2, 5)),
        Row("OFPBAC_BAD_LEN", Span(1...6, 2, 1)),
        Row("OFPBAC_BAD_METER", Span(6...6, 2, 17)),
        Row("OFPBAC_BAD_OUT_GROUP", Span(1...1, 2, 9, 0x2320), Span(2...6, 2, 9)),
        Row("OFPBAC_BAD_OUT_PORT", Span(1...6, 2, 4)),
        Row("OFPBAC_BAD_QUEUE", Span(1...6, 2, 8)),
        Row("OFPBAC_BAD_SET_ARGUMENT", Span(1...2, 1, 525, 0x2320), Span(3...6, 2, 15)),
        Row("OFPBAC_BAD_SET_LEN", Span(1...2, 1, 524, 0x2320), Span(3...6, 2, 14)),
        Row("OFPBAC_BAD_SET_MASK", Span(4...5, 4250, 0, 0x4f4e4600), Span(6...6, 2, 16)),
        Row("OFPBAC_BAD_SET_TYPE", Span(1...2, 1, 523, 0x2320), Span(3...6, 2, 13)),
        Row("OFPBAC_BAD_TAG", Span(2...6, 2, 12)),
        Row("OFPBAC_BAD_TYPE", Span(1...6, 2, 0)),
        Row("OFPBAC_BAD_VENDOR", Span(1...6, 2, 2)),
        Row("OFPBAC_BAD_VENDOR_TYPE", Span(1...6, 2, 3)),
        Row("OFPBAC_EPERM", Span(1...6, 2, 6)),
        Row("OFPBAC_MATCH_INCONSISTENT", Span(1...1, 1, 522, 0x2320), Span(2...6, 2, 10)),
        Row("OFPBAC_TOO_MANY", Span(1...6, 2, 7)),
        Row("OFPBAC_UNSUPPORTED_ORDER", Span(2...6, 2, 11)),
        Row("OFPBIC_BAD_EXPERIMENTER", Span(2...6, 3, 5)),
        Row("OFPBIC_BAD_EXP_TYPE", Span(2...2, 3, 5), Span(3...6, 3, 6)),
        Row("OFPBIC_BAD_LEN", Span(3...6, 3, 7)),
        Row("OFPBIC_BAD_TABLE_ID", Span(2...6, 3, 2)),
        Row("OFPBIC_DUP_INST", Span(2...2, 3, 256, 0x2320), Span(3...4, 2600, 0, 0x4f4e4600), Span(5...6, 3, 9)),
        Row("OFPBIC_EPERM", Span(3...6, 3, 8)),
        Row("OFPBIC_UNKNOWN_INST", Span(2...6, 3, 0)),
        Row("OFPBIC_UNSUP_INST", Span(1...1, 2, 257, 0x2320), Span(2...6, 3, 1)),
        Row("OFPBIC_UNSUP_METADATA", Span(2...6, 3, 3)),
        Row("OFPBIC_UNSUP_METADATA_MASK", Span(2...6, 3, 4)),
        Row("OFPBMC_BAD_DL_ADDR_MASK", Span(2...6, 4, 3)),
        Row("OFPBMC_BAD_FIELD", Span(1...1, 0, 263, 0x2320), Span(2...6, 4, 6)),
        Row("OFPBMC_BAD_LEN", Span(2...6, 4, 1)),
        Row("OFPBMC_BAD_MASK", Span(1...2, 1, 259, 0x2320), Span(3...6, 4, 8)),
        Row("OFPBMC_BAD_NW_ADDR_MASK", Span(2...6, 4, 4)),
        Row("OFPBMC_BAD_PREREQ", Span(1...2, 1, 260, 0x2320), Span(3...6, 4, 9)),
        Row("OFPBMC_BAD_TAG", Span(2...6, 4, 2)),
        Row("OFPBMC_BAD_TYPE", Span(2...6, 4, 0)),
        Row("OFPBMC_BAD_VALUE", Span(1...1, 1, 258, 0x2320), Span(2...6, 4, 7)),
        Row("OFPBMC_BAD_WILDCARDS", Span(1...1, 1, 262, 0x2320), Span(2...6, 4, 5)),
        Row("OFPBMC_DUP_FIELD", Span(1...2, 1, 261, 0x2320), Span(3...6, 4, 10)),
        Row("OFPBMC_EPERM", Span(3...6, 4, 11)),
        Row("OFPFMFC_BAD_COMMAND", Span(1...1, 3, 4), Span(2...6, 5, 6)),
        Row("OFPFMFC_BAD_EMERG_TIMEOUT", Span(1...1, 3, 3)),
        Row("OFPFMFC_BAD_FLAGS", Span(1...1, 3, 258, 0x2320), Span(2...2, 5, 258, 0x2320), Span(3...6, 5, 7)),
        Row("OFPFMFC_BAD_PRIORITY", Span(4...4, 2360, 0, 0x4f4e4600), Span(5...6, 5, 9)),
        Row("OFPFMFC_BAD_TABLE_ID", Span(2...6, 5, 2)),
        Row("OFPFMFC_BAD_TIMEOUT", Span(2...6, 5, 5)),
        Row("OFPFMFC_CANT_SYNC", Span(5...6, 5, 8)),
        Row("OFPFMFC_EPERM", Span(1...1, 3, 2), Span(2...6, 5, 4)),
        Row("OFPFMFC_IS_SYNC", Span(5...6, 5, 10)),
        Row("OFPFMFC_OVERLAP", Span(1...1, 3, 1), Span(2...6, 5, 3)),
        Row("OFPFMFC_TABLE_FULL", Span(1...1, 3, 0), Span(2...6, 5, 1)),
        Row("OFPFMFC_UNKNOWN", Span(2...6, 5, 0)),
        Row("OFPFMFC_UNSUPPORTED", Span(1...1, 3, 5)),
        Row("NXBAC_BAD_CONJUNCTION", Span(1...2, 2, 526, 0x2320), Span(3...6, 15, 0, 0x2320)),
        Row("NXBAC_BAD_ED_PROP", Span(4...6, 41, 0, 0x2320)),
        Row("NXBAC_BAD_HEADER_TYPE", Span(4...6, 39, 0, 0x2320)),
        Row("NXBAC_CT_DATAPATH_SUPPORT", Span(1...2, 1, 265, 0x2320), Span(3...6, 42, 0, 0x2320)),
        Row("NXBAC_MUST_BE_ZERO", Span(1...2, 2, 256, 0x2320), Span(3...6, 11, 0, 0x2320)),
        Row("NXBAC_UNKNOWN_ED_PROP", Span(4...6, 40, 0, 0x2320)),
        Row("NXBMC_CT_DATAPATH_SUPPORT", Span(1...2, 1, 264, 0x2320), Span(3...6, 43, 0, 0x2320)),
        Row("NXBRC_BAD_REASON", Span(1...2, 1, 516, 0x2320), Span(3...6, 5, 0, 0x2320)),
        Row("NXBRC_FM_BAD_EVENT", Span(1...2, 1, 520, 0x2320), Span(3...6, 9, 0, 0x2320)),
        Row("NXBRC_MUST_BE_ZERO", Span(1...2, 1, 515, 0x2320), Span(3...6, 4, 0, 0x2320)),
        Row("NXBRC_NXM_BAD_TYPE", Span(1...2, 1, 257, 0x2320), Span(3...6, 3, 0, 0x2320)),
        Row("NXBRC_NXM_INVALID", Span(1...2, 1, 256, 0x2320), Span(3...6, 2, 0, 0x2320)),
        Row("NXBRC_UNENCODABLE_ERROR", Span(1...2, 1, 521, 0x2320), Span(3...6, 10, 0, 0x2320)),
        Row("NXFMFC_BAD_TABLE_ID", Span(1...2, 5, 257, 0x2320), Span(3...6, 13, 0, 0x2320)),
        Row("NXFMFC_HARDWARE", Span(1...2, 5, 256, 0x2320), Span(3...6, 12, 0, 0x2320)),
        Row("NXFMFC_INVALID_TLV_FIELD", Span(1...2, 1, 536, 0x2320), Span(3...6, 37, 0, 0x2320)),
    ]

    private static let otherRows: [Row] = [
        Row("NXQOFC_QUEUE_ERROR", Span(5...6, 23, 0, 0x2320)),
        Row("NXR_NOT_SUPPORTED", Span(1...2, 1, 533, 0x2320), Span(3...6, 34, 0, 0x2320)),
        Row("NXR_STALE", Span(1...2, 1, 534, 0x2320), Span(3...6, 35, 0, 0x2320)),
        Row("NXST_NOT_CONFIGURED", Span(1...2, 1, 535, 0x2320), Span(3...6, 36, 0, 0x2320)),
        Row("NXTFFC_DUP_TABLE", Span(4...6, 44, 0, 0x2320)),
        Row("NXTTMFC_ALREADY_MAPPED", Span(1...2, 1, 531, 0x2320), Span(3...6, 20, 0, 0x2320)),
        Row("NXTTMFC_BAD_COMMAND", Span(1...2, 1, 527, 0x2320), Span(3...6, 16, 0, 0x2320)),
        Row("NXTTMFC_BAD_FIELD_IDX", Span(1...2, 1, 529, 0x2320), Span(3...6, 18, 0, 0x2320)),
        Row("NXTTMFC_BAD_OPT_LEN", Span(1...2, 1, 528, 0x2320), Span(3...6, 17, 0, 0x2320)),
        Row("NXTTMFC_DUP_ENTRY", Span(1...2, 1, 532, 0x2320), Span(3...6, 21, 0, 0x2320)),
        Row("NXTTMFC_INVALID_TLV_DEL", Span(1...2, 1, 537, 0x2320), Span(3...6, 38, 0, 0x2320)),
        Row("NXTTMFC_TABLE_FULL", Span(1...2, 1, 530, 0x2320), Span(3...6, 19, 0, 0x2320)),
        Row("OFPACFC_EPERM", Span(4...4, 2372, 0, 0x4f4e4600), Span(5...6, 15, 2)),
        Row("OFPACFC_INVALID", Span(4...4, 2370, 0, 0x4f4e4600), Span(5...6, 15, 0)),
        Row("OFPACFC_UNSUPPORTED", Span(4...4, 2371, 0, 0x4f4e4600), Span(5...6, 15, 1)),
        Row("OFPBFC_BAD_FLAGS", Span(4...4, 2307, 0, 0x4f4e4600), Span(5...6, 17, 7)),
        Row("OFPBFC_BAD_ID", Span(4...4, 2302, 0, 0x4f4e4600), Span(5...6, 17, 2)),
        Row("OFPBFC_BAD_TYPE", Span(4...4, 2306, 0, 0x4f4e4600), Span(5...6, 17, 6)),
        Row("OFPBFC_BAD_VERSION", Span(5...6, 22, 0, 0x2320)),
        Row("OFPBFC_BUNDLE_CLOSED", Span(4...4, 2304, 0, 0x4f4e4600), Span(5...6, 17, 4)),
        Row("OFPBFC_BUNDLE_EXIST", Span(4...4, 2303, 0, 0x4f4e4600), Span(5...6, 17, 3)),
        Row("OFPBFC_BUNDLE_IN_PROGRESS", Span(4...4, 2315, 0, 0x4f4e4600), Span(5...6, 17, 15)),
        Row("OFPBFC_EPERM", Span(4...4, 2301, 0, 0x4f4e4600), Span(5...6, 17, 1)),
        Row("OFPBFC_MSG_BAD_LEN", Span(4...4, 2308, 0, 0x4f4e4600), Span(5...6, 17, 8)),
        Row("OFPBFC_MSG_BAD_XID", Span(4...4, 2309, 0, 0x4f4e4600), Span(5...6, 17, 9)),
        Row("OFPBFC_MSG_CONFLICT", Span(4...4, 2311, 0, 0x4f4e4600), Span(5...6, 17, 11)),
        Row("OFPBFC_MSG_FAILED", Span(4...4, 2313, 0, 0x4f4e4600), Span(5...6, 17, 13)),
        Row("OFPBFC_MSG_TOO_MANY", Span(4...4, 2312, 0, 0x4f4e4600), Span(5...6, 17, 12)),
        Row("OFPBFC_MSG_UNSUP", Span(4...4, 2310, 0, 0x4f4e4600), Span(5...6, 17, 10)),
        Row("OFPBFC_OUT_OF_BUNDLES", Span(4...4, 2305, 0, 0x4f4e4600), Span(5...6, 17, 5)),
        Row("OFPBFC_SCHED_FUTURE", Span(6...6, 17, 17)),
        Row("OFPBFC_SCHED_NOT_SUPPORTED", Span(6...6, 17, 16)),
        Row("OFPBFC_SCHED_PAST", Span(6...6, 17, 18)),
        Row("OFPBFC_TIMEOUT", Span(4...4, 2314, 0, 0x4f4e4600), Span(5...6, 17, 14)),
        Row("OFPBFC_UNKNOWN", Span(4...4, 2300, 0, 0x4f4e4600), Span(5...6, 17, 0)),
        Row(
            "OFPBPC_BAD_EXPERIMENTER",
            Span(1...2, 14, 5, 0x2320), Span(3...3, 30, 0, 0x2320), Span(4...4, 4445, 0, 0x4f4e4600),
            Span(5...6, 14, 5)),
        Row(
            "OFPBPC_BAD_EXP_TYPE",
            Span(1...2, 14, 6, 0x2320), Span(3...3, 31, 0, 0x2320), Span(4...4, 4446, 0, 0x4f4e4600),
            Span(5...6, 14, 6)),
        Row(
            "OFPBPC_BAD_EXP_VALUE",
            Span(1...2, 14, 7, 0x2320), Span(3...3, 32, 0, 0x2320), Span(4...4, 4447, 0, 0x4f4e4600),
            Span(5...6, 14, 7)),
        Row(
            "OFPBPC_BAD_LEN",
            Span(1...2, 13, 3, 0x2320), Span(3...3, 26, 0, 0x2320), Span(4...4, 13, 3), Span(5...6, 14, 1)),
        Row(
            "OFPBPC_BAD_TYPE",
            Span(1...2, 13, 2, 0x2320), Span(3...3, 25, 0, 0x2320), Span(4...4, 13, 2), Span(5...6, 14, 0)),
        Row(
            "OFPBPC_BAD_VALUE",
            Span(1...2, 13, 4, 0x2320), Span(3...3, 27, 0, 0x2320), Span(4...4, 13, 4), Span(5...6, 14, 2)),
        Row(
            "OFPBPC_DUP_TYPE",
            Span(1...2, 14, 4, 0x2320), Span(3...3, 29, 0, 0x2320), Span(4...4, 4444, 0, 0x4f4e4600),
            Span(5...6, 14, 4)),
        Row(
            "OFPBPC_EPERM",
            Span(1...2, 14, 8, 0x2320), Span(3...3, 33, 0, 0x2320), Span(4...4, 4448, 0, 0x4f4e4600),
            Span(5...6, 14, 8)),
        Row(
            "OFPBPC_TOO_MANY",
            Span(1...2, 14, 3, 0x2320), Span(3...3, 28, 0, 0x2320), Span(4...4, 4443, 0, 0x4f4e4600),
            Span(5...6, 14, 3)),
        Row("OFPGMFC_BAD_BUCKET", Span(1...1, 6, 12, 0x2320), Span(3...6, 6, 12)),
        Row("OFPGMFC_BAD_COMMAND", Span(1...1, 6, 11, 0x2320), Span(3...6, 6, 11)),
        Row("OFPGMFC_BAD_TYPE", Span(1...1, 6, 10, 0x2320), Span(3...6, 6, 10)),
        Row("OFPGMFC_BAD_WATCH", Span(1...1, 6, 13, 0x2320), Span(3...6, 6, 13)),
        Row("OFPGMFC_BUCKET_EXISTS", Span(1...1, 6, 16, 0x2320), Span(6...6, 6, 16)),
        Row("OFPGMFC_CHAINED_GROUP", Span(1...1, 6, 9, 0x2320), Span(3...6, 6, 9)),
        Row("OFPGMFC_CHAINING_UNSUPPORTED", Span(1...1, 6, 5, 0x2320), Span(2...6, 6, 5)),
        Row("OFPGMFC_EPERM", Span(1...1, 6, 14, 0x2320), Span(3...6, 6, 14)),
        Row("OFPGMFC_GROUP_EXISTS", Span(1...1, 6, 0, 0x2320), Span(2...6, 6, 0)),
        Row("OFPGMFC_INVALID_GROUP", Span(1...1, 6, 1, 0x2320), Span(2...6, 6, 1)),
        Row("OFPGMFC_LOOP", Span(1...1, 6, 7, 0x2320), Span(2...6, 6, 7)),
        Row("OFPGMFC_OUT_OF_BUCKETS", Span(1...1, 6, 4, 0x2320), Span(2...6, 6, 4)),
        Row("OFPGMFC_OUT_OF_GROUPS", Span(1...1, 6, 3, 0x2320), Span(2...6, 6, 3)),
        Row("OFPGMFC_UNKNOWN_BUCKET", Span(1...1, 6, 15, 0x2320), Span(6...6, 6, 15)),
        Row("OFPGMFC_UNKNOWN_GROUP", Span(1...1, 6, 8, 0x2320), Span(2...6, 6, 8)),
        Row("OFPGMFC_WATCH_UNSUPPORTED", Span(1...1, 6, 6, 0x2320), Span(2...6, 6, 6)),
        Row("OFPGMFC_WEIGHT_UNSUPPORTED", Span(1...1, 6, 2, 0x2320), Span(2...6, 6, 2)),
        Row("OFPMMFC_BAD_BAND", Span(4...6, 12, 8)),
        Row("OFPMMFC_BAD_BAND_VALUE", Span(4...6, 12, 9)),
        Row("OFPMMFC_BAD_BURST", Span(4...6, 12, 7)),
        Row("OFPMMFC_BAD_COMMAND", Span(4...6, 12, 4)),
        Row("OFPMMFC_BAD_FLAGS", Span(4...6, 12, 5)),
        Row("OFPMMFC_BAD_RATE", Span(4...6, 12, 6)),
        Row("OFPMMFC_INVALID_METER", Span(4...6, 12, 2)),
        Row("OFPMMFC_METER_EXISTS", Span(4...6, 12, 1)),
        Row("OFPMMFC_OUT_OF_BANDS", Span(4...6, 12, 11)),
        Row("OFPMMFC_OUT_OF_METERS", Span(4...6, 12, 10)),
        Row("OFPMMFC_UNKNOWN", Span(4...6, 12, 0)),
        Row("OFPMMFC_UNKNOWN_METER", Span(4...6, 12, 3)),
        Row("OFPMOFC_BAD_COMMAND", Span(5...6, 16, 4)),
        Row("OFPMOFC_BAD_FLAGS", Span(1...2, 1, 518, 0x2320), Span(3...4, 7, 0, 0x2320), Span(5...6, 16, 5)),
        Row("OFPMOFC_BAD_OUT", Span(5...6, 16, 7)),
        Row("OFPMOFC_BAD_TABLE_ID", Span(5...6, 16, 6)),
        Row("OFPMOFC_INVALID_MONITOR", Span(5...6, 16, 2)),
        Row("OFPMOFC_MONITOR_EXISTS", Span(1...2, 1, 517, 0x2320), Span(3...4, 6, 0, 0x2320), Span(5...6, 16, 1)),
        Row("OFPMOFC_UNKNOWN", Span(5...6, 16, 0)),
        Row("OFPMOFC_UNKNOWN_MONITOR", Span(1...2, 1, 519, 0x2320), Span(3...4, 8, 0, 0x2320), Span(5...6, 16, 3)),
        Row("OFPPMFC_BAD_ADVERTISE", Span(2...6, 7, 3)),
        Row("OFPPMFC_BAD_CONFIG", Span(2...6, 7, 2)),
        Row("OFPPMFC_BAD_HW_ADDR", Span(1...1, 4, 1), Span(2...6, 7, 1)),
        Row("OFPPMFC_BAD_PORT", Span(1...1, 4, 0), Span(2...6, 7, 0)),
        Row("OFPPMFC_EPERM", Span(3...6, 7, 4)),
        Row("OFPQOFC_BAD_PORT", Span(1...1, 5, 0), Span(2...6, 9, 0)),
        Row("OFPQOFC_BAD_QUEUE", Span(1...1, 5, 1), Span(2...6, 9, 1)),
        Row("OFPQOFC_EPERM", Span(1...1, 5, 2), Span(2...6, 9, 2)),
        Row("OFPRRFC_BAD_ROLE", Span(1...2, 1, 513, 0x2320), Span(3...6, 11, 2)),
        Row("OFPRRFC_ID_IN_USE", Span(6...6, 11, 4)),
        Row("OFPRRFC_ID_UNSUP", Span(6...6, 11, 3)),
        Row("OFPRRFC_STALE", Span(3...6, 11, 0)),
        Row("OFPRRFC_UNSUP", Span(3...6, 11, 1)),
        Row("OFPSCFC_BAD_FLAGS", Span(2...6, 10, 0)),
        Row("OFPSCFC_BAD_LEN", Span(2...6, 10, 1)),
        Row("OFPSCFC_EPERM", Span(3...6, 10, 2)),
        Row("OFPTFFC_BAD_CAPA", Span(6...6, 13, 6)),
        Row("OFPTFFC_BAD_COMMAND", Span(6...6, 13, 9)),
        Row("OFPTFFC_BAD_FEATURES", Span(6...6, 13, 8)),
        Row("OFPTFFC_BAD_MAX_ENT", Span(6...6, 13, 7)),
        Row("OFPTFFC_BAD_METADATA", Span(4...6, 13, 1)),
        Row("OFPTFFC_BAD_TABLE", Span(4...6, 13, 0)),
        Row("OFPTFFC_EPERM", Span(4...6, 13, 5)),
        Row("OFPTFFC_TOO_MANY", Span(6...6, 13, 10)),
        Row("OFPTMFC_BAD_CONFIG", Span(2...6, 8, 1)),
        Row("OFPTMFC_BAD_TABLE", Span(2...6, 8, 0)),
        Row("OFPTMFC_EPERM", Span(3...6, 8, 2)),
    ]
}

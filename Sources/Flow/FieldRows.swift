// The rows of the one field table: one for every field of ovs-fields(7), in the order of `FieldID`.
// To add a field, add a case to `FieldID` and its row here, at the same place; the codecs follow.

extension FieldRow {
    /// The rows, indexed by `FieldID.rawValue`.
    @usableFromInline
    static let all: [FieldRow] = tunnelRows + tunnelOptionRows + metadataRows + registerRows + packetRows

    private static let tunnelRows: [FieldRow] = [
        FieldRow(
            .dpHash, "dp_hash", bytes: 4, bits: 32, maskable: true, .hexadecimal, at: Location.dpHash,
            .nxmNX(35, "NXM_NX_DP_HASH"), .nxET(0, "NXOXM_ET_DP_HASH", .v15)),
        FieldRow(
            .recircID, "recirc_id", bytes: 4, bits: 32, .decimal, at: Location.recircID,
            .nxmNX(36, "NXM_NX_RECIRC_ID")),
        FieldRow(
            .packetType, "packet_type", bytes: 4, bits: 32, .packetType, at: Location.packetType,
            .oxmBasic(44, "OXM_OF_PACKET_TYPE", .v15)),
        FieldRow(.conjID, "conj_id", bytes: 4, bits: 32, .decimal, at: Location.conjID, .nxmNX(37, "NXM_NX_CONJ_ID")),
        FieldRow(
            .tunID, "tun_id", alias: "tunnel_id", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.tunID, .nxmNX(16, "NXM_NX_TUN_ID"), .oxmBasic(38, "OXM_OF_TUNNEL_ID", .v13)),
        FieldRow(
            .tunSrc, "tun_src", bytes: 4, bits: 32, maskable: true, .ipv4, writable: true, at: Location.tunSrc,
            .nxmNX(31, "NXM_NX_TUN_IPV4_SRC")),
        FieldRow(
            .tunDst, "tun_dst", bytes: 4, bits: 32, maskable: true, .ipv4, writable: true, at: Location.tunDst,
            .nxmNX(32, "NXM_NX_TUN_IPV4_DST")),
        FieldRow(
            .tunIPv6Src, "tun_ipv6_src", bytes: 16, bits: 128, maskable: true, .ipv6, writable: true,
            at: Location.tunIPv6Src, .nxmNX(109, "NXM_NX_TUN_IPV6_SRC")),
        FieldRow(
            .tunIPv6Dst, "tun_ipv6_dst", bytes: 16, bits: 128, maskable: true, .ipv6, writable: true,
            at: Location.tunIPv6Dst, .nxmNX(110, "NXM_NX_TUN_IPV6_DST")),
        FieldRow(
            .tunFlags, "tun_flags", bytes: 2, bits: 1, maskable: true, .tunFlags, writable: true,
            at: Location.tunOAM, .nxmNX(104, "NXM_NX_TUN_FLAGS")),
        FieldRow(.tunTTL, "tun_ttl", bytes: 1, bits: 8, .decimal, writable: true, at: Location.tunTTL),
        FieldRow(.tunTOS, "tun_tos", bytes: 1, bits: 8, .decimal, writable: true, at: Location.tunTOS),
        FieldRow(
            .tunGBPID, "tun_gbp_id", bytes: 2, bits: 16, maskable: true, .decimal, writable: true,
            at: Location.tunGBPID, .nxmNX(38, "NXM_NX_TUN_GBP_ID")),
        FieldRow(
            .tunGBPFlags, "tun_gbp_flags", bytes: 1, bits: 8, maskable: true, .hexadecimal, writable: true,
            at: Location.tunGBPFlags, .nxmNX(39, "NXM_NX_TUN_GBP_FLAGS")),
        FieldRow(
            .tunERSPANIdx, "tun_erspan_idx", bytes: 4, bits: 20, maskable: true, .hexadecimal, writable: true,
            at: Location.tunERSPANIdx, .nxET(11, "NXOXM_ET_ERSPAN_IDX")),
        FieldRow(
            .tunERSPANVer, "tun_erspan_ver", bytes: 1, bits: 4, maskable: true, .decimal, writable: true,
            at: Location.tunERSPANVer, .nxET(12, "NXOXM_ET_ERSPAN_VER")),
        FieldRow(
            .tunERSPANDir, "tun_erspan_dir", bytes: 1, bits: 1, maskable: true, .decimal, writable: true,
            at: Location.tunERSPANDir, .nxET(13, "NXOXM_ET_ERSPAN_DIR")),
        FieldRow(
            .tunERSPANHwid, "tun_erspan_hwid", bytes: 1, bits: 6, maskable: true, .hexadecimal, writable: true,
            at: Location.tunERSPANHwid, .nxET(14, "NXOXM_ET_ERSPAN_HWID")),
        FieldRow(
            .tunGTPUFlags, "tun_gtpu_flags", bytes: 1, bits: 8, maskable: true, .hexadecimal,
            at: Location.tunGTPUFlags, .nxET(15, "NXOXM_ET_GTPU_FLAGS")),
        FieldRow(
            .tunGTPUMsgType, "tun_gtpu_msgtype", bytes: 1, bits: 8, maskable: true, .decimal,
            at: Location.tunGTPUMsgType, .nxET(16, "NXOXM_ET_GTPU_MSGTYPE")),
    ]

    private static let tunnelOptionRows: [FieldRow] = [
        FieldRow(
            .tunMetadata0, "tun_metadata0", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(40, "NXM_NX_TUN_METADATA0")),
        FieldRow(
            .tunMetadata1, "tun_metadata1", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(41, "NXM_NX_TUN_METADATA1")),
        FieldRow(
            .tunMetadata2, "tun_metadata2", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(42, "NXM_NX_TUN_METADATA2")),
        FieldRow(
            .tunMetadata3, "tun_metadata3", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(43, "NXM_NX_TUN_METADATA3")),
        FieldRow(
            .tunMetadata4, "tun_metadata4", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(44, "NXM_NX_TUN_METADATA4")),
        FieldRow(
            .tunMetadata5, "tun_metadata5", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(45, "NXM_NX_TUN_METADATA5")),
        FieldRow(
            .tunMetadata6, "tun_metadata6", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(46, "NXM_NX_TUN_METADATA6")),
        FieldRow(
            .tunMetadata7, "tun_metadata7", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(47, "NXM_NX_TUN_METADATA7")),
        FieldRow(
            .tunMetadata8, "tun_metadata8", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(48, "NXM_NX_TUN_METADATA8")),
        FieldRow(
            .tunMetadata9, "tun_metadata9", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(49, "NXM_NX_TUN_METADATA9")),
        FieldRow(
            .tunMetadata10, "tun_metadata10", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(50, "NXM_NX_TUN_METADATA10")),
        FieldRow(
            .tunMetadata11, "tun_metadata11", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(51, "NXM_NX_TUN_METADATA11")),
        FieldRow(
            .tunMetadata12, "tun_metadata12", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(52, "NXM_NX_TUN_METADATA12")),
        FieldRow(
            .tunMetadata13, "tun_metadata13", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(53, "NXM_NX_TUN_METADATA13")),
        FieldRow(
            .tunMetadata14, "tun_metadata14", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(54, "NXM_NX_TUN_METADATA14")),
        FieldRow(
            .tunMetadata15, "tun_metadata15", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(55, "NXM_NX_TUN_METADATA15")),
        FieldRow(
            .tunMetadata16, "tun_metadata16", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(56, "NXM_NX_TUN_METADATA16")),
        FieldRow(
            .tunMetadata17, "tun_metadata17", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(57, "NXM_NX_TUN_METADATA17")),
        FieldRow(
            .tunMetadata18, "tun_metadata18", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(58, "NXM_NX_TUN_METADATA18")),
        FieldRow(
            .tunMetadata19, "tun_metadata19", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(59, "NXM_NX_TUN_METADATA19")),
        FieldRow(
            .tunMetadata20, "tun_metadata20", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(60, "NXM_NX_TUN_METADATA20")),
        FieldRow(
            .tunMetadata21, "tun_metadata21", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(61, "NXM_NX_TUN_METADATA21")),
        FieldRow(
            .tunMetadata22, "tun_metadata22", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(62, "NXM_NX_TUN_METADATA22")),
        FieldRow(
            .tunMetadata23, "tun_metadata23", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(63, "NXM_NX_TUN_METADATA23")),
        FieldRow(
            .tunMetadata24, "tun_metadata24", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(64, "NXM_NX_TUN_METADATA24")),
        FieldRow(
            .tunMetadata25, "tun_metadata25", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(65, "NXM_NX_TUN_METADATA25")),
        FieldRow(
            .tunMetadata26, "tun_metadata26", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(66, "NXM_NX_TUN_METADATA26")),
        FieldRow(
            .tunMetadata27, "tun_metadata27", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(67, "NXM_NX_TUN_METADATA27")),
        FieldRow(
            .tunMetadata28, "tun_metadata28", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(68, "NXM_NX_TUN_METADATA28")),
        FieldRow(
            .tunMetadata29, "tun_metadata29", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(69, "NXM_NX_TUN_METADATA29")),
        FieldRow(
            .tunMetadata30, "tun_metadata30", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(70, "NXM_NX_TUN_METADATA30")),
        FieldRow(
            .tunMetadata31, "tun_metadata31", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(71, "NXM_NX_TUN_METADATA31")),
        FieldRow(
            .tunMetadata32, "tun_metadata32", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(72, "NXM_NX_TUN_METADATA32")),
        FieldRow(
            .tunMetadata33, "tun_metadata33", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(73, "NXM_NX_TUN_METADATA33")),
        FieldRow(
            .tunMetadata34, "tun_metadata34", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(74, "NXM_NX_TUN_METADATA34")),
        FieldRow(
            .tunMetadata35, "tun_metadata35", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(75, "NXM_NX_TUN_METADATA35")),
        FieldRow(
            .tunMetadata36, "tun_metadata36", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(76, "NXM_NX_TUN_METADATA36")),
        FieldRow(
            .tunMetadata37, "tun_metadata37", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(77, "NXM_NX_TUN_METADATA37")),
        FieldRow(
            .tunMetadata38, "tun_metadata38", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(78, "NXM_NX_TUN_METADATA38")),
        FieldRow(
            .tunMetadata39, "tun_metadata39", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(79, "NXM_NX_TUN_METADATA39")),
        FieldRow(
            .tunMetadata40, "tun_metadata40", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(80, "NXM_NX_TUN_METADATA40")),
        FieldRow(
            .tunMetadata41, "tun_metadata41", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(81, "NXM_NX_TUN_METADATA41")),
        FieldRow(
            .tunMetadata42, "tun_metadata42", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(82, "NXM_NX_TUN_METADATA42")),
        FieldRow(
            .tunMetadata43, "tun_metadata43", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(83, "NXM_NX_TUN_METADATA43")),
        FieldRow(
            .tunMetadata44, "tun_metadata44", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(84, "NXM_NX_TUN_METADATA44")),
        FieldRow(
            .tunMetadata45, "tun_metadata45", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(85, "NXM_NX_TUN_METADATA45")),
        FieldRow(
            .tunMetadata46, "tun_metadata46", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(86, "NXM_NX_TUN_METADATA46")),
        FieldRow(
            .tunMetadata47, "tun_metadata47", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(87, "NXM_NX_TUN_METADATA47")),
        FieldRow(
            .tunMetadata48, "tun_metadata48", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(88, "NXM_NX_TUN_METADATA48")),
        FieldRow(
            .tunMetadata49, "tun_metadata49", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(89, "NXM_NX_TUN_METADATA49")),
        FieldRow(
            .tunMetadata50, "tun_metadata50", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(90, "NXM_NX_TUN_METADATA50")),
        FieldRow(
            .tunMetadata51, "tun_metadata51", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(91, "NXM_NX_TUN_METADATA51")),
        FieldRow(
            .tunMetadata52, "tun_metadata52", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(92, "NXM_NX_TUN_METADATA52")),
        FieldRow(
            .tunMetadata53, "tun_metadata53", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(93, "NXM_NX_TUN_METADATA53")),
        FieldRow(
            .tunMetadata54, "tun_metadata54", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(94, "NXM_NX_TUN_METADATA54")),
        FieldRow(
            .tunMetadata55, "tun_metadata55", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(95, "NXM_NX_TUN_METADATA55")),
        FieldRow(
            .tunMetadata56, "tun_metadata56", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(96, "NXM_NX_TUN_METADATA56")),
        FieldRow(
            .tunMetadata57, "tun_metadata57", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(97, "NXM_NX_TUN_METADATA57")),
        FieldRow(
            .tunMetadata58, "tun_metadata58", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(98, "NXM_NX_TUN_METADATA58")),
        FieldRow(
            .tunMetadata59, "tun_metadata59", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(99, "NXM_NX_TUN_METADATA59")),
        FieldRow(
            .tunMetadata60, "tun_metadata60", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(100, "NXM_NX_TUN_METADATA60")),
        FieldRow(
            .tunMetadata61, "tun_metadata61", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(101, "NXM_NX_TUN_METADATA61")),
        FieldRow(
            .tunMetadata62, "tun_metadata62", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(102, "NXM_NX_TUN_METADATA62")),
        FieldRow(
            .tunMetadata63, "tun_metadata63", bytes: 124, bits: 992, maskable: true, .hexadecimal, writable: true,
            .nxmNX(103, "NXM_NX_TUN_METADATA63")),
    ]

    private static let metadataRows: [FieldRow] = [
        FieldRow(
            .metadata, "metadata", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.metadata, .oxmBasic(2, "OXM_OF_METADATA")),
        FieldRow(
            .inPort, "in_port", bytes: 2, bits: 16, .port10, writable: true, at: Location.inPort,
            .nxmOF(0, "NXM_OF_IN_PORT")),
        FieldRow(
            .inPortOXM, "in_port_oxm", bytes: 4, bits: 32, .port11, writable: true, at: Location.inPort,
            .oxmBasic(0, "OXM_OF_IN_PORT")),
        FieldRow(
            .actsetOutput, "actset_output", bytes: 4, bits: 32, .port11, at: Location.actsetOutput,
            .onf(43, "ONFOXM_ET_ACTSET_OUTPUT"), .oxmBasic(43, "OXM_OF_ACTSET_OUTPUT", .v15)),
        FieldRow(.skbPriority, "skb_priority", bytes: 4, bits: 32, .hexadecimal, at: Location.skbPriority),
        FieldRow(
            .pktMark, "pkt_mark", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true,
            at: Location.pktMark, .nxmNX(33, "NXM_NX_PKT_MARK")),
        FieldRow(
            .ctState, "ct_state", bytes: 4, bits: 32, maskable: true, .ctState, at: Location.ctState,
            .nxmNX(105, "NXM_NX_CT_STATE")),
        FieldRow(
            .ctZone, "ct_zone", bytes: 2, bits: 16, .hexadecimal, at: Location.ctZone, .nxmNX(106, "NXM_NX_CT_ZONE")),
        FieldRow(
            .ctMark, "ct_mark", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true,
            at: Location.ctMark, .nxmNX(107, "NXM_NX_CT_MARK")),
        FieldRow(
            .ctLabel, "ct_label", bytes: 16, bits: 128, maskable: true, .hexadecimal, writable: true,
            at: Location.ctLabel, .nxmNX(108, "NXM_NX_CT_LABEL")),
        FieldRow(
            .ctNwProto, "ct_nw_proto", bytes: 1, bits: 8, .decimal, .ct, at: Location.ctNwProto,
            .nxmNX(119, "NXM_NX_CT_NW_PROTO")),
        FieldRow(
            .ctNwSrc, "ct_nw_src", bytes: 4, bits: 32, maskable: true, .ipv4, .ct, at: Location.ctNwSrc,
            .nxmNX(120, "NXM_NX_CT_NW_SRC")),
        FieldRow(
            .ctNwDst, "ct_nw_dst", bytes: 4, bits: 32, maskable: true, .ipv4, .ct, at: Location.ctNwDst,
            .nxmNX(121, "NXM_NX_CT_NW_DST")),
        FieldRow(
            .ctIPv6Src, "ct_ipv6_src", bytes: 16, bits: 128, maskable: true, .ipv6, .ct, at: Location.ctIPv6Src,
            .nxmNX(122, "NXM_NX_CT_IPV6_SRC")),
        FieldRow(
            .ctIPv6Dst, "ct_ipv6_dst", bytes: 16, bits: 128, maskable: true, .ipv6, .ct, at: Location.ctIPv6Dst,
            .nxmNX(123, "NXM_NX_CT_IPV6_DST")),
        FieldRow(
            .ctTpSrc, "ct_tp_src", bytes: 2, bits: 16, maskable: true, .decimal, .ct, at: Location.ctTpSrc,
            .nxmNX(124, "NXM_NX_CT_TP_SRC")),
        FieldRow(
            .ctTpDst, "ct_tp_dst", bytes: 2, bits: 16, maskable: true, .decimal, .ct, at: Location.ctTpDst,
            .nxmNX(125, "NXM_NX_CT_TP_DST")),
    ]

    private static let registerRows: [FieldRow] = [
        FieldRow(
            .reg0, "reg0", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(0),
            .nxmNX(0, "NXM_NX_REG0")),
        FieldRow(
            .reg1, "reg1", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(1),
            .nxmNX(1, "NXM_NX_REG1")),
        FieldRow(
            .reg2, "reg2", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(2),
            .nxmNX(2, "NXM_NX_REG2")),
        FieldRow(
            .reg3, "reg3", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(3),
            .nxmNX(3, "NXM_NX_REG3")),
        FieldRow(
            .reg4, "reg4", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(4),
            .nxmNX(4, "NXM_NX_REG4")),
        FieldRow(
            .reg5, "reg5", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(5),
            .nxmNX(5, "NXM_NX_REG5")),
        FieldRow(
            .reg6, "reg6", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(6),
            .nxmNX(6, "NXM_NX_REG6")),
        FieldRow(
            .reg7, "reg7", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(7),
            .nxmNX(7, "NXM_NX_REG7")),
        FieldRow(
            .reg8, "reg8", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(8),
            .nxmNX(8, "NXM_NX_REG8")),
        FieldRow(
            .reg9, "reg9", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true, at: Location.reg(9),
            .nxmNX(9, "NXM_NX_REG9")),
        FieldRow(
            .reg10, "reg10", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true,
            at: Location.reg(10), .nxmNX(10, "NXM_NX_REG10")),
        FieldRow(
            .reg11, "reg11", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true,
            at: Location.reg(11), .nxmNX(11, "NXM_NX_REG11")),
        FieldRow(
            .reg12, "reg12", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true,
            at: Location.reg(12), .nxmNX(12, "NXM_NX_REG12")),
        FieldRow(
            .reg13, "reg13", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true,
            at: Location.reg(13), .nxmNX(13, "NXM_NX_REG13")),
        FieldRow(
            .reg14, "reg14", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true,
            at: Location.reg(14), .nxmNX(14, "NXM_NX_REG14")),
        FieldRow(
            .reg15, "reg15", bytes: 4, bits: 32, maskable: true, .hexadecimal, writable: true,
            at: Location.reg(15), .nxmNX(15, "NXM_NX_REG15")),
        FieldRow(
            .xreg0, "xreg0", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.xreg(0), .oxmPacketRegs(0, "OXM_OF_PKT_REG0")),
        FieldRow(
            .xreg1, "xreg1", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.xreg(1), .oxmPacketRegs(1, "OXM_OF_PKT_REG1")),
        FieldRow(
            .xreg2, "xreg2", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.xreg(2), .oxmPacketRegs(2, "OXM_OF_PKT_REG2")),
        FieldRow(
            .xreg3, "xreg3", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.xreg(3), .oxmPacketRegs(3, "OXM_OF_PKT_REG3")),
        FieldRow(
            .xreg4, "xreg4", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.xreg(4), .oxmPacketRegs(4, "OXM_OF_PKT_REG4")),
        FieldRow(
            .xreg5, "xreg5", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.xreg(5), .oxmPacketRegs(5, "OXM_OF_PKT_REG5")),
        FieldRow(
            .xreg6, "xreg6", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.xreg(6), .oxmPacketRegs(6, "OXM_OF_PKT_REG6")),
        FieldRow(
            .xreg7, "xreg7", bytes: 8, bits: 64, maskable: true, .hexadecimal, writable: true,
            at: Location.xreg(7), .oxmPacketRegs(7, "OXM_OF_PKT_REG7")),
        FieldRow(
            .xxreg0, "xxreg0", bytes: 16, bits: 128, maskable: true, .hexadecimal, writable: true,
            at: Location.xxreg(0), .nxmNX(111, "NXM_NX_XXREG0")),
        FieldRow(
            .xxreg1, "xxreg1", bytes: 16, bits: 128, maskable: true, .hexadecimal, writable: true,
            at: Location.xxreg(1), .nxmNX(112, "NXM_NX_XXREG1")),
        FieldRow(
            .xxreg2, "xxreg2", bytes: 16, bits: 128, maskable: true, .hexadecimal, writable: true,
            at: Location.xxreg(2), .nxmNX(113, "NXM_NX_XXREG2")),
        FieldRow(
            .xxreg3, "xxreg3", bytes: 16, bits: 128, maskable: true, .hexadecimal, writable: true,
            at: Location.xxreg(3), .nxmNX(114, "NXM_NX_XXREG3")),
    ]

    private static let packetRows: [FieldRow] = [
        FieldRow(
            .ethSrc, "eth_src", alias: "dl_src", bytes: 6, bits: 48, maskable: true, .ethernet, .ethernet,
            writable: true, at: Location.ethSrc, .nxmOF(2, "NXM_OF_ETH_SRC"), .oxmBasic(4, "OXM_OF_ETH_SRC")),
        FieldRow(
            .ethDst, "eth_dst", alias: "dl_dst", bytes: 6, bits: 48, maskable: true, .ethernet, .ethernet,
            writable: true, at: Location.ethDst, .nxmOF(1, "NXM_OF_ETH_DST"), .oxmBasic(3, "OXM_OF_ETH_DST")),
        FieldRow(
            .ethType, "eth_type", alias: "dl_type", bytes: 2, bits: 16, .hexadecimal, .ethernet,
            at: Location.ethType, .nxmOF(3, "NXM_OF_ETH_TYPE"), .oxmBasic(5, "OXM_OF_ETH_TYPE")),
        FieldRow(
            .vlanTCI, "vlan_tci", bytes: 2, bits: 16, maskable: true, .hexadecimal, .ethernet, writable: true,
            at: Location.vlanTCI, .nxmOF(4, "NXM_OF_VLAN_TCI")),
        FieldRow(.dlVLAN, "dl_vlan", bytes: 2, bits: 12, .decimal, .ethernet, writable: true, at: Location.vlanVID),
        FieldRow(
            .vlanVID, "vlan_vid", bytes: 2, bits: 12, maskable: true, .decimal, .ethernet, writable: true,
            at: Location.vlanVIDAndPresent, .oxmBasic(6, "OXM_OF_VLAN_VID")),
        FieldRow(
            .dlVLANPCP, "dl_vlan_pcp", bytes: 1, bits: 3, .decimal, .ethernet, writable: true, at: Location.vlanPCP),
        FieldRow(
            .vlanPCP, "vlan_pcp", bytes: 1, bits: 3, .decimal, .vlanVID, writable: true, at: Location.vlanPCP,
            .oxmBasic(7, "OXM_OF_VLAN_PCP")),
        FieldRow(
            .mplsLabel, "mpls_label", bytes: 4, bits: 20, .decimal, .mpls, writable: true, at: Location.mplsLabel,
            .oxmBasic(34, "OXM_OF_MPLS_LABEL")),
        FieldRow(
            .mplsTC, "mpls_tc", bytes: 1, bits: 3, .decimal, .mpls, writable: true, at: Location.mplsTC,
            .oxmBasic(35, "OXM_OF_MPLS_TC")),
        FieldRow(
            .mplsBOS, "mpls_bos", bytes: 1, bits: 1, .decimal, .mpls, at: Location.mplsBOS,
            .oxmBasic(36, "OXM_OF_MPLS_BOS", .v13)),
        FieldRow(
            .mplsTTL, "mpls_ttl", bytes: 1, bits: 8, .decimal, .mpls, writable: true, at: Location.mplsTTL,
            .nxmNX(30, "NXM_NX_MPLS_TTL")),
        FieldRow(
            .ipv4Src, "ip_src", alias: "nw_src", bytes: 4, bits: 32, maskable: true, .ipv4, .ipv4, writable: true,
            at: Location.nwSrc, .nxmOF(7, "NXM_OF_IP_SRC"), .oxmBasic(11, "OXM_OF_IPV4_SRC")),
        FieldRow(
            .ipv4Dst, "ip_dst", alias: "nw_dst", bytes: 4, bits: 32, maskable: true, .ipv4, .ipv4, writable: true,
            at: Location.nwDst, .nxmOF(8, "NXM_OF_IP_DST"), .oxmBasic(12, "OXM_OF_IPV4_DST")),
        FieldRow(
            .ipv6Src, "ipv6_src", bytes: 16, bits: 128, maskable: true, .ipv6, .ipv6, writable: true,
            at: Location.ipv6Src, .nxmNX(19, "NXM_NX_IPV6_SRC"), .oxmBasic(26, "OXM_OF_IPV6_SRC")),
        FieldRow(
            .ipv6Dst, "ipv6_dst", bytes: 16, bits: 128, maskable: true, .ipv6, .ipv6, writable: true,
            at: Location.ipv6Dst, .nxmNX(20, "NXM_NX_IPV6_DST"), .oxmBasic(27, "OXM_OF_IPV6_DST")),
        FieldRow(
            .ipv6Label, "ipv6_label", bytes: 4, bits: 20, maskable: true, .hexadecimal, .ipv6, writable: true,
            at: Location.ipv6Label, .nxmNX(27, "NXM_NX_IPV6_LABEL"), .oxmBasic(28, "OXM_OF_IPV6_FLABEL")),
        FieldRow(
            .ipProto, "nw_proto", alias: "ip_proto", bytes: 1, bits: 8, .decimal, .ip, at: Location.nwProto,
            .nxmOF(6, "NXM_OF_IP_PROTO"), .oxmBasic(10, "OXM_OF_IP_PROTO")),
        FieldRow(
            .ipDSCP, "nw_tos", bytes: 1, bits: 8, .decimal, .ip, writable: true, at: Location.nwTOS,
            .nxmOF(5, "NXM_OF_IP_TOS")),
        FieldRow(
            .ipDSCPShifted, "ip_dscp", bytes: 1, bits: 6, .decimal, .ip, writable: true, at: Location.nwDSCP,
            .oxmBasic(8, "OXM_OF_IP_DSCP")),
        FieldRow(
            .ipECN, "nw_ecn", alias: "ip_ecn", bytes: 1, bits: 2, .decimal, .ip, writable: true,
            at: Location.nwECN, .nxmNX(28, "NXM_NX_IP_ECN"), .oxmBasic(9, "OXM_OF_IP_ECN")),
        FieldRow(
            .ipTTL, "nw_ttl", bytes: 1, bits: 8, .decimal, .ip, writable: true, at: Location.nwTTL,
            .nxmNX(29, "NXM_NX_IP_TTL")),
        FieldRow(
            .ipFrag, "ip_frag", alias: "nw_frag", bytes: 1, bits: 2, maskable: true, .frag, .ip,
            at: Location.nwFrag, .nxmNX(26, "NXM_NX_IP_FRAG")),
        FieldRow(
            .arpOp, "arp_op", bytes: 2, bits: 16, .decimal, .arp, writable: true, at: Location.nwProto,
            .nxmOF(15, "NXM_OF_ARP_OP"), .oxmBasic(21, "OXM_OF_ARP_OP")),
        FieldRow(
            .arpSPA, "arp_spa", bytes: 4, bits: 32, maskable: true, .ipv4, .arp, writable: true,
            at: Location.nwSrc, .nxmOF(16, "NXM_OF_ARP_SPA"), .oxmBasic(22, "OXM_OF_ARP_SPA")),
        FieldRow(
            .arpTPA, "arp_tpa", bytes: 4, bits: 32, maskable: true, .ipv4, .arp, writable: true,
            at: Location.nwDst, .nxmOF(17, "NXM_OF_ARP_TPA"), .oxmBasic(23, "OXM_OF_ARP_TPA")),
        FieldRow(
            .arpSHA, "arp_sha", bytes: 6, bits: 48, maskable: true, .ethernet, .arp, writable: true,
            at: Location.arpSHA, .nxmNX(17, "NXM_NX_ARP_SHA"), .oxmBasic(24, "OXM_OF_ARP_SHA")),
        FieldRow(
            .arpTHA, "arp_tha", bytes: 6, bits: 48, maskable: true, .ethernet, .arp, writable: true,
            at: Location.arpTHA, .nxmNX(18, "NXM_NX_ARP_THA"), .oxmBasic(25, "OXM_OF_ARP_THA")),
        FieldRow(
            .tcpSrc, "tcp_src", alias: "tp_src", bytes: 2, bits: 16, maskable: true, .decimal, .tcp,
            writable: true, at: Location.tpSrc, .nxmOF(9, "NXM_OF_TCP_SRC"), .oxmBasic(13, "OXM_OF_TCP_SRC")),
        FieldRow(
            .tcpDst, "tcp_dst", alias: "tp_dst", bytes: 2, bits: 16, maskable: true, .decimal, .tcp,
            writable: true, at: Location.tpDst, .nxmOF(10, "NXM_OF_TCP_DST"), .oxmBasic(14, "OXM_OF_TCP_DST")),
        FieldRow(
            .tcpFlags, "tcp_flags", bytes: 2, bits: 12, maskable: true, .tcpFlags, .tcp, at: Location.tcpFlags,
            .nxmNX(34, "NXM_NX_TCP_FLAGS"), .onf(42, "ONFOXM_ET_TCP_FLAGS"), .oxmBasic(42, "OXM_OF_TCP_FLAGS", .v15)),
        FieldRow(
            .udpSrc, "udp_src", bytes: 2, bits: 16, maskable: true, .decimal, .udp, writable: true,
            at: Location.tpSrc, .nxmOF(11, "NXM_OF_UDP_SRC"), .oxmBasic(15, "OXM_OF_UDP_SRC")),
        FieldRow(
            .udpDst, "udp_dst", bytes: 2, bits: 16, maskable: true, .decimal, .udp, writable: true,
            at: Location.tpDst, .nxmOF(12, "NXM_OF_UDP_DST"), .oxmBasic(16, "OXM_OF_UDP_DST")),
        FieldRow(
            .sctpSrc, "sctp_src", bytes: 2, bits: 16, maskable: true, .decimal, .sctp, writable: true,
            at: Location.tpSrc, .oxmBasic(17, "OXM_OF_SCTP_SRC")),
        FieldRow(
            .sctpDst, "sctp_dst", bytes: 2, bits: 16, maskable: true, .decimal, .sctp, writable: true,
            at: Location.tpDst, .oxmBasic(18, "OXM_OF_SCTP_DST")),
        FieldRow(
            .icmpv4Type, "icmp_type", bytes: 1, bits: 8, .decimal, .icmpv4, writable: true, at: Location.tpSrc,
            .nxmOF(13, "NXM_OF_ICMP_TYPE"), .oxmBasic(19, "OXM_OF_ICMPV4_TYPE")),
        FieldRow(
            .icmpv4Code, "icmp_code", bytes: 1, bits: 8, .decimal, .icmpv4, writable: true, at: Location.tpDst,
            .nxmOF(14, "NXM_OF_ICMP_CODE"), .oxmBasic(20, "OXM_OF_ICMPV4_CODE")),
        FieldRow(
            .icmpv6Type, "icmpv6_type", bytes: 1, bits: 8, .decimal, .icmpv6, writable: true, at: Location.tpSrc,
            .nxmNX(21, "NXM_NX_ICMPV6_TYPE"), .oxmBasic(29, "OXM_OF_ICMPV6_TYPE")),
        FieldRow(
            .icmpv6Code, "icmpv6_code", bytes: 1, bits: 8, .decimal, .icmpv6, writable: true, at: Location.tpDst,
            .nxmNX(22, "NXM_NX_ICMPV6_CODE"), .oxmBasic(30, "OXM_OF_ICMPV6_CODE")),
        FieldRow(
            .ndTarget, "nd_target", bytes: 16, bits: 128, maskable: true, .ipv6, .nd, writable: true,
            at: Location.ndTarget, .nxmNX(23, "NXM_NX_ND_TARGET"), .oxmBasic(31, "OXM_OF_IPV6_ND_TARGET")),
        FieldRow(
            .ndSLL, "nd_sll", bytes: 6, bits: 48, maskable: true, .ethernet, .ndSolicit, writable: true,
            at: Location.arpSHA, .nxmNX(24, "NXM_NX_ND_SLL"), .oxmBasic(32, "OXM_OF_IPV6_ND_SLL")),
        FieldRow(
            .ndTLL, "nd_tll", bytes: 6, bits: 48, maskable: true, .ethernet, .ndAdvert, writable: true,
            at: Location.arpTHA, .nxmNX(25, "NXM_NX_ND_TLL"), .oxmBasic(33, "OXM_OF_IPV6_ND_TLL")),
        FieldRow(
            .ndReserved, "nd_reserved", bytes: 4, bits: 32, .decimal, .nd, writable: true, at: Location.igmpGroup,
            .ericsson(1, "ERICOXM_OF_ICMPV6_ND_RESERVED")),
        FieldRow(
            .ndOptionsType, "nd_options_type", bytes: 1, bits: 8, .decimal, .nd, writable: true,
            at: Location.ndOptionsType, .ericsson(2, "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE")),
        FieldRow(
            .nshFlags, "nsh_flags", bytes: 1, bits: 8, maskable: true, .decimal, .nsh, writable: true,
            at: Location.nshFlags, .nsh(1, "NXOXM_NSH_FLAGS")),
        FieldRow(
            .nshTTL, "nsh_ttl", bytes: 1, bits: 8, .decimal, .nsh, writable: true, at: Location.nshTTL,
            .nsh(10, "NXOXM_NSH_TTL")),
        FieldRow(
            .nshMDType, "nsh_mdtype", bytes: 1, bits: 8, .decimal, .nsh, at: Location.nshMDType,
            .nsh(2, "NXOXM_NSH_MDTYPE")),
        FieldRow(.nshNP, "nsh_np", bytes: 1, bits: 8, .decimal, .nsh, at: Location.nshNP, .nsh(3, "NXOXM_NSH_NP")),
        FieldRow(
            .nshSPI, "nsh_spi", alias: "nsp", bytes: 4, bits: 24, .hexadecimal, .nsh, writable: true,
            at: Location.nshSPI, .nsh(4, "NXOXM_NSH_SPI")),
        FieldRow(
            .nshSI, "nsh_si", alias: "nsi", bytes: 1, bits: 8, .decimal, .nsh, writable: true, at: Location.nshSI,
            .nsh(5, "NXOXM_NSH_SI")),
        FieldRow(
            .nshC1, "nsh_c1", alias: "nshc1", bytes: 4, bits: 32, maskable: true, .hexadecimal, .nsh,
            writable: true, at: Location.nshC(0), .nsh(6, "NXOXM_NSH_C1")),
        FieldRow(
            .nshC2, "nsh_c2", alias: "nshc2", bytes: 4, bits: 32, maskable: true, .hexadecimal, .nsh,
            writable: true, at: Location.nshC(1), .nsh(7, "NXOXM_NSH_C2")),
        FieldRow(
            .nshC3, "nsh_c3", alias: "nshc3", bytes: 4, bits: 32, maskable: true, .hexadecimal, .nsh,
            writable: true, at: Location.nshC(2), .nsh(8, "NXOXM_NSH_C3")),
        FieldRow(
            .nshC4, "nsh_c4", alias: "nshc4", bytes: 4, bits: 32, maskable: true, .hexadecimal, .nsh,
            writable: true, at: Location.nshC(3), .nsh(9, "NXOXM_NSH_C4")),
    ]
}

// The machines of a port that talk to those of other ports: information, roles, topology changes, transmission
// (IEEE 802.1D-2004, sections 17.26, 17.27, 17.29 and 17.31).

extension RSTPPort {
    // MARK: Port information (section 17.27)

    func stepInformation() -> Bool {
        if !portEnabled, infoIs != .disabled || rcvdMsg {
            informationState = .disabled
            rcvdMsg = false
            (proposing, proposed, agree, agreed) = (false, false, false, false)
            rcvdInfoWhile = 0
            infoIs = .disabled
            (reselect, selected) = (true, false)
            return true
        }
        switch informationState {
        case .disabled:
            guard portEnabled else { return false }
            age()
        case .aged:
            guard selected, updtInfo else { return false }
            update()
        case .update, .decided: informationState = .current
        case .current:
            if selected, updtInfo {
                update()
            } else if infoIs == .received, rcvdInfoWhile == 0, !updtInfo, !rcvdMsg {
                age()
            } else if rcvdMsg, !updtInfo {
                informationState = .receive
                rcvdInfo = classify()
            } else {
                return false
            }
        case .receive:
            informationState = .decided
            decide()
        }
        return true
    }

    private func age() {
        informationState = .aged
        infoIs = .aged
        (reselect, selected) = (true, false)
    }

    private func update() {
        informationState = .update
        (proposing, proposed) = (false, false)
        // betterorsameInfo(Mine)
        agreed = agreed && infoIs == .mine && designatedPriority <= portPriority
        synced = synced && agreed
        portPriority = designatedPriority
        portTimes = designatedTimes
        updtInfo = false
        infoIs = .mine
        newInfo = true
    }

    /// What a message says (rcvInfo, section 17.21.8).
    private func classify() -> ReceivedInfo {
        msgPriority = RSTPVector(root: message.root, cost: message.rootPathCost, bridge: message.bridge, port: message.port)
        msgTimes.messageAge = Int(message.messageAge) / 256
        msgTimes.maxAge = Int(message.maxAge) / 256
        msgTimes.helloTime = max(1, Int(message.helloTime) / 256)
        msgTimes.forwardDelay = Int(message.forwardDelay) / 256
        if message.kind == .topologyChangeNotification { return .other }
        let role = message.kind == .configuration ? 3 : message.flags.role
        switch role {
        case 3:
            if msgPriority.isSuperior(to: portPriority) { return .superiorDesignated }
            if msgPriority == portPriority {
                if msgTimes != portTimes { return .superiorDesignated }
                return infoIs == .received ? .repeatedDesignated : .other
            }
            return .inferiorDesignated
        case 1, 2: return msgPriority >= portPriority ? .inferiorRootAlternate : .other
        default: return .other
        }
    }

    private func decide() {
        switch rcvdInfo {
        case .superiorDesignated:
            (agreed, proposing) = (false, false)
            recordProposal()
            setTcFlags()
            // betterorsameInfo(Received)
            agree = agree && infoIs == .received && msgPriority <= portPriority
            portPriority = msgPriority
            portTimes = msgTimes
            updateReceivedInfoWhile()
            infoIs = .received
            (reselect, selected) = (true, false)
        case .repeatedDesignated:
            recordProposal()
            setTcFlags()
            updateReceivedInfoWhile()
        case .inferiorDesignated:
            if message.kind == .rapid, message.flags.contains(.learning) { (agreed, proposing) = (true, false) }
        case .inferiorRootAlternate:
            if bridge.settings.version >= 2, message.flags.contains(.agreement) {
                (agreed, proposing) = (true, false)
            } else {
                agreed = false
            }
            setTcFlags()
        case .other: if message.kind == .topologyChangeNotification { setTcFlags() }
        }
        rcvdMsg = false
    }

    private func recordProposal() { if message.kind == .rapid, message.flags.contains(.proposal) { proposed = true } }

    private func setTcFlags() {
        if message.kind == .topologyChangeNotification {
            rcvdTcn = true
        } else {
            if message.flags.contains(.topologyChange) { rcvdTc = true }
            if message.flags.contains(.acknowledgement) { rcvdTcAck = true }
        }
    }

    private func updateReceivedInfoWhile() {
        rcvdInfoWhile = portTimes.messageAge + 1 <= portTimes.maxAge ? 3 * portTimes.helloTime : 0
    }

    // MARK: Port role transitions (section 17.29)

    func stepTransition() -> Bool {
        if selected, !updtInfo, role != selectedRole {
            switch selectedRole {
            case .disabled: disable()
            case .root:
                role = .root
                transitionState = .rootPort
                rrWhile = fwdDelay
            case .designated:
                role = .designated
                transitionState = .designatedPort
            case .alternate, .backup:
                role = selectedRole
                transitionState = .blockPort
                (learn, forward) = (false, false)
            }
            return true
        }
        switch transitionState {
        case .initPort:
            disable()
            return true
        case .disablePort:
            guard selected, !updtInfo, !learning, !forwarding else { return false }
            transitionState = .disabledPort
            settle(maxAge)
            return true
        case .disabledPort:
            guard selected, !updtInfo, fdWhile != maxAge || sync || reRoot || !synced else { return false }
            settle(maxAge)
            return true
        case .rootPort: return selected && !updtInfo && stepRoot()
        case .designatedPort: return selected && !updtInfo && stepDesignated()
        case .blockPort:
            guard selected, !updtInfo, !learning, !forwarding else { return false }
            transitionState = .alternatePort
            settle(forwardDelay)
            return true
        case .alternatePort: return selected && !updtInfo && stepAlternate()
        }
    }

    private func disable() {
        role = selectedRole
        transitionState = .disablePort
        (learn, forward) = (false, false)
    }

    private func settle(_ delay: Int) {
        fdWhile = delay
        synced = true
        rrWhile = 0
        (sync, reRoot) = (false, false)
    }

    /// ROOT_AGREED and ALTERNATE_AGREED.
    private func sendAgreement() {
        (proposed, agree, newInfo) = (false, true, true)
    }

    private func stepRoot() -> Bool {
        let mayAdvance = fdWhile == 0 || bridge.isReRooted(except: self) && rbWhile == 0 && bridge.settings.version >= 2
        if proposed, !agree {
            bridge.setSyncTree()
            proposed = false
        } else if bridge.allSynced, !agree {
            sync = false
            sendAgreement()
        } else if proposed, agree {
            sync = false
            sendAgreement()
        } else if !forward, !reRoot {
            bridge.setReRootTree()
        } else if reRoot, forward {
            reRoot = false
        } else if mayAdvance, !learn {
            fdWhile = forwardDelay
            learn = true
        } else if mayAdvance, learn, !forward {
            fdWhile = 0
            forward = true
        } else if rrWhile != fwdDelay {
            rrWhile = fwdDelay
        } else {
            return false
        }
        return true
    }

    private func stepDesignated() -> Bool {
        let mayAdvance = (fdWhile == 0 || agreed || operEdge) && (rrWhile == 0 || !reRoot) && !sync
        if !forward, !agreed, !proposing, !operEdge {
            proposing = true
            edgeDelayWhile = edgeDelay
            newInfo = true
        } else if !learning && !forwarding && !synced || agreed && !synced || operEdge && !synced || sync && synced {
            rrWhile = 0
            synced = true
            sync = false
        } else if rrWhile == 0, reRoot {
            reRoot = false
        } else if sync && !synced || reRoot && rrWhile != 0 || disputed, !operEdge, learn || forward {
            (learn, forward, disputed) = (false, false, false)
            fdWhile = forwardDelay
        } else if mayAdvance, !learn {
            learn = true
            fdWhile = forwardDelay
        } else if mayAdvance, learn, !forward {
            forward = true
            fdWhile = 0
            agreed = sendRSTP
        } else {
            return false
        }
        return true
    }

    private func stepAlternate() -> Bool {
        if proposed, !agree {
            bridge.setSyncTree()
            proposed = false
        } else if bridge.allSynced && !agree || proposed && agree {
            sendAgreement()
        } else if role == .backup, rbWhile != 2 * helloTime {
            rbWhile = 2 * helloTime
        } else if fdWhile != forwardDelay || sync || reRoot || !synced {
            settle(forwardDelay)
        } else {
            return false
        }
        return true
    }

    // MARK: Topology changes (section 17.31)

    func stepTopologyChange() -> Bool {
        let isActive = role == .root || role == .designated
        let hasNews = rcvdTc || rcvdTcn || rcvdTcAck || tcProp
        switch topologyChangeState {
        case .inactive:
            guard learn, !fdbFlush else { return false }
            learnTopology()
        case .learning:
            if isActive, forward, !operEdge {
                topologyChangeState = .detected
                newTcWhile()
                bridge.setTcPropTree(from: self)
                newInfo = true
            } else if hasNews {
                learnTopology()
            } else if !isActive, !learn, !learning {
                topologyChangeState = .inactive
                fdbFlush = true
                tcWhile = 0
                tcAck = false
            } else {
                return false
            }
        case .detected, .propagating, .acknowledged: topologyChangeState = .active
        case .notified:
            if rcvdTc || rcvdTcn {
                (rcvdTc, rcvdTcn) = (false, false)
                if role == .designated { tcAck = true }
                bridge.setTcPropTree(from: self)
            }
            topologyChangeState = .active
        case .active:
            if !isActive || operEdge {
                learnTopology()
            } else if rcvdTcn || rcvdTc {
                if rcvdTcn { newTcWhile() }
                topologyChangeState = .notified
            } else if tcProp {
                topologyChangeState = .propagating
                newTcWhile()
                fdbFlush = true
                tcProp = false
            } else if rcvdTcAck {
                topologyChangeState = .acknowledged
                tcWhile = 0
                rcvdTcAck = false
            } else {
                return false
            }
        }
        return true
    }

    private func learnTopology() {
        topologyChangeState = .learning
        (rcvdTc, rcvdTcn, rcvdTcAck, tcProp) = (false, false, false, false)
    }

    private func newTcWhile() {
        guard tcWhile == 0 else { return }
        if sendRSTP {
            tcWhile = helloTime + 1
            newInfo = true
        } else {
            tcWhile = bridge.rootTimes.maxAge + bridge.rootTimes.forwardDelay
        }
    }

    // MARK: Transmission (section 17.26)

    func stepTransmit() -> Bool {
        switch transmitState {
        case .initialise, .sent:
            transmitState = .idle
            helloWhen = helloTime
            return true
        case .idle: break
        }
        // The real daemon does not wait until roles are selected, as the standard would.
        guard portEnabled, role != .disabled else { return false }
        if helloWhen == 0 {
            newInfo = newInfo || role == .designated || role == .root && tcWhile != 0
        } else if newInfo, txCount < bridge.settings.transmitHoldCount {
            if sendRSTP {
                transmit(.rapid)
            } else if role == .root {
                transmit(.topologyChangeNotification)
            } else if role == .designated {
                transmit(.configuration)
            } else {
                return false
            }
            newInfo = false
            txCount += 1
            if role != .root || sendRSTP { tcAck = false }
        } else {
            return false
        }
        transmitState = .sent
        return true
    }

    /// txRstp, txConfig and txTcn (sections 17.21.20 to 17.21.22).
    private func transmit(_ kind: BPDU.Kind) {
        var out = BPDU(kind)
        if kind != .topologyChangeNotification {
            out.root = designatedPriority.root
            out.rootPathCost = designatedPriority.cost
            out.bridge = designatedPriority.bridge
            out.port = designatedPriority.port
            func units(_ seconds: Int) -> UInt16 { UInt16(clamping: seconds * 256) }
            out.messageAge = units(designatedTimes.messageAge)
            out.maxAge = units(designatedTimes.maxAge)
            out.helloTime = units(designatedTimes.helloTime)
            out.forwardDelay = units(designatedTimes.forwardDelay)
            if tcWhile != 0 { out.flags.insert(.topologyChange) }
        }
        switch kind {
        case .topologyChangeNotification: break
        case .configuration: if tcAck { out.flags.insert(.acknowledgement) }
        case .rapid:
            switch role {
            case .disabled: return
            case .alternate, .backup: out.flags.formUnion(.role(1))
            case .root: out.flags.formUnion(.role(2))
            case .designated: out.flags.formUnion(.role(3))
            }
            if role == .designated, proposing { out.flags.insert(.proposal) }
            if agree { out.flags.insert(.agreement) }
            if learning { out.flags.insert(.learning) }
            if forwarding { out.flags.insert(.forwarding) }
        }
        transmitted += 1
        bridge.outbox.append((port, out))
    }
}

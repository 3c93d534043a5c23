// Choosing among links by a hash: the bundle and multipath actions.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    // MARK: Hashes

    /// Marks the fields of a hash as looked at.
    func consult(_ fields: HashFields) {
        func exact(_ locations: [FieldLocation]) { for l in locations { wildcards.setExact(l) } }
        func addresses() {
            if flow.ethType == EtherType.ipv4 { exact([Location.nwSrc, Location.nwDst]) }
            if flow.ethType == EtherType.ipv6 { exact([Location.ipv6Src, Location.ipv6Dst]) }
        }
        func ports(udp: Bool) {
            guard flow.isIP else { return }
            exact([Location.nwProto])
            if flow.nwProto == IPProtocol.tcp || flow.nwProto == IPProtocol.sctp || udp && flow.nwProto == IPProtocol.udp {
                exact([Location.tpSrc, Location.tpDst])
            }
        }
        switch fields {
        case .ethSrc: exact([Location.ethSrc])
        case .symmetricL4:
            exact([Location.ethSrc, Location.ethDst])
            addresses()
            ports(udp: false)
            wildcards.bits.vlanTCI |= 0x1fff
            wildcards.bits.innerVLANTCI |= 0x1fff
        case .symmetricL3L4:
            addresses()
            ports(udp: false)
        case .symmetricL3L4UDP:
            addresses()
            ports(udp: true)
        case .nwSrc:
            if flow.ethType == EtherType.ipv4 { exact([Location.nwSrc]) }
            if flow.ethType == EtherType.ipv6 { exact([Location.ipv6Src]) }
        case .nwDst:
            if flow.ethType == EtherType.ipv4 { exact([Location.nwDst]) }
            if flow.ethType == EtherType.ipv6 { exact([Location.ipv6Dst]) }
        case .symmetricL3: addresses()
        }
    }

    // MARK: Bundles and multipath

    func executeBundle(_ bundle: BundleAction) {
        func isUp(_ port: OFPort) -> Bool { owner.port(port)?.device.isLinkUp ?? false }
        var chosen: OFPort?
        switch bundle.algorithm {
        case .activeBackup: chosen = bundle.members.first(where: isUp)
        case .highestRandomWeight:
            if bundle.members.count > 1 { consult(bundle.fields) }
            let hash = flow.hash(bundle.fields, basis: UInt32(bundle.basis))
            var best: UInt32 = 0
            for (i, member) in bundle.members.enumerated() where isUp(member) {
                let score = MurmurHash.pair(UInt32(i), hash)
                if chosen == nil || score > best {
                    chosen = member
                    best = score
                }
            }
        }
        if let destination = bundle.destination {
            store(destination, UInt128((chosen ?? .none).rawValue))
        } else if let chosen {
            output(chosen, maxLength: 0)
        }
    }

    func executeMultipath(_ multipath: MultipathAction) {
        consult(multipath.fields)
        let hash = flow.hash(multipath.fields, basis: UInt32(multipath.basis))
        let links = UInt32(multipath.maxLink) + 1
        let link: UInt32
        switch multipath.algorithm {
        case .moduloN: link = hash % links
        case .hashThreshold: link = links == 1 ? 0 : min(hash / (UInt32.max / links + 1), links - 1)
        case .highestRandomWeight where links <= 64:
            link = (1..<max(links, 1)).reduce(0) {
                MurmurHash.pair(hash, $1) > MurmurHash.pair(hash, $0) ? $1 : $0
            }
        case .highestRandomWeight: link = hash % links
        case .iterativeHash:
            // Draws from a wider range until a link comes out, so that links that are added later move few.
            var modulus = multipath.argument
            if modulus < links || modulus / 2 > links {
                modulus = 1
                while modulus < links { modulus *= 2 }
            }
            var n: UInt32 = 0
            var drawn: UInt32
            repeat {
                drawn = MurmurHash.pair(hash, n) % modulus
                n += 1
            } while drawn >= links
            link = drawn
        }
        store(multipath.destination, UInt128(link))
    }
}

extension FlowKey {
    /// The hash that multipath and bundle actions use.
    func hash(_ fields: HashFields, basis: UInt32) -> UInt32 {
        switch fields {
        case .ethSrc: ethSrcHash(basis: basis)
        case .nwSrc: addressHash(source: true, basis: basis)
        case .nwDst: addressHash(source: false, basis: basis)
        case .symmetricL3: symmetricL3Hash(basis: basis)
        case .symmetricL4: symmetricL4Hash(basis: basis)
        case .symmetricL3L4: symmetricHash(basis: basis, udpPorts: false)
        case .symmetricL3L4UDP: symmetricHash(basis: basis, udpPorts: true)
        }
    }
}

import Flow
import OpenFlow
extension OFAction { static func text(_ a: [OFAction], ports: (OFPort) -> String?) -> String { "" } }
extension Match { func text(ports: (OFPort) -> String?) -> String { "" } }
extension OpenFlowSwitch {
    func learn(_ learn: LearnAction, match: Match, actions: [OFAction]) {}
}

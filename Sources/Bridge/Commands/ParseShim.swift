import Flow
import OpenFlow
struct ParseUnavailable: Error {}
extension Match { init(parsing text: String, ports: (Substring) -> OFPort?) throws { throw ParseUnavailable() } }
extension OFAction { static func parse(_ text: String, ports: (Substring) -> OFPort?) throws -> [OFAction] { throw ParseUnavailable() } }

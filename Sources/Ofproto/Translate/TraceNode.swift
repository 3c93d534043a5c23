// What `ofproto/trace` shows of a translation: a tree of tables, actions and remarks.

/// A node of a trace. Tables and bridges hold what happened in them.
public final class TraceNode {
    public enum Kind { case bridge, table, thaw, action, detail, warning, error, bucket }

    public let kind: Kind
    public let text: String
    public private(set) var children: [TraceNode] = []

    public init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }

    @discardableResult
    func add(_ kind: Kind, _ text: String) -> TraceNode {
        let node = TraceNode(kind, text)
        children.append(node)
        return node
    }

    private var isTerminal: Bool {
        switch kind {
        case .bridge, .table, .thaw: false
        case .action, .detail, .warning, .error, .bucket: true
        }
    }

    /// Prints the children. A table that ends its parent's list continues at the parent's level.
    public func print(to out: inout String, level: Int = 0) {
        for (i, node) in children.enumerated() {
            if node.kind == .bridge { out += "\n" }
            let more = node.isTerminal || i < children.count - 1 ? 1 : 0
            let indent = String(repeating: " ", count: (level + more) * 4)
            out += indent
            switch node.kind {
            case .detail: out += " -> \(node.text)\n"
            case .warning: out += " >> \(node.text)\n"
            case .error: out += " >>>> \(node.text) <<<<\n"
            case .bridge:
                out += "\(node.text)\n\(indent)\(String(repeating: "-", count: node.text.utf8.count))\n"
            case .table, .thaw, .action, .bucket: out += "\(node.text)\n"
            }
            node.print(to: &out, level: level + more + more)
        }
    }
}

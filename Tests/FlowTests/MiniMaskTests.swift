// Masks without their empty words.

import Flow
import TestSupport
import Testing

@Suite struct MiniMaskTests {
    @Test func knowsItsOwnMask() {
        var g = SeededGenerator(for: "mini masks")
        func random() -> FlowMask {
            var mask = FlowMask()
            for _ in 0..<Int.random(in: 0..<4, using: &g) {
                mask.bits.words[[0, 41, 52, 59, 64, 83].randomElement(using: &g) ?? 0] = [1, 2, .max].randomElement(using: &g) ?? 1
            }
            return mask
        }
        for _ in 0..<3000 {
            let (a, b) = (random(), random())
            let mini = MiniMask(a)
            #expect(mini.mask == a)
            #expect(mini.isSame(as: a))
            #expect(mini.isSame(as: b) == (a == b))
            #expect((mini == MiniMask(b)) == (a == b))
            #expect(Set([mini]).contains(MiniMask(a)))
        }
    }
}

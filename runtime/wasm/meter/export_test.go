package meter

import "encoding/binary"

// Instruction is an instruction that takes its operands from the stack and is not control flow.
type Instruction struct {
	Code      []byte // opcode, without immediates
	Args      string // operand types in the letters of typeOf
	Result    byte   // likewise, 0 for none
	Immediate string // "", "memory", "memory lane", "lane", "bytes"
	Safe      bool   // it is emitted in a safe form
}

// Instructions lists all instructions in the rewriter's tables, for tests that generate
// modules.
func Instructions() []Instruction {
	var list []Instruction
	add := func(prefix []byte, rows []row) {
		for _, r := range rows {
			name, ok := map[immediate]string{immNone: "", immMemory: "memory", immMemoryLane: "memory lane", immLane: "lane", immBytes16: "bytes"}[r.imm]
			if !ok {
				continue
			}
			for c := r.first; c <= r.last; c++ {
				in := Instruction{Code: append(append([]byte{}, prefix...), byte(c)), Immediate: name, Safe: r.safe != safeAsIs}
				if prefix != nil {
					in.Code = binary.AppendUvarint(append([]byte{}, prefix...), uint64(c))
				}
				for i := range len(r.sig) {
					if r.sig[i] == '>' {
						in.Args = r.sig[:i]
						if i+1 < len(r.sig) {
							in.Result = r.sig[i+1]
						}
					}
				}
				list = append(list, in)
			}
		}
	}
	add(nil, coreRows)
	add([]byte{opMisc}, miscRows)
	add([]byte{opVector}, vectorRows)
	return list
}

// AppliesSegments reports whether a rewritten module applies or drops segments itself: there
// the engine departs from the specification, so that the original is not a reference.
func AppliesSegments(b []byte) bool {
	m, err := decode(b)
	if err != nil {
		return false
	}
	w := newRewriter(m, Options{Stack: StackLimit})
	_, err = w.rewrite(len(b))
	return err == nil && len(w.placement.b) > 0
}

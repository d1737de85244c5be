package meter

// Where a branch depends on a comparison of a&b with the constant 0, wazero 1.12's compiler
// takes the flags that the and has set, whichever of the two is first and whatever the
// comparison is. They are right for eq and ne. For the others they are not where the 0 is
// first, nor, on arm64, where it is second and the comparison is unsigned. The fault needs
// no pressure on registers.
//
// Such a comparison is followed by an "or" with 0, of which the engine knows nothing: the
// branch then looks at its result. Which they are the rewriter can only tell in part: the
// and is always in the same straight line, but may have passed through locals, and any
// local may hold a constant. So each operand has an origin.

// source says what the engine may take an operand for.
type source byte

const (
	maybeZero source = 1 << iota // the constant 0
	maybeAnd                     // the result of an and in the same straight line
)

// sourceOf returns the source of the result of an integer instruction, of which the operands
// are still on the stack. The engine passes over a shift by the constant 0.
func (b *body) sourceOf(code byte) source {
	switch code {
	case opI32And, opI64And:
		return maybeAnd
	case opI32Shl, opI32ShrS, opI32ShrU, opI64Shl, opI64ShrS, opI64ShrU:
		if v := b.top(2); v != nil {
			return v[0].from
		}
	}
	return 0
}

// mistaken reports whether the engine may take the wrong flags for a comparison, of which
// the operands are still on the stack.
func (b *body) mistaken(code byte) bool {
	unsigned := false
	switch {
	case code > opI32Ne && code <= opI32GeU:
		unsigned = (code-opI32Ne)&1 == 0
	case code > opI64Ne && code <= opI64GeU:
		unsigned = (code-opI64Ne)&1 == 0
	default:
		return false
	}
	v := b.top(2)
	if v == nil {
		return false
	}
	x, y := v[0].from, v[1].from
	return x&maybeZero != 0 && y&maybeAnd != 0 || unsigned && x&maybeAnd != 0 && y&maybeZero != 0
}

// zeroOr is the source of a constant.
func zeroOr(v uint64) source {
	if v == 0 {
		return maybeZero
	}
	return 0
}

// setFrom is the source of the operand on top.
func (b *body) setFrom(from source) {
	if n := len(b.stack); n > 0 {
		b.stack[n-1].from = from
	}
}

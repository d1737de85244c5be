package meter

// If a branch depends on a comparison of a&b with the constant 0, wazero 1.12's compiler uses
// the flags that the and has set, whichever of the two is first and whatever the comparison is.
// They are right for eq and ne. For the others they are wrong if the 0 is first, and, on arm64,
// if it is second and the comparison is unsigned. The fault does not need register pressure.
//
// Such a comparison is followed by an "or" with 0, which the engine does not fuse: the branch
// then tests its result. The rewriter can only partly tell which comparisons those are: the and
// is always in the same basic block, but may have passed through locals, and any local may hold
// a constant. So each operand has a source.

// source says what the engine may mistake an operand for.
type source byte

const (
	maybeZero source = 1 << iota // the constant 0
	maybeAnd                     // the result of an and in the same basic block
)

// sourceOf returns the source of the result of an integer instruction whose operands are still
// on the stack. The engine ignores a shift by the constant 0.
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

// mistaken reports whether the engine may use the wrong flags for a comparison whose operands
// are still on the stack.
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

// zeroOr returns the source of a constant.
func zeroOr(v uint64) source {
	if v == 0 {
		return maybeZero
	}
	return 0
}

// setFrom sets the source of the topmost operand.
func (b *body) setFrom(from source) {
	if n := len(b.stack); n > 0 {
		b.stack[n-1].from = from
	}
}

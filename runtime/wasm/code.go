package wasm

import (
	"fmt"

	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Limits of one function's body. The cost of compiling a function grows faster than its size,
// most of all with nesting and with the number of branch targets, so each has a limit.
// docs/abi.md compares the limits with real programs.
const (
	maxBody     = 1 << 20 // bytes
	maxNesting  = 10_000  // nested blocks, loops and ifs
	maxLoops    = 1_000   // loops of a function
	maxTargets  = 20_000  // of all br_table of a function
	maxBranches = 16_000  // blocks, loops, ifs and br_if of a function
	maxValues   = 50_000  // parameters and results of a function's blocks
)

// body counts what the instructions of one function contain.
type body struct {
	size     int
	locals   uint64
	nesting  int // the deepest
	loops    int
	targets  int // of all br_table together
	branches int // blocks, loops, ifs and br_if
	values   int // parameters and results of the blocks
}

// wider keeps the larger of each count.
func (b *body) wider(o body) {
	b.size, b.locals, b.nesting = max(b.size, o.size), max(b.locals, o.locals), max(b.nesting, o.nesting)
	b.loops, b.targets, b.branches = max(b.loops, o.loops), max(b.targets, o.targets), max(b.branches, o.branches)
	b.values = max(b.values, o.values)
}

// check compares b with the limits.
func (b *body) check() error {
	for _, c := range []struct {
		what      string
		got, most int
	}{
		{"nested blocks", b.nesting, maxNesting},
		{"loops", b.loops, maxLoops},
		{"br_table targets", b.targets, maxTargets},
		{"blocks and conditional branches", b.branches, maxBranches},
		{"parameters and results of blocks", b.values, maxValues},
	} {
		if c.got > c.most {
			return &limitError{c.what, uint64(c.got), uint64(c.most)}
		}
	}
	return nil
}

// limitError says which limit a function exceeds.
type limitError struct {
	what      string
	got, most uint64
}

func (e *limitError) Error() string {
	return fmt.Sprintf("%d %s, want at most %d", e.got, e.what, e.most)
}

// measure reads the body of a function: its locals, then its instructions, of which it follows
// only the immediates and the nesting. The compiler checks types.
func (s *scan) measure(r *reader) (b body, err error) {
	b.size = len(r.b)
	if b.size > maxBody {
		return b, &limitError{"bytes", uint64(b.size), maxBody}
	}
	if b.locals, err = countLocals(r); err != nil {
		return b, err
	}
	for depth := 1; depth > 0 && r.err == nil; {
		op := r.byte()
		switch op {
		case 0x02, 0x03, 0x04: // block, loop, if
			b.values += s.blockType(r)
			depth++
			b.branches++
			b.nesting = max(b.nesting, depth-1)
			if op == 0x03 {
				b.loops++
			}
		case 0x0b: // end
			depth--
		case 0x0e: // br_table
			n := r.u32()
			b.targets += int(n)
			for i := uint64(0); i <= uint64(n) && r.err == nil; i++ {
				r.u32()
			}
		case 0x0d: // br_if
			b.branches++
			r.skip(1)
		default:
			s.immediates(r, op)
		}
	}
	if err := b.check(); err != nil {
		return b, err
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Errorf("%d bytes after the function's end", len(r.b)))
	}
	return b, r.err
}

// countLocals reads the local declarations of a body.
func countLocals(r *reader) (n uint64, err error) {
	for g := r.u32(); g > 0 && r.err == nil; g-- {
		n += uint64(r.u32())
		if r.byte(); n > maxLocals {
			return n, &limitError{"locals or more", n, maxLocals}
		}
	}
	return n, r.err
}

// blockType reads the type of a block: none, one value, or a type index. It returns the number
// of the block's parameters and results.
func (s *scan) blockType(r *reader) int {
	if len(r.b) > 0 && r.b[0]&0xc0 == 0x40 { // a negative number in one byte
		r.byte()
		return 1
	}
	i := r.leb(33)
	if i >= uint64(len(s.types)) {
		r.fail(fmt.Errorf("block of unknown type %d", i))
		return 0
	}
	s.uses |= usesMultiValue
	return len(s.types[i].params) + len(s.types[i].results)
}

// immediates skips the immediates of op.
func (s *scan) immediates(r *reader, op byte) {
	switch {
	case op >= 0x45 && op <= 0xbf: // numeric
	case op >= 0xc0 && op <= 0xc4:
		s.uses |= usesSignExtension
	case op >= 0x28 && op <= 0x3e: // load and store
		r.skip(2)
	case op >= 0x20 && op <= 0x24, op == 0x0c, op == 0x10: // variables, br, call
		r.skip(1)
	case op == 0x41, op == 0x42: // i32.const, i64.const
		r.skip(1)
	case op == 0x00, op == 0x01, op == 0x05, op == 0x0f, op == 0x1a, op == 0x1b:
		// unreachable, nop, else, return, drop, select
	case op == 0x11: // call_indirect
		r.skip(2)
	case op == 0x3f, op == 0x40: // memory.size, memory.grow
		r.skip(1)
	case op == 0x43: // f32.const
		r.take(4)
	case op == 0x44: // f64.const
		r.take(8)
	case op == 0x1c: // select with types
		r.take(r.u32())
		s.uses |= usesReferences
	case op == 0x25, op == 0x26, op == 0xd0, op == 0xd2: // table.get, table.set, ref.null, ref.func
		r.skip(1)
		s.uses |= usesReferences
	case op == 0xd1: // ref.is_null
		s.uses |= usesReferences
	case op == 0xfc:
		s.miscellaneous(r, r.u32())
	case op == 0xfd:
		s.vector(r, r.u32())
	case r.err == nil:
		r.fail(unknownOp(fmt.Sprintf("%#x", op), proposals[op]))
	}
}

// miscellaneous skips the immediates of an instruction with the prefix 0xfc.
func (s *scan) miscellaneous(r *reader, op uint32) {
	switch {
	case r.err != nil:
	case op <= 7:
		s.uses |= usesSaturation
	case op == 9, op == 11, op == 13: // data.drop, memory.fill, elem.drop
		r.skip(1)
		s.uses |= usesBulk
	case op == 8, op == 10, op == 12, op == 14: // init and copy
		r.skip(2)
		s.uses |= usesBulk
	case op >= 15 && op <= 17: // table.grow, size, fill
		r.skip(1)
		s.uses |= usesReferences
	default:
		r.fail(unknownOp(fmt.Sprintf("0xfc %#x", op), ""))
	}
}

// vector skips the immediates of an instruction with the prefix 0xfd.
func (s *scan) vector(r *reader, op uint32) {
	s.uses |= usesVectors
	switch {
	case r.err != nil:
	case op <= 11, op == 92, op == 93: // load and store
		r.skip(2)
	case op == 12, op == 13: // const, shuffle
		r.take(16)
	case op >= 21 && op <= 34: // lanes
		r.take(1)
	case op >= 84 && op <= 91: // loads and stores of a lane
		r.skip(2)
		r.take(1)
	case op >= 0x100:
		r.fail(unknownOp(fmt.Sprintf("0xfd %#x", op), "relaxed SIMD"))
	}
}

// skip skips n integers.
func (r *reader) skip(n int) {
	for range n {
		for i := 0; r.byte()&0x80 != 0; i++ {
			if i == 9 {
				r.fail(errLEB)
			}
		}
	}
}

// proposals maps the instructions beyond WebAssembly 2.0 to their proposals.
var proposals = map[byte]string{
	0x06: "exceptions", 0x07: "exceptions", 0x08: "exceptions", 0x09: "exceptions", 0x0a: "exceptions",
	0x18: "exceptions", 0x19: "exceptions", 0x1f: "exceptions",
	0x12: "tail calls", 0x13: "tail calls",
	0x14: "typed function references", 0x15: "typed function references",
	0xfb: "garbage collection", 0xfe: "threads",
}

func unknownOp(op, proposal string) error {
	if proposal == "" {
		return fmt.Errorf("unknown instruction %s", op)
	}
	return runtime.Refusef("instruction %s (%s) is not supported", op, proposal)
}

package meter

import "math"

// plan is the result of a function's analysis: the shape of its output.
type plan struct {
	charged bool  // its calls are charged stack, and checked: all functions except small leaves
	frame   int64 // the charge, in bytes
	split   bool  // the check at its entry is in split form
	local   bool  // fuel is kept in a local between calls
	wrapped bool  // the body is in a block, the target of branches that leave it

	keep  []uint32  // i32 locals that are kept as i64 across a refill
	flat  bool      // scalars are made canonical without a branch
	kept  uint32    // the first of the locals that hold their values
	fuel  uint32    // the local that keeps fuel
	left  uint32    // the local that holds the rest of the stack
	value [4]uint32 // scratch locals by canonForm; noLocal if unused
	added []byte    // types of the added locals

	// Scratch locals of safe forms by scratchIndex; noLocal if unused.
	scratch [10]uint32
}

const noLocal = math.MaxUint32

// keepMost is the number of locals that are kept across a refill. Each refill uses keepSlots of
// the frame for each of them: the kept value is a new value, and so is the local afterwards,
// which may live across calls of the guest.
const (
	keepMost  = 2
	keepSlots = 2
)

// makePlan decides the plan. It depends only on the function's source.
func (b *body) makePlan() *plan {
	p := &b.plan
	*p = plan{added: p.added[:0], keep: p.keep[:0], fuel: noLocal, left: noLocal}
	for i := range p.value {
		p.value[i] = noLocal
	}
	for i := range p.scratch {
		p.scratch[i] = noLocal
	}
	slots := b.maxSlots + b.frameUse.kept()
	for _, t := range b.locals {
		slots++
		if t == typeV128 {
			slots++
		}
	}
	b.chooseKeep()
	slots += keepSlots * len(p.keep) * b.asks
	p.frame = frameBase + frameSlot*int64(slots)
	p.charged = b.hasCall || p.frame > leafFrame || b.total > leafCost
	p.split = p.charged && !b.hasLoop
	p.local = b.hasLoop || b.debits > 1
	p.wrapped = b.outer && (p.local || b.hasCall)
	if p.local {
		p.fuel = b.addLocal(typeI64)
	}
	if p.charged {
		p.left = b.addLocal(typeI64)
	}
	if p.charged || b.hasLoop {
		b.planKeep()
	}
	canons := 0
	for i := range b.events {
		switch e := &b.events[i]; e.kind {
		case evCanon:
			if !b.canon(e) {
				break
			}
			if canons++; p.value[e.aux] == noLocal {
				p.value[e.aux] = b.addLocal(scratchType[e.aux])
			}
		case evSafe:
			b.planSafe(e.aux)
		}
	}
	p.flat = canons > branchedCanons
	return p
}

// branchedCanons is the number of results of a function that may be made canonical with
// branches. They are faster, but the engine's compile time grows with the square of their
// number: 32,000 took 110 s.
const branchedCanons = 1000

// chooseKeep selects the i32 locals to keep while the host is called. The engine assigns a
// frame slot to every value that lives across a call, one after the other, with 4 bytes for an
// i32: then every later i64 crosses the 8 bytes that a processor reads at once, some of them
// cross a cache line. Functions of Go, which have two i32 locals and any number of others,
// would take a tenth longer. With more than two such locals, they are placed as the engine
// decides.
func (b *body) chooseKeep() {
	p := &b.plan
	for i, t := range b.locals {
		if t == typeI32 {
			if len(p.keep) == keepMost {
				p.keep = p.keep[:0]
				return
			}
			p.keep = append(p.keep, uint32(i))
		}
	}
}

// planKeep reserves the locals to keep them in.
func (b *body) planKeep() {
	p := &b.plan
	for i := range p.keep {
		local := b.addLocal(typeI64)
		if i == 0 {
			p.kept = local
		}
	}
}

// scratchType is the type of the scratch local by canonForm.
var scratchType = [4]byte{typeF32, typeF64, typeV128, typeV128}

func (b *body) addLocal(t byte) uint32 {
	b.plan.added = append(b.plan.added, t)
	return uint32(len(b.locals) + len(b.plan.added) - 1)
}

// canon reports whether the value of an evCanon must be made canonical.
func (b *body) canon(e *event) bool {
	how := uint8(seenF32)
	if e.aux == canonF64 || e.aux == canonF64x2 {
		how = seenF64
	}
	return b.nan.seen[e.arg]&how != 0
}

package meter

import "math"

// plan is what the analysis of a function came to: the shape of its output.
type plan struct {
	charged bool  // calls of it are charged stack, and checked: all but small leaves
	frame   int64 // the charge, in bytes
	split   bool  // the check at its entry is in split form
	local   bool  // fuel is kept in a local between calls
	wrapped bool  // the body stands in a block, where branches out of it lead

	keep  []uint32  // the locals of i32 that are kept as i64 across a refill
	flat  bool      // scalars are made canonical without a branch
	kept  uint32    // the first of the locals that take their values
	fuel  uint32    // the local that keeps fuel
	left  uint32    // the local that holds what is left of the stack
	value [4]uint32 // scratch locals by canonForm; noLocal if unused
	added []byte    // types of the added locals

	// Scratch locals of safe forms by scratchIndex; noLocal if unused.
	scratch [10]uint32
}

const noLocal = math.MaxUint32

// keepMost is the number of locals that are kept across a refill. Each time takes keepSlots
// of the frame for each of them: what is kept there is a value of its own, and so is the
// local from then on, which may live across calls of the guest's.
const (
	keepMost  = 2
	keepSlots = 2
)

// makePlan decides. All of it depends on the function's source alone.
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

// branchedCanons is the number of results in a function that may be made canonical by
// branches. They are quicker, but what the engine takes to compile grows with the square of
// their number: 32,000 took 110 s.
const branchedCanons = 1000

// chooseKeep finds the locals of i32 that are to be kept while the host is asked. The engine
// gives a place in the frame to all that lives across a call, one behind the other and 4
// bytes to an i32: then every i64 behind it lies across the 8 bytes that a processor reads
// at once, some across two lines of its cache. Functions of Go, which have two locals of
// i32 and any number of others, would take a tenth longer. Where there are more than two
// they come to lie as they may.
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

// planKeep reserves locals to keep them in.
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

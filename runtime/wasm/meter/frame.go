package meter

import "math"

// frameUse counts, for the stack charge, the values of a function that the engine has to
// keep in memory: those that live across a call, and those that outlive so many others
// that there is no register left. wazero gives each such value a place of its own in
// the frame, however few locals there are for them to pass through: without this, a
// recursion of a function that calls often would fill the engine's stack long before
// the guest's.
//
// The count follows the text: a value lives across a call if one stands between where
// it comes from (a local is set, an operand is pushed) and where it is used. What a
// local holds through a loop is its one slot, which is charged in any case. A loop
// counts as a call, for its check may be one.
type frameUse struct {
	calls  uint32 // so far
	sets   uint32 // of locals so far
	spills int    // slots of the values counted
	locals []origin
}

// origin is how far the function was when a local was last set.
type origin struct {
	calls, sets uint32
}

// counted is the origin of values that have a slot already.
var counted = origin{math.MaxUint32, math.MaxUint32}

// registers is the number of locals set after which an older value is taken to have
// lost its register: amd64 has 14 and 15 to give.
const registers = 10

func (f *frameUse) reset(locals int) {
	f.calls, f.sets, f.spills = 0, 0, 0
	f.locals = f.locals[:0]
	for range locals {
		f.locals = append(f.locals, counted)
	}
}

func (f *frameUse) set(local uint32) {
	f.locals[local] = origin{f.calls, f.sets}
	f.sets++
}

func (f *frameUse) get(local uint32, t byte) {
	if o := f.locals[local]; o.calls < f.calls || o != counted && f.sets-o.sets > registers {
		f.spills += slots(t)
		f.locals[local] = counted
	}
}

// pop notes the use of an operand of type t that was pushed after born calls.
func (f *frameUse) pop(born uint32, t byte) {
	if born < f.calls {
		f.spills += slots(t)
	}
}

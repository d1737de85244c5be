package meter

// frameUse counts, for the stack charge, the values of a function that the engine has to keep
// in memory: those that live across a call, and those that outlive so many others that no
// register is left. wazero gives each such value its own slot in the frame, however few locals
// they pass through: without this, a recursion of a function that calls often would fill the
// engine's stack long before the guest's.
//
// The count follows program order: a value lives across a call if a call is between the
// position where it is created (a local is set, an operand is pushed) and the one where it is
// used. A loop counts as a call, because its check may be one.
//
// Where control-flow paths merge (see merge.go), the value of a local is a new value, made of
// its values on each of the paths: each of them is used there, but only if the new one is used
// in turn. So the frame slots of these are the new value's debt, until then.
type frameUse struct {
	calls   uint32 // so far
	made    uint32 // values that take a register, so far
	spills  int    // slots of the values counted
	passed  int    // bytes of call arguments
	locals  []held
	changes []change // of locals, in the order of the text; see frame.changes
}

// origin is the position in the function at which a value was created.
type origin struct {
	calls, made uint32
}

// held is the current value of a local.
type held struct {
	origin
	debt   uint32 // slots of values that are used if this one is
	kept   bool   // it has a slot already
	merged bool   // it was made where paths merge
	read   uint32 // frameUse.made at the last read of a value that the innermost loop has not set
	stamp  uint32 // used by merge
	inside uint32 // used by merge: slots of values that were set in the frame
}

// change records that a local was set: its debt, and the value's own slots if it needs them.
type change struct {
	local, debt uint32
}

// registers is the number of later values after which an older one is assumed to have lost its
// register: amd64 has 14 and 15 available. lowOperands is the number of operands that are
// assumed not to add to that.
const (
	registers   = 10
	lowOperands = 4
)

func (f *frameUse) reset(locals []byte) {
	f.calls, f.made, f.spills, f.passed = 0, 1, 0, 0
	f.locals, f.changes = f.locals[:0], f.changes[:0]
	for range locals {
		f.locals = append(f.locals, held{kept: true}) // in the slot that is charged for the local
	}
}

func (f *frameUse) now() origin { return origin{f.calls, f.made} }

// inMemory reports whether a value made at o must be in memory to be used now.
func (f *frameUse) inMemory(o origin) bool {
	return o.calls < f.calls || f.made-o.made > registers
}

func (f *frameUse) set(local uint32, t byte) {
	h := &f.locals[local]
	f.changes = append(f.changes, change{local, f.owed(h, t)})
	h.origin, h.debt, h.kept, h.merged = f.now(), 0, false, false
	f.made++
}

// owed returns the frame slots that h needs if it is used now.
func (f *frameUse) owed(h *held, t byte) uint32 {
	if !h.kept && f.inMemory(h.origin) {
		return h.debt + uint32(slots(t))
	}
	return h.debt
}

// get records the use of a local in a loop that began at start.
func (f *frameUse) get(local uint32, t byte, start uint32) {
	h := &f.locals[local]
	if h.merged || h.made < start {
		h.read = f.made
	}
	if !h.kept || h.debt > 0 {
		f.use(h, t)
	}
}

func (f *frameUse) use(h *held, t byte) {
	f.spills += int(f.owed(h, t))
	h.kept, h.debt = h.kept || f.inMemory(h.origin), 0
}

// push records a new operand above height others.
func (f *frameUse) push(height int) {
	if height >= lowOperands {
		f.made++
	}
}

// pop records the use of an operand of type t.
func (f *frameUse) pop(born origin, t byte) {
	if f.inMemory(born) {
		f.spills += slots(t)
	}
}

// call records a call. An argument may have been computed in the register in which another of
// them, or the index of an indirect call, must be passed, and is kept in memory then.
func (f *frameUse) call(params []byte, indirect bool) {
	f.calls++
	if len(params) == 1 && !indirect {
		return
	}
	for _, t := range params {
		if t == typeI32 || t == typeF32 {
			f.passed += 4
		} else {
			f.passed += 8 * slots(t)
		}
	}
}

// kept returns the number of slots for all that the engine keeps in memory.
func (f *frameUse) kept() int { return f.spills + (f.passed+7)/8 }

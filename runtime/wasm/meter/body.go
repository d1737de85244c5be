package meter

import "slices"

// body analyses one function and then emits it. It is reused for all functions, so that its
// slices are allocated once.
type body struct {
	reader
	w     *rewriter
	index uint32 // in the guest's function space
	typ   funcType

	groups   int    // of local declarations
	first    int    // position of the first instruction
	declared []byte // their bytes
	locals   []byte // types of parameters and locals
	nodes    []int32
	ands     []source // by local: maybeAnd if the last set in program order was of such a value

	stack    []value
	slots    int // height of stack, in slots
	maxSlots int
	frames   []frame
	live     bool
	events   []event
	targets  []uint32 // of br_tables: count, labels
	nan      dataflow
	debit    int // index in events of the open charged block
	cost     uint32
	splits   int32
	hasLoop  bool
	hasCall  bool
	outer    bool   // a br_if or br_table leaves the function
	called   bool   // since the last call of the open block, fuel is only in the global
	lower    int    // the evLower of the outermost open block, or of the last such
	lowered  bool   // an evLower has been chosen
	callsRun uint16 // calls since the last check, on the path with the most
	asks     int    // loops and other checks after the entry check
	total    uint64 // cost of all charged blocks
	debits   int    // charged blocks that cost something
	frameUse frameUse
	merges   uint32 // merges so far, in all functions
	loopAt   uint32 // start of the innermost loop

	plan plan
}

// value is an operand: its type, the node that its bits come from, the position in the function
// when it was pushed, and what the engine may mistake it for.
type value struct {
	node int32
	born origin
	typ  byte
	from source
}

// frame is an open block, loop, if or function body.
type frame struct {
	typ      funcType
	height   int32 // of the stack below its parameters
	slots    int32
	splits   int32  // number of split loops from the outermost frame to this one
	results  int32  // node of the first result
	debit    int32  // of a loop: the charged block that begins at its head
	changes  int32  // length of frameUse.changes at its beginning
	start    uint32 // frameUse.made at its beginning
	around   uint32 // of a loop: the start of the enclosing loop
	before   uint16 // callsRun at its beginning
	calls    uint16 // callsRun at its label, or of an if at its beginning
	op       byte
	split    bool // loop that is emitted in split form
	targeted bool // a live branch leads to its label
	armLive  bool // the end of the if's first arm is reachable
}

// bare reports whether branches to the frame's label carry no values.
func (f *frame) bare() bool {
	if f.op == opLoop {
		return len(f.typ.params) == 0
	}
	return len(f.typ.results) == 0
}

func (b *body) analyse(index uint32, typ funcType, src section) error {
	b.reader = reader{b: src.content, base: src.base}
	b.index, b.typ = index, typ
	b.stack, b.frames, b.events, b.targets = b.stack[:0], b.frames[:0], b.events[:0], b.targets[:0]
	b.slots, b.maxSlots, b.splits = 0, 0, 0
	b.hasLoop, b.hasCall, b.outer, b.called, b.lowered = false, false, false, false, false
	b.callsRun, b.asks, b.total, b.debits, b.loopAt = 0, 0, 0, 0, 0
	b.nan.reset(len(src.content))
	if len(src.content) > maxBody {
		return &LimitError{What: "bytes", Func: int(index), Max: maxBody}
	}
	if err := b.readLocals(); err != nil {
		return err
	}
	b.push(frame{op: opCall, typ: funcType{results: typ.results}, results: noNode})
	b.live = true
	b.openBlock()
	for len(b.frames) > 0 && b.err == nil {
		b.step()
	}
	if b.err == nil && !b.done() {
		b.fail("bytes after the function's end")
	}
	if b.err != nil {
		switch err := b.err.(type) {
		case *MalformedError:
			err.Func = int(index)
		case *LimitError:
			err.Func = int(index)
		}
		return b.err
	}
	b.nan.solve()
	return b.w.err
}

func (b *body) readLocals() error {
	b.locals = append(b.locals[:0], b.typ.params...)
	b.groups = b.count("groups of locals")
	start := b.p
	for range b.groups {
		n := b.u32()
		t := b.valueType()
		if uint64(n)+uint64(len(b.locals)) > maxLocals {
			return &LimitError{What: "locals", Func: int(b.index), Max: maxLocals}
		}
		for range n {
			b.locals = append(b.locals, t)
		}
	}
	b.spend(len(b.locals))
	b.frameUse.reset(b.locals)
	b.declared = b.b[min(start, b.p):b.p]
	b.first = b.p
	b.nodes = slices.Grow(b.nodes[:0], len(b.locals))[:len(b.locals)]
	for i := range b.nodes {
		b.nodes[i] = noNode
	}
	b.ands = slices.Grow(b.ands[:0], len(b.locals))[:len(b.locals)]
	clear(b.ands)
	return nil
}

// spend deducts n steps from the work that a module of this size may cause.
func (b *body) spend(n int) {
	if b.w.work -= n; b.w.work < 0 {
		b.stop("values moved by blocks and calls, and locals", 0)
	}
}

// stop ends the analysis because a limit of this package is exceeded.
func (b *body) stop(what string, limit int) {
	if b.err == nil {
		b.err = &LimitError{What: what, Max: limit}
		b.p = len(b.b)
	}
}

// localIndex reads a local's index and returns it with its type.
func (b *body) localIndex() (uint32, byte) {
	i := b.u32()
	if int(i) >= len(b.locals) {
		b.fail("local index %d, want less than %d", i, len(b.locals))
		return 0, typeI32
	}
	return i, b.locals[i]
}

// localNode returns the node of a local that may hold a NaN.
func (b *body) localNode(i uint32, t byte) int32 {
	if !carriesNaN(t) {
		return noNode
	}
	if b.nodes[i] == noNode {
		b.nodes[i] = b.nan.node(1)
	}
	return b.nodes[i]
}

func (b *body) pushValue(t byte, node int32) {
	b.frameUse.push(len(b.stack))
	b.stack = append(b.stack, value{node: node, born: b.frameUse.now(), typ: t})
	b.slots++
	if t == typeV128 {
		b.slots++
	}
	if b.slots > b.maxSlots {
		b.maxSlots = b.slots
	}
}

// popValue pops the topmost operand of the open frame.
func (b *body) popValue() value {
	n := len(b.stack) - 1
	if n < int(b.frames[len(b.frames)-1].height) {
		b.fail("missing operand on the stack")
		return value{node: noNode, typ: typeI32}
	}
	v := b.stack[n]
	b.stack = b.stack[:n]
	b.slots -= slots(v.typ)
	b.frameUse.pop(v.born, v.typ)
	return v
}

// popSeen pops n operands whose bits are observed.
func (b *body) popSeen(n int) {
	for range n {
		b.nan.see(b.popValue().node, seenAll)
	}
}

// pushSeen pushes values that are canonical or only moved.
func (b *body) pushSeen(types []byte) {
	for _, t := range types {
		b.pushValue(t, noNode)
	}
}

// top returns the n topmost operands of the open frame.
func (b *body) top(n int) []value {
	at := len(b.stack) - n
	if at < int(b.frames[len(b.frames)-1].height) {
		b.fail("missing operand on the stack")
		return nil
	}
	return b.stack[at:]
}

// openBlock begins a charged block at the current position.
func (b *body) openBlock() {
	b.debit = len(b.events)
	b.cost = 0
	b.event(evDebit, b.p, 0, 0)
}

// closeBlock records the cost of the open charged block. The instruction that ends it is at
// position at.
func (b *body) closeBlock(at int) {
	b.settle(at)
	b.events[b.debit].arg = b.cost
	b.total += uint64(b.cost)
	if b.cost > 0 {
		b.debits++
	}
}

// settle reloads fuel from the global before the instruction at position at, if there was a
// call.
func (b *body) settle(at int) {
	if b.called {
		b.called = false
		b.events = append(b.events, event{pos: int32(at), end: int32(at), kind: evReload})
	}
}

// mayLower records a position, outside of all blocks, where the frame may be deducted from the
// stack. The first call fixes the last recorded position.
func (b *body) mayLower(at int) {
	b.lower = len(b.events)
	b.events = append(b.events, event{pos: int32(at), end: int32(at), kind: evLower})
}

// inGlobal returns the aux of an event that accepts fuel in the global.
func (b *body) inGlobal() byte {
	if b.called {
		return 1
	}
	return 0
}

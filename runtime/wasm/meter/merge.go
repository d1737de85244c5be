package meter

// Where two paths through a function merge, at the end of a frame or the head of a loop, the
// engine has one place for the value of each local that was set on either, and moves the
// local's value there: also on the path that has set nothing. Branches do the same with the
// values that they carry. Both may be thousands, for the fuel of one instruction: an if that is
// never taken, with 20,000 sets in it, took 100 us each time. Beyond freeMoves slots each slot
// costs 1, where the path arrives.

// movePrice returns the price of moving that many slots at once.
func movePrice(slots int) uint32 { return uint32(max(0, slots-freeMoves)) }

// changed returns the locals that were set since f began, each once, with the sum of their
// debts in held.inside, and the number of their slots.
func (b *body) changed(f *frame) (once []change, n int) {
	u := &b.frameUse
	changes := u.changes[f.changes:]
	b.spend(len(changes))
	b.merges++
	once = changes[:0]
	for _, c := range changes {
		h := &u.locals[c.local]
		if h.stamp != b.merges {
			h.stamp, h.inside = b.merges, 0
			once = append(once, change{local: c.local})
			n += slots(b.locals[c.local])
		}
		h.inside += c.debt
	}
	u.changes = u.changes[:int(f.changes)+len(once)]
	return once, n
}

// merge ends the frame f, to whose end several paths may lead. It returns the number of slots
// that move there.
func (b *body) merge(f *frame) int {
	once, n := b.changed(f)
	u := &b.frameUse
	for _, c := range once {
		h := &u.locals[c.local]
		h.debt = h.inside + u.owed(h, b.locals[c.local])
		h.origin, h.kept, h.merged = u.now(), false, true
	}
	return n
}

// headValues is the number of values of a local at the head of a loop: two in its split form.
const headValues = 2

// mergeAtHead ends the loop f, to whose head branches lead. The value of a local at the head is
// a new value, too, if it is read before it is set; otherwise the value after the loop may be
// made of it.
func (b *body) mergeAtHead(f *frame) int {
	once, n := b.changed(f)
	u := &b.frameUse
	for _, c := range once {
		h, t := &u.locals[c.local], b.locals[c.local]
		debt := h.inside + headValues*uint32(slots(t))
		if h.read >= f.start && h.read > 0 {
			u.spills += int(debt)
			u.use(h, t)
		} else {
			h.debt += debt
		}
	}
	return n
}

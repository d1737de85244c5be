package meter

// Where two ways through a function meet, at the end of a frame or the head of a loop, the
// engine has one place for the value of each local that was set on either, and moves there
// what the local holds: also on the way that has set nothing. So do branches with the
// values that they carry. Both may be thousands, for the fuel of one instruction: an if
// that is never taken, with 20,000 sets in it, took 100 us each time. What is beyond
// freeMoves slots costs 1 for each, where it arrives.

// movePrice is the price of values of so many slots that move at once.
func movePrice(slots int) uint32 { return uint32(max(0, slots-freeMoves)) }

// changed returns the locals that were set since f began, each once, with the sum of
// their debts in held.inside, and the number of their slots.
func (b *body) changed(f *frame) (once []change, n int) {
	u := &b.frameUse
	changes := u.changes[f.changes:]
	b.spend(len(changes))
	b.meets++
	once = changes[:0]
	for _, c := range changes {
		h := &u.locals[c.local]
		if h.stamp != b.meets {
			h.stamp, h.inside = b.meets, 0
			once = append(once, change{local: c.local})
			n += slots(b.locals[c.local])
		}
		h.inside += c.debt
	}
	u.changes = u.changes[:int(f.changes)+len(once)]
	return once, n
}

// meet ends the frame f, to whose end more than one way may lead. It returns the number
// of slots that move there.
func (b *body) meet(f *frame) int {
	once, n := b.changed(f)
	u := &b.frameUse
	for _, c := range once {
		h := &u.locals[c.local]
		h.debt = h.inside + u.owed(h, b.locals[c.local])
		h.origin, h.kept, h.met = u.now(), false, true
	}
	return n
}

// headValues are the values that a local has at the head of a loop: two in its split form.
const headValues = 2

// meetAtHead ends the loop f, to whose head branches lead. What a local holds at the head
// is a value, too, if it is read before it is set; else it is what the local holds behind
// the loop that may be made of it.
func (b *body) meetAtHead(f *frame) int {
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

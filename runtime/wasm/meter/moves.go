package meter

// Where two ways through a function meet, the engine has one place for the value of each
// local that was set on either, and moves there what the local holds: also on the way that
// has set nothing. So do branches with the values that they carry. Both may be thousands,
// for the fuel of one instruction: an if that is never taken, with 20,000 sets in it, took
// 100 us each time. What is beyond freeMoves slots costs 1 for each, where it arrives.
//
// moves keeps the locals that were set, in the order of the text: those that a frame has
// set stand behind what frame.changes says. A frame's end leaves each of them once.
type moves struct {
	changes []uint32
	stamps  []uint32 // by local: the last count that has met it
	counts  uint32
}

func (m *moves) reset(locals int) {
	m.changes, m.stamps = m.changes[:0], m.stamps[:0]
	for range locals {
		m.stamps = append(m.stamps, 0)
	}
	m.counts = 0
}

// moved is the number of slots of the locals that were set since f began.
func (b *body) moved(f *frame) int {
	m := &b.moves
	m.counts++
	changes := m.changes[f.changes:]
	b.spend(len(changes))
	once, n := changes[:0], 0
	for _, i := range changes {
		if m.stamps[i] != m.counts {
			m.stamps[i] = m.counts
			once = append(once, i)
			n += slots(b.locals[i])
		}
	}
	m.changes = m.changes[:f.changes+len(once)]
	return n
}

// movePrice is the price of values of so many slots that move at once.
func movePrice(slots int) uint32 { return uint32(max(0, slots-freeMoves)) }

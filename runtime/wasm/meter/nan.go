package meter

import "slices"

// A NaN has many bit patterns, and which of them arithmetic produces depends on the machine. So
// the result of float arithmetic is made canonical, unless its bits cannot be observed: a value
// that only feeds further arithmetic and comparisons need not be.
//
// dataflow decides that for a whole function. Its nodes are the fresh results, the float
// locals, and the results of blocks and of instructions that only move bits. An edge says that
// a value flows from one node into another; a node is seen if its bits are observed, or if it
// flows into one that is seen. Locals are one node each, whatever the order of gets and sets:
// too many values may become canonical, never too few.
//
// Values are seen in two ways, since an f64 lane that is read as two f32 lanes shows its bits,
// and vice versa.
type dataflow struct {
	seen  []uint8
	edges []edge
	fresh int // number of results that may need canonical form
	limit int // of edges, and of nodes for the results of blocks

	first, next, work []int32 // scratch of solve
}

type edge struct{ from, to int32 }

const (
	seenF32 = 1 << iota // observed other than as f32 lanes
	seenF64             // observed other than as f64 lanes
	seenAll = seenF32 | seenF64
)

const noNode = int32(-1)

// reset begins a function of size bytes. Blocks and branches with many values can create more
// nodes and edges than there are instructions: beyond the limit, values count as seen.
func (d *dataflow) reset(size int) {
	d.limit = 64 + 2*size
	d.seen = d.seen[:0]
	d.edges = d.edges[:0]
	d.fresh = 0
}

// node adds n nodes and returns the first.
func (d *dataflow) node(n int) int32 {
	first := int32(len(d.seen))
	for range n {
		d.seen = append(d.seen, 0)
	}
	return first
}

// results adds nodes for the results of a block, if one of them can hold a NaN.
func (d *dataflow) results(types []byte) int32 {
	if slices.ContainsFunc(types, carriesNaN) && len(d.seen)+len(types) <= d.limit {
		return d.node(len(types))
	}
	return noNode
}

func (d *dataflow) see(node int32, how uint8) {
	if node >= 0 {
		d.seen[node] |= how
	}
}

func (d *dataflow) flow(from, to int32) {
	if from < 0 {
		return
	}
	if to < 0 || len(d.edges) >= d.limit {
		d.seen[from] = seenAll
		return
	}
	d.edges = append(d.edges, edge{from, to})
}

// solve propagates what is seen backwards along the edges. Each node changes at most twice, so
// the time is linear.
func (d *dataflow) solve() {
	if d.fresh == 0 {
		return
	}
	n := len(d.seen)
	// The edges into node i are a linked list: first[i], then next of it, 0 at its end.
	d.first = append(d.first[:0], make([]int32, n)...)
	d.next = append(d.next[:0], make([]int32, len(d.edges)+1)...)
	for i, e := range d.edges {
		d.next[i+1] = d.first[e.to]
		d.first[e.to] = int32(i + 1)
	}
	d.work = d.work[:0]
	for i, s := range d.seen {
		if s != 0 && d.first[i] != 0 {
			d.work = append(d.work, int32(i))
		}
	}
	for len(d.work) > 0 {
		to := d.work[len(d.work)-1]
		d.work = d.work[:len(d.work)-1]
		for i := d.first[to]; i != 0; i = d.next[i] {
			from := d.edges[i-1].from
			if s := d.seen[from] | d.seen[to]; s != d.seen[from] {
				d.seen[from] = s
				d.work = append(d.work, from)
			}
		}
	}
}

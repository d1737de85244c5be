//go:build wasip1

package main

import (
	"slices"
	"strings"

	liftoff "github.com/ipfs-liftoff/liftoff/abi/go"
)

// graph is the shape of the walked DAGs: blocks by number, in the order in which
// they were finished, so that every block comes after all blocks that it links to.
type graph struct {
	number map[liftoff.CID]int
	blocks []block
}

type block struct {
	codec liftoff.Codec
	size  int
	links []int // numbers of blocks; one that is linked twice is here twice
}

// row is one line of the result. Depth is the number of links on the longest path
// from an input to a block of the codec.
type row struct {
	Codec  string `json:"codec"`
	Blocks int    `json:"blocks"`
	Bytes  int    `json:"bytes"`
	Links  int    `json:"links"`
	Depth  int    `json:"depth"`
}

type summary struct {
	Codecs []row `json:"codecs"` // sorted by name
	Total  row   `json:"total"`
}

func newGraph() *graph { return &graph{number: map[liftoff.CID]int{}} }

// walk adds what h reaches. It holds one handle per level, so it goes as deep as
// the ABI allows handles.
func (g *graph) walk(h liftoff.Handle) error {
	_, err := g.visit(h)
	return err
}

func (g *graph) visit(h liftoff.Handle) (number int, err error) {
	cid, err := h.CID()
	if err != nil {
		return 0, err
	}
	if n, ok := g.number[cid]; ok {
		return n, nil
	}
	var b block
	if b.codec, err = h.Codec(); err != nil {
		return 0, err
	}
	if b.size, err = h.BlockSize(); err != nil {
		return 0, err
	}
	for link, err := range h.Links() {
		if err != nil {
			return 0, err
		}
		n, err := g.visit(link)
		if err != nil {
			return 0, err
		}
		if err := link.Close(); err != nil {
			return 0, err
		}
		b.links = append(b.links, n)
	}
	g.blocks = append(g.blocks, b)
	g.number[cid] = len(g.blocks) - 1
	return len(g.blocks) - 1, nil
}

func (g *graph) summary() summary {
	depths := g.depths()
	rows := map[string]*row{}
	total := row{Codec: "total"}
	for i, b := range g.blocks {
		name := b.codec.String()
		if rows[name] == nil {
			rows[name] = &row{Codec: name}
		}
		rows[name].add(b, depths[i])
		total.add(b, depths[i])
	}
	s := summary{Codecs: []row{}, Total: total}
	for _, r := range rows {
		s.Codecs = append(s.Codecs, *r)
	}
	slices.SortFunc(s.Codecs, func(a, b row) int { return strings.Compare(a.Codec, b.Codec) })
	return s
}

// depths returns the length of the longest path to each block. From the last block
// to the first, all blocks that link to a block come before it.
func (g *graph) depths() []int {
	depths := make([]int, len(g.blocks))
	for i, b := range slices.Backward(g.blocks) {
		for _, l := range b.links {
			depths[l] = max(depths[l], depths[i]+1)
		}
	}
	return depths
}

func (r *row) add(b block, depth int) {
	r.Blocks++
	r.Bytes += b.size
	r.Links += len(b.links)
	r.Depth = max(r.Depth, depth)
}

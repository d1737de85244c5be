package dag

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
)

// The rest of a CAR is the set of its blocks that its roots do not lead to, as far as links can be read. If a block
// below the roots is opaque, the rest belongs to the roots anyway: the program that made the CAR could read the
// block. The rest is stored as a list that links to it, and written to a CAR of the same roots. It may contain too
// many blocks, but never too few.

// restList is the maximum number of links in a block of a list: about 340 KiB.
const restList = 8 << 10

// RestList returns the blocks of a list of links. The last one is the root, a list of lists.
func RestList(links []cid.Cid) ([]Block, error) {
	if most := restList * restList; len(links) > most {
		return nil, fmt.Errorf("list of the other blocks of a CAR: got %d links, want at most %d", len(links), most)
	}
	var all []Block
	var lists []cid.Cid
	for part := range slices.Chunk(links, restList) {
		b := linkList(part)
		all, lists = append(all, b), append(lists, b.cid)
	}
	return append(all, linkList(lists)), nil
}

func linkList(links []cid.Cid) Block {
	b := appendCBORHead(nil, cborArray, uint64(len(links)))
	for _, c := range links {
		b = appendCBORLink(b, c)
	}
	return NewBlock(cid.DagCBOR, b)
}

// RestLinks returns the links of the list at root.
func RestLinks(ctx context.Context, bs Blocks, root cid.Cid) (links []cid.Cid, err error) {
	b, err := Load(ctx, bs, root)
	if err != nil {
		return nil, err
	}
	lists, err := Links(b)
	if err != nil {
		return nil, err
	}
	for _, c := range lists {
		if b, err = Load(ctx, bs, c); err != nil {
			return nil, err
		}
		some, err := Links(b)
		if err != nil {
			return nil, err
		}
		links = append(links, some...)
	}
	return links, nil
}

// Imported is the result of ImportAll.
type Imported struct {
	Roots []cid.Cid
	cids  []byte // of all blocks, concatenated: 36 bytes each
}

// ImportAll is ImportCAR, and records which blocks the CAR contains.
func ImportAll(ctx context.Context, r io.Reader, bs Blocks) (Imported, error) {
	rec := &recorder{Blocks: bs}
	var to Blocks = rec
	if copiesOnPut(bs) {
		to = copyingRecorder{rec}
	}
	roots, err := ImportCAR(ctx, r, to)
	return Imported{roots, rec.cids}, err
}

// Rest returns the blocks of the CAR that roots do not lead to; of a DAG among them only its root.
func (i Imported) Rest(ctx context.Context, bs Blocks, roots []cid.Cid) (rest []cid.Cid, err error) {
	known := map[string]bool{} // by multihash: blocks below roots, or linked to by another block of the CAR
	o := WalkOptions{Missing: true, Opaque: func(cid.Cid, error) ([]cid.Cid, error) { return nil, nil }}
	err = Walk(ctx, bs, roots, o, func(v Visited) error {
		known[string(v.CID.Hash())] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	var others []cid.Cid
	for b := i.cids; len(b) > 0; {
		n, c, err := cid.CidFromBytes(b)
		if err != nil {
			return nil, err
		}
		if b = b[n:]; !known[string(c.Hash())] {
			others = append(others, c)
		}
	}
	for _, c := range others {
		if !HasLinks(c.Type()) {
			continue
		}
		b, err := Load(ctx, bs, c)
		if err != nil {
			return nil, err
		}
		links, _ := Links(b) // an opaque block has no known links
		for _, l := range links {
			known[string(l.Hash())] = true
		}
	}
	for _, c := range others {
		if !known[string(c.Hash())] {
			known[string(c.Hash())] = true
			rest = append(rest, c)
		}
	}
	return rest, nil
}

// recorder is a set of blocks that records what is put.
type recorder struct {
	Blocks

	mu   sync.Mutex
	cids []byte
}

func (r *recorder) Put(ctx context.Context, bs ...Block) error {
	if err := r.Blocks.Put(ctx, bs...); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range bs {
		r.cids = append(r.cids, b.cid.KeyString()...)
	}
	return nil
}

// copyingRecorder is a recorder for a CopyingPutter.
type copyingRecorder struct{ *recorder }

func (copyingRecorder) PutCopies() {}

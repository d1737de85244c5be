package dag

import "github.com/ipfs/go-cid"

// maxCachedNodes limits the inner nodes that a File caches, in bytes of memory: enough for about 250 nodes of 1,024
// links.
const maxCachedNodes = 32 << 20

// nodeCache caches the tables of inner nodes. When it is full, it drops all of them, which costs a reader as many
// reads as the file is deep.
type nodeCache struct {
	nodes map[cid.Cid]piece
	bytes int
}

func (n *nodeCache) get(c cid.Cid) (piece, bool) {
	p, ok := n.nodes[c]
	return p, ok
}

func (n *nodeCache) add(p piece) {
	if _, ok := n.nodes[p.cid]; ok {
		return
	}
	if n.nodes == nil || n.bytes+p.memory > maxCachedNodes {
		n.nodes, n.bytes = make(map[cid.Cid]piece), 0
	}
	n.nodes[p.cid] = p
	n.bytes += p.memory
}

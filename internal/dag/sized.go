package dag

import "github.com/ipfs/go-cid"

// SizedLink is a link with the size of the linked block, as far as the linking block states it.
type SizedLink struct {
	CID  cid.Cid
	Size uint64 // size of the block in bytes, or 0 if unknown
	// Sure means that readers of the file enforce Size; otherwise it is an unchecked claim of the writer.
	Sure bool
}

// SizedLinks is [Links] with the sizes of raw leaves: in a UnixFS file they are the sizes of the file's parts, in a
// directory the sizes that the links claim, otherwise 0.
func SizedLinks(b Block) ([]SizedLink, error) {
	if b.cid.Type() != cid.DagProtobuf {
		links, err := Links(b)
		all := make([]SizedLink, len(links))
		for i, c := range links {
			all[i].CID = c
		}
		return all, err
	}
	n, err := parsePB(b.data)
	if err != nil {
		return nil, formatErrorf(b.cid, "dag-pb: %v", err)
	}
	fs, err := parseFS(n.data)
	file := err == nil && (fs.typ == fsFile || fs.typ == fsRaw) && len(fs.blockSizes) == len(n.links)
	all := make([]SizedLink, len(n.links))
	for i, l := range n.links {
		all[i].CID = l.cid
		if l.cid.Type() != cid.Raw {
			continue
		}
		switch {
		case file && fs.blockSizes[i] <= MaxBlock:
			all[i].Size, all[i].Sure = fs.blockSizes[i], true
		case !file && l.tsize <= MaxBlock:
			all[i].Size = l.tsize
		}
	}
	return all, nil
}

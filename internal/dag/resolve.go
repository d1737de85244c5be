package dag

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
)

// Resolved is where a Path leads: to a block or, with Node, to a value inside one.
type Resolved struct {
	CID  cid.Cid
	Node datamodel.Node // nil unless the path ends inside a dag-cbor block, at no link
}

// Resolve walks p through directories, plain and sharded, and through the keys and
// indexes of dag-cbor blocks; a link in one is followed at once. Symlinks are not
// followed. It reads the blocks on the way and not the one that it ends at, unless it
// ends inside it. The error is a *NoEntryError, a *NotDirError, a *NotFoundError, a
// *FormatError or that of bs, wrapped with the path.
func Resolve(ctx context.Context, bs Blocks, p Path) (Resolved, error) {
	at := Resolved{CID: p.Root}
	for i := 0; i < len(p.Segments); {
		next, used, err := step(ctx, bs, at.CID, p.Segments[i:])
		if err != nil {
			return Resolved{}, resolveError(p, i+used, err)
		}
		at, i = next, i+used
	}
	return at, nil
}

// step walks the first of segments, or as many as stay inside one block.
func step(ctx context.Context, bs Blocks, c cid.Cid, segments []string) (Resolved, int, error) {
	switch c.Type() {
	case cid.DagProtobuf:
		d, err := OpenDir(ctx, bs, c)
		if err != nil {
			return Resolved{}, 0, err
		}
		next, _, err := d.Lookup(ctx, segments[0])
		if err != nil {
			return Resolved{}, 0, err
		}
		return Resolved{CID: next}, 1, nil
	case cid.DagCBOR:
		b, err := Load(ctx, bs, c)
		if err != nil {
			return Resolved{}, 0, err
		}
		n, err := Decode(b)
		if err != nil {
			return Resolved{}, 0, err
		}
		return stepInside(c, n, segments)
	}
	return Resolved{}, 0, &NotDirError{c, "a " + codecName(c.Type()) + " block"}
}

// stepInside walks segments through the value of block c until a link or their end.
func stepInside(c cid.Cid, n datamodel.Node, segments []string) (Resolved, int, error) {
	for i, seg := range segments {
		var err error
		if n, err = lookupNode(c, n, seg); err != nil {
			return Resolved{}, i, err
		}
		if n.Kind() == datamodel.Kind_Link {
			l, err := n.AsLink()
			if err != nil {
				return Resolved{}, i, err
			}
			return Resolved{CID: l.(cidlink.Link).Cid}, i + 1, nil
		}
	}
	return Resolved{c, n}, len(segments), nil
}

func lookupNode(c cid.Cid, n datamodel.Node, seg string) (datamodel.Node, error) {
	switch n.Kind() {
	case datamodel.Kind_Map:
		if v, err := n.LookupByString(seg); err == nil {
			return v, nil
		}
		return nil, &NoEntryError{c.String(), seg}
	case datamodel.Kind_List:
		i, err := strconv.ParseInt(seg, 10, 64)
		if err != nil || i < 0 || i >= n.Length() || strconv.FormatInt(i, 10) != seg {
			return nil, &NoEntryError{c.String(), seg}
		}
		return n.LookupByIndex(i)
	}
	return nil, &NotDirError{c, "a " + n.Kind().String() + " there"}
}

// resolveError says where on p it went wrong; at is the number of segments walked.
func resolveError(p Path, at int, err error) error {
	walked := Path{p.Root, p.Segments[:at]}
	var missing *NoEntryError
	if errors.As(err, &missing) {
		return &NoEntryError{walked.String(), missing.Name}
	}
	var notDir *NotDirError
	if errors.As(err, &notDir) {
		return fmt.Errorf("resolve %s: %s: %w", p, walked, err)
	}
	return fmt.Errorf("resolve %s: %w", p, err)
}

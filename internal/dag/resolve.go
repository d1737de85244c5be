package dag

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// Resolved is the target of a Path: a block or, with Value, a value inside one.
type Resolved struct {
	CID cid.Cid
	// Value is the DAG-CBOR encoding of the value, a part of the block's bytes. It is nil unless the path ends inside
	// a dag-cbor block at a value that is not a link.
	Value []byte
}

// Resolve follows p through directories, plain and sharded, and through the keys and indexes of dag-cbor blocks (the
// first one if a key is repeated); a link in one is followed at once. Symlinks are not followed. It reads the blocks
// on the path, but not the block at its end, unless the path ends inside it. The error is a *NoEntryError, a
// *NotDirError, a *NotFoundError, a *FormatError or that of bs, wrapped with the path.
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

// step follows the first of segments, or as many as stay inside one block.
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
		if _, err := cborLinks(b.data); err != nil {
			return Resolved{}, 0, formatErrorf(c, "dag-cbor: %v", err)
		}
		return stepInside(b, segments)
	}
	return Resolved{}, 0, &NotDirError{c, "a " + codecName(c.Type()) + " block"}
}

// stepInside follows segments through the value of block b, which is valid dag-cbor, until a link or their end.
func stepInside(b Block, segments []string) (Resolved, int, error) {
	item := b.data
	for i, seg := range segments {
		child, ok := cborChild(item, seg)
		if !ok {
			if major := item[0] >> 5; major != cborMap && major != cborArray {
				return Resolved{}, i, &NotDirError{b.cid, "a " + cborKind(item) + " there"}
			}
			return Resolved{}, i, &NoEntryError{b.cid.String(), seg}
		}
		if c, ok := cborLink(child); ok {
			return Resolved{CID: c}, i + 1, nil
		}
		item = child
	}
	return Resolved{b.cid, item}, len(segments), nil
}

// resolveError adds the position on p to an error; at is the number of segments followed.
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

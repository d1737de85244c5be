package dag

import (
	"net/url"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Path is a root and the names below it.
type Path struct {
	Root     cid.Cid
	Segments []string
}

// String returns the path as CID/a/b.
func (p Path) String() string {
	return strings.Join(append([]string{p.Root.String()}, p.Segments...), "/")
}

// ParsePath reads CID, CID/a/b, /ipfs/CID/a/b or ipfs://CID/a/b (the last with %xx
// escapes). The error is a *PathError.
func ParsePath(s string) (Path, error) {
	rest, isURL := strings.CutPrefix(s, "ipfs://")
	if !isURL {
		rest = strings.TrimPrefix(s, "/ipfs/")
	}
	root, below, _ := strings.Cut(rest, "/")
	if len(root) > 4*abi.MaxCID { // any base of the longest CID; before it is decoded
		return Path{}, &PathError{s[:64] + "…", "its CID is too long"}
	}
	c, err := cid.Decode(root)
	if err != nil {
		return Path{}, &PathError{s, "it does not begin with a CID"}
	}
	if isURL {
		if strings.ContainsAny(below, "?#") {
			return Path{}, &PathError{s, "a query or a fragment names nothing here"}
		}
		if below, err = url.PathUnescape(below); err != nil {
			return Path{}, &PathError{s, "a broken %xx escape"}
		}
	}
	segments, err := SplitPath(below)
	if err != nil {
		return Path{}, err
	}
	return Path{c, segments}, nil
}

// SplitPath cuts a/b/c into its segments; empty ones are left out. The error is a
// *PathError: for "." and "..", for a zero byte, and beyond abi.MaxPath bytes or
// abi.MaxSegments segments.
func SplitPath(s string) ([]string, error) {
	if len(s) > abi.MaxPath {
		return nil, &PathError{s[:64] + "…", "it is longer than 4,096 bytes"}
	}
	if strings.ContainsRune(s, 0) {
		return nil, &PathError{s, "it holds a zero byte"}
	}
	var segments []string
	for seg := range strings.SplitSeq(s, "/") {
		switch seg {
		case "":
			continue
		case ".", "..":
			return nil, &PathError{s, "the name " + seg + " has no meaning here"}
		}
		segments = append(segments, seg)
	}
	if len(segments) > abi.MaxSegments {
		return nil, &PathError{s[:min(len(s), 64)] + "…", "it has more than 256 segments"}
	}
	return segments, nil
}

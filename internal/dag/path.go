package dag

import (
	"errors"
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

// ParsePath parses CID, CID/a/b, /ipfs/CID/a/b or ipfs://CID/a/b (the last with %xx escapes). The error is a
// *PathError.
func ParsePath(s string) (Path, error) {
	rest, isURL := strings.CutPrefix(s, "ipfs://")
	if !isURL {
		rest = strings.TrimPrefix(s, "/ipfs/")
	}
	root, below, _ := strings.Cut(rest, "/")
	if len(root) > maxCIDTextAny {
		return Path{}, &PathError{s[:64] + "…", "CID is too long"}
	}
	c, err := DecodeCID(root)
	if other := (*NotCanonicalError)(nil); errors.As(err, &other) {
		return Path{}, &PathError{s, "not a canonical CID; did you mean " + other.Want + "?"}
	}
	if err != nil {
		return Path{}, &PathError{s, "does not begin with a CID"}
	}
	if isURL {
		if strings.ContainsAny(below, "?#") {
			return Path{}, &PathError{s, "query and fragment are not supported"}
		}
		if below, err = url.PathUnescape(below); err != nil {
			return Path{}, &PathError{s, "invalid %xx escape"}
		}
	}
	segments, err := SplitPath(below)
	if err != nil {
		return Path{}, err
	}
	return Path{c, segments}, nil
}

// SplitPath splits a/b/c into its segments and skips empty ones. The error is a *PathError: for "." and "..", a zero
// byte, and more than abi.MaxPath bytes or abi.MaxSegments segments.
func SplitPath(s string) ([]string, error) {
	if len(s) > abi.MaxPath {
		return nil, &PathError{s[:64] + "…", "longer than 4,096 bytes"}
	}
	if strings.ContainsRune(s, 0) {
		return nil, &PathError{s, "contains a zero byte"}
	}
	var segments []string
	for seg := range strings.SplitSeq(s, "/") {
		switch seg {
		case "":
			continue
		case ".", "..":
			return nil, &PathError{s, "segment " + seg + " is not allowed"}
		}
		segments = append(segments, seg)
	}
	if len(segments) > abi.MaxSegments {
		return nil, &PathError{s[:min(len(s), 64)] + "…", "more than 256 segments"}
	}
	return segments, nil
}

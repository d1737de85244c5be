package liftoff

import (
	"encoding/binary"
	"iter"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Resolve walks path ("a/b/c") from h: through directories, and through the keys
// and indexes of dag-cbor. It does not follow symlinks.
func (h Handle) Resolve(path string) (Handle, error) {
	p := []byte(path)
	n, err := check("resolve", hostResolve(uint32(h), ptr(p), size(p)))
	return Handle(n), err
}

// Names yields the names in a directory: sorted in a plain one, in hash order in a
// sharded one. An error ends the sequence. Resolve opens an entry.
func (h Handle) Names() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		const prefix = 4 // the name's length, before its bytes
		p := make([]byte, prefix+abi.MaxName)
		for cursor := int64(0); ; {
			next, err := check("dir_next", hostDirNext(uint32(h), cursor, ptr(p), size(p)))
			if err != nil {
				yield("", err)
				return
			}
			if next == 0 {
				return
			}
			n := int(binary.LittleEndian.Uint32(p))
			if n > len(p)-prefix {
				p = make([]byte, prefix+n)
				continue // read the same entry again
			}
			if !yield(string(p[prefix:prefix+n]), nil) {
				return
			}
			cursor = next
		}
	}
}

// Readlink returns the target of a symlink.
func (h Handle) Readlink() (string, error) {
	b, err := text("readlink", func(p []byte) int64 { return hostReadlink(uint32(h), ptr(p), size(p)) })
	return string(b), err
}

package dag

import (
	"fmt"
	"strconv"

	"github.com/ipfs/go-cid"
)

// A path through a dag-cbor block is resolved in the encoded bytes: no value is built, and the only limits are the
// size of a block and abi.MaxDepth.

// cborKinds are the names of CBOR's major types in the IPLD data model.
var cborKinds = [...]string{
	cborUint: "int", cborNegative: "int", cborBytes: "bytes", cborString: "string",
	cborArray: "list", cborMap: "map", cborTag: "link",
}

// cborKind returns the kind of item, which is valid, in the IPLD data model.
func cborKind(item []byte) string {
	if major := item[0] >> 5; major != cborSimple {
		return cborKinds[major]
	}
	switch item[0] & 31 {
	case 20, 21:
		return "bool"
	case 22:
		return "null"
	}
	return "float"
}

// cborChild returns the entry that segment selects in item, which is valid: the value of a key of a map (the first
// one if the key is repeated), or the item of a list at an index. ok is false if there is no such entry.
func cborChild(item []byte, segment string) (child []byte, ok bool) {
	s := cborScan{b: item}
	major, n, err := s.head()
	if err != nil {
		return nil, false
	}
	switch major {
	case cborMap:
		for ; n > 0; n-- {
			_, length, _ := s.head()
			key := s.b[s.off : s.off+int(length)]
			s.off += int(length)
			start := s.off
			s.skip()
			if string(key) == segment {
				return s.b[start:s.off], true
			}
		}
	case cborArray:
		i, err := strconv.ParseUint(segment, 10, 63)
		if err != nil || i >= n || strconv.FormatUint(i, 10) != segment {
			return nil, false
		}
		for ; i > 0; i-- {
			s.skip()
		}
		start := s.off
		s.skip()
		return s.b[start:s.off], true
	}
	return nil, false
}

// skip moves past the item at s.off. The bytes are valid: see [cborScan.value].
func (s *cborScan) skip() {
	for left := uint64(1); left > 0; left-- {
		major, arg, _ := s.head()
		switch major {
		case cborBytes, cborString:
			s.off += int(arg)
		case cborArray:
			left += arg
		case cborMap:
			left += 2 * arg
		case cborTag:
			left++
		case cborSimple:
			s.off++
			if arg == 27 {
				s.off += 8
			}
		}
	}
}

// cborLink returns the CID of item, which is valid, if it is a link.
func cborLink(item []byte) (cid.Cid, bool) {
	if item[0]>>5 != cborTag {
		return cid.Undef, false
	}
	s := cborScan{b: item}
	if err := s.value(0); err != nil {
		panic(fmt.Sprintf("bug: invalid link in checked dag-cbor: %v", err))
	}
	return s.links[0], true
}

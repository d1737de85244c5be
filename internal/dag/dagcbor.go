package dag

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// cborScan scans the bytes of a dag-cbor block without building a value, so that a hostile block costs no more than
// reading it. It enforces DAG-CBOR (https://ipld.io/specs/codecs/dag-cbor/spec/): definite lengths in their shortest
// form, string keys, no tag except 42, 64-bit floats that are numbers, and nothing after the value. It does not
// require sorted, unique or UTF-8 keys: old blocks violate that.
type cborScan struct {
	b     []byte
	off   int
	links []cid.Cid
}

// cborLinks returns the links of a dag-cbor block in byte order.
func cborLinks(b []byte) ([]cid.Cid, error) {
	s := cborScan{b: b}
	if err := s.value(0); err != nil {
		return nil, fmt.Errorf("%w at byte %d", err, s.off)
	}
	if s.off != len(b) {
		return nil, fmt.Errorf("%d bytes after the CBOR value", len(b)-s.off)
	}
	return s.links, nil
}

// CBOR's major types.
const (
	cborUint = iota
	cborNegative
	cborBytes
	cborString
	cborArray
	cborMap
	cborTag
	cborSimple
)

var errCBORShort = errors.New("input ends inside a CBOR value")

// head reads the initial byte of an item and its argument.
func (s *cborScan) head() (major byte, arg uint64, err error) {
	if s.off >= len(s.b) {
		return 0, 0, errCBORShort
	}
	first := s.b[s.off]
	major, info := first>>5, first&31
	if major == cborSimple {
		return major, uint64(info), nil // simple reads its argument
	}
	if info < 24 {
		s.off++
		return major, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, errors.New("CBOR length is indefinite or reserved")
	}
	n := 1 << (info - 24)
	rest := s.b[s.off+1:]
	if len(rest) < n {
		return 0, 0, errCBORShort
	}
	var wide [8]byte
	copy(wide[8-n:], rest[:n])
	arg = binary.BigEndian.Uint64(wide[:])
	if n == 1 && arg < 24 || n > 1 && arg>>(8*n/2) == 0 {
		return 0, 0, errors.New("CBOR number is not in its shortest form")
	}
	s.off += 1 + n
	return major, arg, nil
}

func (s *cborScan) value(depth int) error {
	if depth > abi.MaxDepth {
		return fmt.Errorf("CBOR value nested deeper than %d levels", abi.MaxDepth)
	}
	major, arg, err := s.head()
	if err != nil {
		return err
	}
	switch major {
	case cborUint, cborNegative:
		return nil
	case cborBytes, cborString:
		_, err := s.take(arg)
		return err
	case cborArray:
		for ; arg > 0; arg-- {
			if err := s.value(depth + 1); err != nil {
				return err
			}
		}
		return nil
	case cborMap:
		for ; arg > 0; arg-- {
			if err := s.key(); err != nil {
				return err
			}
			if err := s.value(depth + 1); err != nil {
				return err
			}
		}
		return nil
	case cborTag:
		return s.link(arg)
	}
	return s.simple(arg)
}

func (s *cborScan) take(n uint64) ([]byte, error) {
	if n > uint64(len(s.b)-s.off) {
		return nil, errCBORShort
	}
	chunk := s.b[s.off : s.off+int(n)]
	s.off += int(n)
	return chunk, nil
}

func (s *cborScan) key() error {
	major, n, err := s.head()
	if err != nil {
		return err
	}
	if major != cborString {
		return errors.New("CBOR map key is not a string")
	}
	_, err = s.take(n)
	return err
}

// link reads the item after tag 42: bytes with a zero and a binary CID.
func (s *cborScan) link(tag uint64) error {
	if tag != 42 {
		return fmt.Errorf("unsupported CBOR tag %d", tag)
	}
	major, n, err := s.head()
	if err != nil {
		return err
	}
	if major != cborBytes {
		return errors.New("CBOR link (tag 42) is not bytes")
	}
	chunk, err := s.take(n)
	if err != nil {
		return err
	}
	if len(chunk) == 0 || chunk[0] != 0 {
		return errors.New("CBOR link (tag 42) without leading zero")
	}
	c, err := parseCID(chunk[1:])
	if err != nil {
		return err
	}
	s.links = append(s.links, c)
	return nil
}

// simple reads false, true, null and 64-bit floats.
func (s *cborScan) simple(info uint64) error {
	switch info {
	case 20, 21, 22:
		s.off++
		return nil
	case 27:
		s.off++
		chunk, err := s.take(8)
		if err != nil {
			return err
		}
		if bits := binary.BigEndian.Uint64(chunk); bits>>52&0x7ff == 0x7ff {
			return errors.New("CBOR float is NaN or infinite")
		}
		return nil
	}
	return fmt.Errorf("unsupported CBOR simple value or float size (additional information %d)", info)
}

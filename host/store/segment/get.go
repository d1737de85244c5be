package segment

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/multiformats/go-multihash"
)

// Get returns the bytes of key, which are the caller's. ErrAbsent when there are none, a
// *DamageError when they are not the ones that were put.
func (s *Store) Get(mh multihash.Multihash) ([]byte, error) {
	var out []byte
	err := s.at(mh, func(p place) (err error) {
		out, err = s.read(p, mh, make([]byte, p.size))
		return err
	})
	return out, err
}

// Size returns how many bytes key has, without reading them, or ErrAbsent.
func (s *Store) Size(mh multihash.Multihash) (int64, error) {
	p, err := s.find(keyOf(mh))
	return int64(p.size), err
}

// ReadPart copies the bytes of key from off into b and returns how many, and the size of the block: fewer
// than there is room for only at the block's end. A block that is read in parts is read and checked whole
// when this process first comes to it; after that a part costs no more than itself.
func (s *Store) ReadPart(mh multihash.Multihash, b []byte, off int64) (n int, size int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("read a block from byte %d", off)
	}
	err = s.at(mh, func(p place) error {
		size = int64(p.size)
		n = int(min(int64(len(b)), max(0, size-off)))
		switch {
		case off == 0 && int64(n) == size:
			_, err := s.read(p, mh, b[:n])
			return err
		case n == 0:
			return nil
		case s.checked.has(p):
			return s.readRaw(p, b[:n], off)
		}
		buf := getBuffer(int(size))
		defer putBuffer(buf)
		whole, err := s.read(p, mh, (*buf)[:size])
		if err == nil {
			s.checked.add(p)
			copy(b[:n], whole[off:])
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	return n, size, nil
}

// at calls fn with the place of key. When the segment has been written anew meanwhile, it
// calls it once more.
func (s *Store) at(mh multihash.Multihash, fn func(place) error) error {
	k := keyOf(mh)
	p, err := s.find(k)
	if err != nil {
		return err
	}
	for {
		err := fn(p)
		if !absent(err) {
			return err
		}
		now, ferr := s.find(k)
		if ferr != nil {
			return ferr
		}
		if now == p {
			return &DamageError{s.segmentPath(p.seg), "the file is missing"}
		}
		p = now
	}
}

// read fills b, of the block's size, with the block and checks it.
func (s *Store) read(p place, mh multihash.Multihash, b []byte) ([]byte, error) {
	if err := s.readRaw(p, b, 0); err != nil {
		return nil, err
	}
	if sumOf(mh, b) != p.sum {
		return nil, &DamageError{s.segmentPath(p.seg), fmt.Sprintf("checksum does not match at byte %d", p.at)}
	}
	return b, nil
}

func (s *Store) readRaw(p place, b []byte, off int64) error {
	h, err := s.handles.get(p.seg)
	if err != nil {
		return err
	}
	defer h.release()
	if len(b) == 0 {
		return nil
	}
	if _, err := h.ReadAt(b, p.at+off); err != nil {
		if errors.Is(err, io.EOF) {
			return &DamageError{s.segmentPath(p.seg), fmt.Sprintf("it ends before byte %d", p.at+int64(p.size))}
		}
		return err
	}
	return nil
}

// checkedSet remembers blocks that were read whole and found sound.
type checkedSet struct {
	mu sync.Mutex
	m  map[position]struct{}
}

// maxChecked bounds it: 64 GiB of blocks of 1 MiB.
const maxChecked = 64 << 10

func (c *checkedSet) has(p place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.m[position{p.seg, p.at}]
	return ok
}

func (c *checkedSet) add(p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxChecked {
		c.m = make(map[position]struct{})
	}
	c.m[position{p.seg, p.at}] = struct{}{}
}

// Buffers for blocks that are only looked at.
var buffers sync.Pool

func getBuffer(n int) *[]byte {
	if b, ok := buffers.Get().(*[]byte); ok && cap(*b) >= n {
		*b = (*b)[:cap(*b)]
		return b
	}
	b := make([]byte, max(n, 64<<10))
	return &b
}

func putBuffer(b *[]byte) { buffers.Put(b) }

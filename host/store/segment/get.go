package segment

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/multiformats/go-multihash"
)

// Get returns a copy of the block of key, ErrAbsent, or a *DamageError if the bytes are not those that were put.
func (s *Store) Get(mh multihash.Multihash) ([]byte, error) {
	var out []byte
	err := s.at(mh, func(p place) (err error) {
		out, err = s.read(p, mh, make([]byte, p.size))
		return err
	})
	return out, err
}

// Size returns the size of key's block without reading it, or ErrAbsent.
func (s *Store) Size(mh multihash.Multihash) (int64, error) {
	p, err := s.find(keyOf(mh))
	return int64(p.size), err
}

// ReadPart copies the bytes of key's block from off into b. It returns how many it copied, which is less than len(b)
// only at the end of the block, and the size of the block. The first partial read of a block in this process reads
// and checks the whole block; later ones read and check only the pages they touch.
func (s *Store) ReadPart(mh multihash.Multihash, b []byte, off int64) (n int, size int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("read block: negative offset %d", off)
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
		case size <= PageSize:
			return s.readWhole(p, mh, b[:n], off)
		}
		if sums := s.pages.get(p); sums != nil {
			return s.readPages(p, sums, b[:n], off)
		}
		return s.readWhole(p, mh, b[:n], off)
	})
	if err != nil {
		return 0, 0, err
	}
	return n, size, nil
}

// readWhole reads and checks the whole block, and copies the part from off into b.
func (s *Store) readWhole(p place, mh multihash.Multihash, b []byte, off int64) error {
	buf := getBuffer(int(p.size))
	defer putBuffer(buf)
	whole, err := s.read(p, mh, (*buf)[:p.size])
	if err != nil {
		return err
	}
	if int64(p.size) > PageSize {
		s.pages.add(p, whole)
	}
	copy(b, whole[off:])
	return nil
}

// readPages reads and checks only the pages that contain b.
func (s *Store) readPages(p place, sums []uint64, b []byte, off int64) error {
	ok, err := s.pages.read(sums, int64(p.size), b, off, func(b []byte, off int64) error { return s.readRaw(p, b, off) })
	if err == nil && !ok {
		err = s.damaged(p)
	}
	return err
}

func (s *Store) damaged(p place) error {
	return &DamageError{s.segmentPath(p.seg), fmt.Sprintf("block at byte %d: checksum does not match", p.at)}
}

// at calls fn with the place of key. If the block was moved in the meantime, and its segment removed or its old place
// punched, it calls fn again with the new place.
func (s *Store) at(mh multihash.Multihash, fn func(place) error) error {
	k := keyOf(mh)
	p, err := s.find(k)
	if err != nil {
		return err
	}
	for {
		err := fn(p)
		var bad *DamageError
		if !absent(err) && !errors.As(err, &bad) {
			return err
		}
		now, ferr := s.find(k)
		if ferr != nil {
			return ferr
		}
		if now == p && bad != nil {
			return err
		}
		if now == p {
			return &DamageError{s.segmentPath(p.seg), "segment file is missing"}
		}
		p = now
	}
}

// read fills b, which has the block's size, with the block and checks it.
func (s *Store) read(p place, mh multihash.Multihash, b []byte) ([]byte, error) {
	if err := s.readRaw(p, b, 0); err != nil {
		return nil, err
	}
	if sumOf(mh, b) != p.sum {
		return nil, s.damaged(p)
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
			return &DamageError{s.segmentPath(p.seg), fmt.Sprintf("segment file ends before byte %d", p.at+int64(p.size))}
		}
		return err
	}
	return nil
}

// buffers holds buffers for blocks that are not returned to the caller.
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

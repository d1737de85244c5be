package meter

import (
	"fmt"
	"math"
)

// reader reads bytes from a hostile slice. Its first error is kept: every later read returns
// zero, so callers check err once per step rather than once per byte. Invariant: p <= len(b).
type reader struct {
	b    []byte
	p    int
	base int // offset of b[0] in the module, for messages
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &MalformedError{Offset: r.base + r.p, Func: -1, What: fmt.Sprintf(format, args...)}
		r.p = len(r.b)
	}
}

func (r *reader) done() bool { return r.p >= len(r.b) }

func (r *reader) byte() byte {
	if r.p < len(r.b) {
		c := r.b[r.p]
		r.p++
		return c
	}
	r.fail("module ends too early")
	return 0
}

// take returns the next n bytes, which alias the module.
func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.p) {
		r.fail("module announces %d bytes, but only %d are left", n, len(r.b)-r.p)
		return nil
	}
	s := r.b[r.p : r.p+int(n)]
	r.p += int(n)
	return s
}

func (r *reader) u32() uint32 {
	if r.p < len(r.b) && r.b[r.p] < 0x80 {
		r.p++
		return uint32(r.b[r.p-1])
	}
	v := r.leb(5, 32, false)
	return uint32(v)
}

// s33 reads the number of a block type: negative for a value type or none, else an index.
func (r *reader) s33() int64 { return int64(r.leb(5, 33, true)) }

// leb reads a LEB128 number of at most size bytes that must fit in bits, with the last byte as
// the WebAssembly specification requires.
func (r *reader) leb(size int, bits uint, signed bool) uint64 {
	var v uint64
	for i := range size {
		c := r.byte()
		shift := uint(7 * i)
		v |= uint64(c&0x7f) << shift
		if c >= 0x80 {
			continue
		}
		if signed {
			if shift == 63 && c != 0 && c != 0x7f {
				r.fail("integer does not fit in 64 bits")
			}
			if shift+7 < 64 {
				v = uint64(int64(v<<(64-shift-7)) >> (64 - shift - 7))
			}
			if s := int64(v); bits < 64 && (s >= 1<<(bits-1) || s < -1<<(bits-1)) {
				r.fail("integer does not fit in %d bits", bits)
			}
		} else if bits < 64 && v > math.MaxUint64>>(64-bits) {
			r.fail("integer does not fit in %d bits", bits)
		}
		return v
	}
	r.fail("integer is longer than %d bytes", size)
	return 0
}

// count reads the length of a vector whose entries have at least one byte each, so that no
// length can make the caller allocate more than the size of the input.
func (r *reader) count(what string) int {
	n := r.u32()
	if uint64(n) > uint64(len(r.b)-r.p) {
		r.fail("module announces %d %s, but only %d bytes are left", n, what, len(r.b)-r.p)
		return 0
	}
	return int(n)
}

// name reads a vector of bytes. The engine checks that it is UTF-8.
func (r *reader) name() []byte { return r.take(r.u32()) }

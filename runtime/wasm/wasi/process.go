package wasi

import (
	"context"
	"runtime"

	"github.com/tetratelabs/wazero/sys"
)

// The functions on arguments, environment and the process itself.

// sizesOf counts strings and their bytes in C's representation, each with a NUL.
func sizesOf(words []string) (count, size uint64) {
	for _, w := range words {
		size += uint64(len(w)) + 1
	}
	return uint64(len(words)), size
}

// putSizes writes the sizes of words.
func (m memory) putSizes(words []string, countAt, sizeAt uint64) errno {
	count, size := sizesOf(words)
	if e := m.put32(countAt, uint32(count)); e != eOK {
		return e
	}
	return m.put32(sizeAt, uint32(size))
}

// putWords writes words one after the other, and their addresses as a list.
func (s *System) putWords(m memory, words []string, listAt, bytesAt uint64) errno {
	count, size := sizesOf(words)
	list, e := m.span(listAt, 4*count)
	if e != eOK {
		return e
	}
	b, e := m.span(bytesAt, size)
	if e != eOK {
		return e
	}
	s.payCopy(len(list) + len(b))
	at := uint32(bytesAt)
	for _, w := range words {
		le.PutUint32(list, at)
		n := copy(b, w)
		b[n] = 0
		list, b, at = list[4:], b[n+1:], at+uint32(n)+1
	}
	return eOK
}

func argsSizesGet(_ context.Context, s *System, m memory, p []uint64) errno {
	return m.putSizes(s.cfg.Args, p[0], p[1])
}

func argsGet(_ context.Context, s *System, m memory, p []uint64) errno {
	return s.putWords(m, s.cfg.Args, p[0], p[1])
}

func environSizesGet(_ context.Context, s *System, m memory, p []uint64) errno {
	return m.putSizes(s.cfg.Env, p[0], p[1])
}

func environGet(_ context.Context, s *System, m memory, p []uint64) errno {
	return s.putWords(m, s.cfg.Env, p[0], p[1])
}

// procExit ends the guest: wazero returns the error to the caller of the guest.
func procExit(_ context.Context, _ *System, _ memory, p []uint64) errno {
	panic(sys.NewExitError(uint32(p[0])))
}

func schedYield(context.Context, *System, memory, []uint64) errno {
	runtime.Gosched()
	return eOK
}

// removed implements functions that were removed from WASI.
func removed(context.Context, *System, memory, []uint64) errno { return eNOSYS }

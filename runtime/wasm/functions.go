package wasm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs-liftoff/liftoff/runtime"
)

// code checks that every function has a body, and counts the locals of each: a body of six
// bytes can declare any number of them.
func (s *scan) code(n uint32, r *reader) error {
	if uint64(n)+uint64(len(s.imports)) != uint64(len(s.funcs)) {
		return fmt.Errorf("code section has %d bodies for %d functions", n, len(s.funcs)-len(s.imports))
	}
	s.codeSec = r.b
	for i := range n {
		locals, err := countLocals(&reader{b: r.take(r.u32())})
		if r.err != nil {
			err = r.err
		}
		if err != nil {
			return s.functionError(i, err)
		}
		if s.locals += locals; s.locals > maxAllLocals {
			return runtime.Refusef("functions with more than %d locals in total", maxAllLocals)
		}
	}
	if len(r.b) > 0 {
		return fmt.Errorf("%d extra bytes at the end of the code section", len(r.b))
	}
	return nil
}

// checkCode reads the instructions of all functions and returns the maximum of each count. It
// does not check types. An error is a *runtime.RefusedError.
func (s *scan) checkCode() (widest body, err error) {
	r := &reader{b: s.codeSec}
	for i := range s.counts[sectionCode] {
		b, err := s.measure(&reader{b: r.take(r.u32())})
		if err != nil {
			return widest, refuse(s.functionError(i, err))
		}
		widest.wider(b)
	}
	return widest, nil
}

// functionError adds the name of the module's function i to err.
func (s *scan) functionError(i uint32, err error) error {
	index := uint32(len(s.imports)) + i
	what := fmt.Sprintf("function %d", index)
	if name := s.functionName(index); name != "" {
		what += fmt.Sprintf(" (%q)", name)
	}
	var limit *limitError
	var refused *runtime.RefusedError
	switch {
	case errors.As(err, &limit):
		return runtime.Refusef("%s: %v", what, limit)
	case errors.As(err, &refused):
		return runtime.Refusef("%s: %s", what, refused.Reason)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// maxShownName is the length of a function's name in a refusal, in bytes.
const maxShownName = 128

// functionName returns the name of a function: from the name section, else from the exports. It
// returns "" if the name is missing or the section is malformed.
func (s *scan) functionName(index uint32) string {
	name := s.debugName(index)
	if name == "" {
		for n, e := range s.exports {
			if e.kind == kindFunc && e.index == index && (name == "" || n < name) {
				name = n
			}
		}
	}
	if len(name) > maxShownName {
		name = strings.ToValidUTF8(name[:maxShownName], "") + "…"
	}
	return name
}

func (s *scan) debugName(index uint32) string {
	const functionNames = 1
	r := &reader{b: s.names}
	for len(r.b) > 0 {
		id := r.byte()
		sub := &reader{b: r.take(r.u32())}
		if id != functionNames {
			continue
		}
		for n := sub.u32(); n > 0 && sub.err == nil; n-- {
			i, name := sub.u32(), sub.take(sub.u32())
			if i == index && sub.err == nil {
				return string(name)
			}
		}
	}
	return ""
}

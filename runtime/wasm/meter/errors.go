package meter

import (
	"errors"
	"fmt"
)

// ErrReserved is wrapped by the refusal of a module that imports from HostModule or exports a
// name under ExportPrefix: it could collide with the metering's own names.
var ErrReserved = errors.New("name is reserved for the metering")

// MalformedError reports where a module cannot be parsed: it is invalid, or uses a feature
// beyond WebAssembly 2.0.
type MalformedError struct {
	Offset int // in the module's bytes
	Func   int // index in the module's function space, or -1 outside of a body
	What   string
}

func (e *MalformedError) Error() string {
	if e.Func >= 0 {
		return fmt.Sprintf("function %d, offset 0x%x: %s", e.Func, e.Offset, e.What)
	}
	return fmt.Sprintf("offset 0x%x: %s", e.Offset, e.What)
}

// LimitError says which limit of this package a module exceeds.
type LimitError struct {
	What string
	Func int // index in the module's function space, or -1
	Max  int // 0 if it depends on the module's size
}

func (e *LimitError) Error() string {
	msg := fmt.Sprintf("more than %d %s", e.Max, e.What)
	if e.Max == 0 {
		msg = "too many " + e.What
	}
	if e.Func >= 0 {
		return fmt.Sprintf("function %d: %s", e.Func, msg)
	}
	return msg
}

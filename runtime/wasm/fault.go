package wasm

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"strconv"
	"strings"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// wazero does not export its traps, so they are recognized by type and text. A test raises each
// of them. One text, "integer overflow", stands for two: a division and a conversion whose
// result does not fit; both count as TrapDivide.
const trapType = "*wasmruntime.Error"

var trapCodes = map[string]int{
	"unreachable":                   job.TrapUnreachable,
	"out of bounds memory access":   job.TrapMemory,
	"invalid table access":          job.TrapTable,
	"indirect call type mismatch":   job.TrapIndirectType,
	"integer divide by zero":        job.TrapDivide,
	"integer overflow":              job.TrapDivide,
	"invalid conversion to integer": job.TrapConversion,
}

// errEngineStack is wazero's "stack overflow": its own stack is full before the metered stack
// of guests. How deep it goes differs between engines, so it is a machine fault.
const errEngineStack = "stack overflow"

// trapCode returns the code of a trap. It reports false for wazero's other errors.
func trapCode(err error) (int, bool) {
	cause := innermost(err)
	if fmt.Sprintf("%T", cause) == trapType {
		if cause.Error() == errEngineStack {
			return 0, false
		}
		code, ok := trapCodes[cause.Error()]
		return code, ok
	}
	return 0, false
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// maxFault bounds the text of a fault, in bytes: function names come from the guest.
const maxFault = 16 << 10

// faultText returns a trap as text for users: what it was, and the guest's stack, as if the
// module had not been rewritten.
func (m *module) faultText(err error) string {
	var b strings.Builder
	for i, line := range strings.Split(err.Error(), "\n") {
		if i == 0 {
			line = strings.TrimSuffix(strings.TrimPrefix(line, "wasm error: "), " (recovered by wazero)")
		} else {
			var ours bool
			if line, ours = m.stackLine(line); ours {
				continue
			}
			b.WriteByte('\n')
		}
		b.WriteString(line)
		if b.Len() > maxFault {
			return strings.ToValidUTF8(b.String()[:maxFault], "") + "…"
		}
	}
	return b.String()
}

// addedImports is the number of functions that the rewriter adds after a module's imports.
const addedImports = 2

// stackLine undoes the rewriting in a line of a stack. It reports ours if the whole line
// belongs to the metering.
func (m *module) stackLine(line string) (_ string, ours bool) {
	frame, ok := strings.CutPrefix(line, "\t.") // the module has no name
	if !ok || strings.HasPrefix(frame, "..") {
		return line, strings.HasPrefix(line, "\t"+meter.ExportPrefix)
	}
	if strings.HasPrefix(frame, meter.ExportPrefix) {
		return "", true
	}
	// A function without a name is shown by its index.
	number, rest, ok := strings.Cut(strings.TrimPrefix(frame, "$"), "(")
	if i, err := strconv.Atoi(number); ok && err == nil && frame[0] == '$' && i >= len(m.imports)+addedImports {
		if i -= addedImports; i >= len(m.funcs) {
			return "", true
		}
		frame = fmt.Sprintf("$%d(%s", i, rest)
	}
	return "\t" + frame, false
}

// hostError removes wazero's wrapping, with the guest's stack, from an error with which one of
// our host calls ended the run. A Go runtime panic keeps it: it is a bug.
func hostError(err error) error {
	var bug goruntime.Error
	if errors.As(err, &bug) {
		return fmt.Errorf("bug in a host call: %w", err)
	}
	for strings.Contains(err.Error(), "(recovered by wazero)") {
		next := errors.Unwrap(err)
		if next == nil {
			break
		}
		err = next
	}
	return err
}

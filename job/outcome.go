package job

import (
	"fmt"
	"math"

	"github.com/ipfs/go-cid"
)

// State is how an evaluation ended. Every state is a result: final, the same on every machine,
// never retried. A fault of the machine is not a State but an error.
type State string

// The states.
const (
	OK        State = "ok"          // returned, or exit code 0
	Exit      State = "exit"        // exit code 1..255
	Trap      State = "trap"        // the guest violated a rule of the WebAssembly machine; the code is a Trap constant
	OutOfFuel State = "out_of_fuel" // the fuel limit was reached
	Quota     State = "quota"       // another limit would have been exceeded; the code is a Quota constant
)

// The codes of Trap, append-only.
const (
	TrapUnreachable  = 1
	TrapMemory       = 2 // out of bounds memory access
	TrapTable        = 3 // out of bounds table access
	TrapIndirectType = 4 // call_indirect with a wrong type or of null
	TrapDivide       = 5 // integer divide by zero, or integer overflow in a division or conversion
	TrapConversion   = 6 // NaN to integer
	TrapStack        = 7 // call stack exhausted
)

// The codes of Quota.
const (
	QuotaPages = 1
	QuotaOut   = 2
	QuotaTmp   = 3
	QuotaLog   = 4
)

// Limits are the limits of one run. They belong to the order, not to the Task, and the guest cannot
// see them: an action that would exceed one ends the run. A zero field is its default.
type Limits struct {
	Fuel  uint64 `json:"fuel"`  // about one per instruction
	Pages uint64 `json:"pages"` // memory pages of 64 KiB
	Out   uint64 `json:"out"`   // bytes of output
	Tmp   uint64 `json:"tmp"`   // bytes of /tmp
	Log   uint64 `json:"log"`   // bytes of stdout and stderr together
}

// DefaultLimits are the defaults of Limits.
var DefaultLimits = Limits{Fuel: 1e13, Pages: 16384, Out: 16 << 30, Tmp: 4 << 30, Log: 64 << 20}

// MaxPages is the maximum size of a 32-bit memory in pages.
const MaxPages = 65536

// OrDefault returns l with its zero fields replaced.
func (l Limits) OrDefault() Limits {
	d := DefaultLimits
	for _, f := range []struct{ have, def *uint64 }{
		{&l.Fuel, &d.Fuel}, {&l.Pages, &d.Pages}, {&l.Out, &d.Out}, {&l.Tmp, &d.Tmp}, {&l.Log, &d.Log},
	} {
		if *f.have == 0 {
			*f.have = *f.def
		}
	}
	return l
}

// Outcome is the result of evaluating a Task. It is unsigned and contains nothing that differs
// between machines: two peers agree if their CIDs are equal.
type Outcome struct {
	Task   cid.Cid
	State  State
	Code   int     // code of exit, trap and quota; otherwise 0
	Root   cid.Cid // root of the output; the empty directory without output
	Size   uint64  // bytes of the blocks below Root that the run created
	Fuel   uint64  // fuel that the run used; the limit if it ran out of fuel
	Pages  uint64  // peak of the memory in pages
	Tmp    uint64  // peak bytes of /tmp
	Log    uint64  // bytes of stdout and stderr
	Stdout cid.Cid // a UnixFS file; cid.Undef when empty
	Stderr cid.Cid
	Limits *Limits // only for out_of_fuel and quota, whose meaning depends on the limits
}

// Validate returns an error for the first field of o that the format does not allow.
func (o Outcome) Validate() error {
	if err := checkLink("outcome: task", o.Task); err != nil {
		return err
	}
	if err := checkLink("outcome: root", o.Root); err != nil {
		return err
	}
	for _, c := range []cid.Cid{o.Stdout, o.Stderr} {
		if c.Defined() {
			if err := checkLink("outcome: stdout or stderr", c); err != nil {
				return err
			}
		}
	}
	lo, hi := 0, 0
	switch o.State {
	case OK, OutOfFuel:
	case Exit:
		lo, hi = 1, 255
	case Trap:
		lo, hi = TrapUnreachable, TrapStack
	case Quota:
		lo, hi = QuotaPages, QuotaLog
	default:
		return fmt.Errorf("outcome: unknown state %q", o.State)
	}
	if o.Code < lo || o.Code > hi {
		return fmt.Errorf("outcome: code of state %s: got %d, want %d to %d", o.State, o.Code, lo, hi)
	}
	limited := o.State == OutOfFuel || o.State == Quota
	if limited != (o.Limits != nil) {
		return fmt.Errorf("outcome: limits are for the states out_of_fuel and quota only, got state %s", o.State)
	}
	if o.State == OutOfFuel && o.Fuel != o.Limits.Fuel {
		return fmt.Errorf("outcome: fuel of out_of_fuel: got %d, want the limit %d", o.Fuel, o.Limits.Fuel)
	}
	if o.Pages > MaxPages {
		return fmt.Errorf("outcome: memory: got %d pages, want at most %d", o.Pages, MaxPages)
	}
	numbers := []uint64{o.Size, o.Fuel, o.Tmp, o.Log}
	if l := o.Limits; l != nil {
		numbers = append(numbers, l.Fuel, l.Pages, l.Out, l.Tmp, l.Log)
	}
	for _, n := range numbers {
		if n > math.MaxInt64 {
			return fmt.Errorf("outcome: number %d is over 63 bits", n)
		}
	}
	return nil
}

// Encode returns the canonical bytes of o, or the error of Validate.
func (o Outcome) Encode() ([]byte, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return encode("outcome", o.node())
}

// CID returns the CID of the Outcome, or the error of Validate.
func (o Outcome) CID() (cid.Cid, error) {
	b, err := o.Encode()
	if err != nil {
		return cid.Undef, err
	}
	return CIDOf(b), nil
}

// DecodeOutcome decodes what Encode returned, and rejects everything else.
func DecodeOutcome(b []byte) (Outcome, error) {
	var o Outcome
	err := decode(b, "outcome", func(r *record) {
		r.version()
		o.Task = r.link("task")
		o.State = State(r.str("st"))
		o.Code = int(r.uint("code"))
		o.Root = r.link("root")
		o.Size = r.uint("size")
		o.Fuel = r.uint("fuel")
		o.Pages = r.uint("pages")
		o.Tmp = r.uint("tmp")
		o.Log = r.uint("log")
		o.Stdout = r.linkOrNull("stdout")
		o.Stderr = r.linkOrNull("stderr")
		if n := r.nodeOrNull("lim"); n != nil {
			l := r.limitsOf(n)
			o.Limits = &l
		}
	})
	if err == nil {
		err = o.Validate()
	}
	if err == nil {
		err = same("outcome", b, o.node())
	}
	if err != nil {
		return Outcome{}, err
	}
	return o, nil
}

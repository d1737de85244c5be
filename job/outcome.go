package job

import (
	"fmt"
	"math"

	"github.com/ipfs/go-cid"
)

// State is how an evaluation ended. All but the machine's faults are results:
// final, the same everywhere, never retried.
type State string

// The states.
const (
	OK        State = "ok"          // returned, or exit code 0
	Exit      State = "exit"        // exit code 1..255
	Trap      State = "trap"        // the guest broke a rule of the machine; the code is a TrapCode
	OutOfFuel State = "out_of_fuel" // the fuel limit was reached
	Quota     State = "quota"       // another limit would have been exceeded; the code is a QuotaCode
)

// The codes of Trap, append-only.
const (
	TrapUnreachable  = 1
	TrapMemory       = 2 // out of bounds of the memory
	TrapTable        = 3 // out of bounds of a table
	TrapIndirectType = 4 // call_indirect to another type, or to null
	TrapDivide       = 5 // integer divide by zero; an integer out of range, divided or converted
	TrapConversion   = 6 // NaN to integer
	TrapStack        = 7 // recursion too deep
)

// The codes of Quota.
const (
	QuotaPages = 1
	QuotaOut   = 2
	QuotaTmp   = 3
	QuotaLog   = 4
)

// Limits bound one run. They belong to the Job, not to the Task, and are never
// visible to the guest: what would exceed one ends the run. A zero field is its default.
type Limits struct {
	Fuel  uint64 `json:"fuel"`  // instructions and their like
	Pages uint64 `json:"pages"` // of memory, 64 KiB each
	Out   uint64 `json:"out"`   // bytes of output
	Tmp   uint64 `json:"tmp"`   // bytes of /tmp
	Log   uint64 `json:"log"`   // bytes of stdout and stderr together
}

// DefaultLimits is what a zero Limits means.
var DefaultLimits = Limits{Fuel: 1e13, Pages: 16384, Out: 16 << 30, Tmp: 4 << 30, Log: 64 << 20}

// MaxPages is the most that a 32-bit memory has.
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

// Outcome is what a Task evaluates to. It is unsigned and holds nothing that differs
// between machines: its CID is what two peers compare.
type Outcome struct {
	Task   cid.Cid
	State  State
	Code   int     // of exit, trap and quota; else 0
	Root   cid.Cid // what the run put out; the empty directory when it has nothing
	Size   uint64  // bytes of the blocks below Root that the run made
	Fuel   uint64  // what the run spent; the limit of one that ran out of it
	Pages  uint64  // peak of the memory
	Tmp    uint64  // peak bytes of /tmp
	Log    uint64  // bytes of stdout and stderr
	Stdout cid.Cid // a UnixFS file; cid.Undef when empty
	Stderr cid.Cid
	Limits *Limits // of out_of_fuel and quota alone: without them they say nothing
}

// Validate reports the first thing in o that the format does not allow.
func (o Outcome) Validate() error {
	bad := func(format string, a ...any) error { return fmt.Errorf("outcome: "+format, a...) }
	if err := checkLink("task", o.Task); err != nil {
		return bad("%w", err)
	}
	if err := checkLink("root", o.Root); err != nil {
		return bad("%w", err)
	}
	for _, c := range []cid.Cid{o.Stdout, o.Stderr} {
		if c.Defined() {
			if err := checkLink("stdout or stderr", c); err != nil {
				return bad("%w", err)
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
		return bad("unknown state %q", o.State)
	}
	if o.Code < lo || o.Code > hi {
		return bad("code %d of state %s", o.Code, o.State)
	}
	limited := o.State == OutOfFuel || o.State == Quota
	if limited != (o.Limits != nil) {
		return bad("limits belong to out_of_fuel and quota, and to nothing else")
	}
	if o.State == OutOfFuel && o.Fuel != o.Limits.Fuel {
		return bad("fuel %d of a limit of %d, out of fuel", o.Fuel, o.Limits.Fuel)
	}
	if o.Pages > MaxPages {
		return bad("%d pages", o.Pages)
	}
	numbers := []uint64{o.Size, o.Fuel, o.Tmp, o.Log}
	if l := o.Limits; l != nil {
		numbers = append(numbers, l.Fuel, l.Pages, l.Out, l.Tmp, l.Log)
	}
	for _, n := range numbers {
		if n > math.MaxInt64 {
			return bad("the number %d is over 63 bits", n)
		}
	}
	return nil
}

// Encode returns o's canonical bytes, or what Validate says.
func (o Outcome) Encode() ([]byte, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return encode(o.node())
}

// CID returns the Outcome's name, or what Validate says.
func (o Outcome) CID() (cid.Cid, error) {
	b, err := o.Encode()
	if err != nil {
		return cid.Undef, err
	}
	return CIDOf(b), nil
}

// DecodeOutcome reads what Encode wrote and nothing else.
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
		err = same(b, o.node())
	}
	if err != nil {
		return Outcome{}, err
	}
	return o, nil
}

// Package fuel keeps the account of one run: its limit, the fuel granted to its guest and the
// fuel spent. The guest counts down its own global (package meter adds it), and asks for more
// when the global is below zero; host calls lower the same global.
//
// One rule: the fuel spent is a function of the Task alone. Grants are whole slices, whatever
// the limit, so that a run under one limit equals the run under any other up to the point where
// it ends.
package fuel

import (
	"errors"
	"math"
)

// ErrOut ends a run that is out of fuel: Spend and Refill panic with it, and the executor
// returns an Outcome of state out_of_fuel.
var ErrOut = errors.New("out of fuel")

// Global is the guest's counter, an i64: the unspent part of the grants. It may be below zero.
type Global interface {
	Get() uint64
	Set(uint64)
}

// Account is the fuel account of a run. It belongs to the goroutine of the run.
type Account struct {
	limit   int64
	slice   int64
	granted int64
	left    Global
	reading payer
}

// New returns an account with a limit, whose grants are multiples of slice.
func New(limit, slice uint64) *Account {
	return &Account{limit: int64(min(limit, math.MaxInt64)), slice: int64(slice), left: &counter{}}
}

// counter replaces the guest's global before the guest exists, and for guests that are not
// metered.
type counter struct{ v uint64 }

func (c *counter) Get() uint64  { return c.v }
func (c *counter) Set(v uint64) { c.v = v }

// Bind makes g, which is 0, the guest's counter. Fuel spent before stays spent.
func (a *Account) Bind(g Global) {
	a.granted = int64(a.Spent())
	a.left = g
}

// Spent returns the fuel spent so far. It is exact in a host call and after a clean end; after
// a trap it is the guest's last stored value.
func (a *Account) Spent() uint64 { return uint64(a.granted - int64(a.left.Get())) }

// Over reports whether more fuel was spent than the limit allows.
func (a *Account) Over() bool { return a.granted-int64(a.left.Get()) > a.limit }

// Spend charges n for work that follows. It panics with ErrOut if that, or what the guest has
// spent before, exceeds the limit.
func (a *Account) Spend(n uint64) {
	if !a.Pay(n) {
		panic(ErrOut)
	}
}

// Pay is Spend, but returns false instead of panicking.
func (a *Account) Pay(n uint64) bool {
	left := int64(a.left.Get())
	spent := a.granted - left
	if spent > a.limit || n > uint64(a.limit-spent) {
		// The account stays overdrawn for all later calls.
		a.left.Set(uint64(a.granted - a.limit - 1))
		return false
	}
	a.left.Set(uint64(left - int64(n)))
	return true
}

// Refill grants as many slices as bring left, the guest's counter below zero, to zero or above,
// and returns the counter's new value. It panics with ErrOut if more is spent than the limit
// allows.
func (a *Account) Refill(left int64) int64 {
	if a.granted-left > a.limit {
		a.left.Set(uint64(left))
		panic(ErrOut)
	}
	if left < 0 {
		grant := (-left + a.slice - 1) / a.slice * a.slice
		a.granted += grant
		left += grant
	}
	return left
}

// Package fuel keeps the account of one run: what it may spend, what was granted to
// its guest and what is spent. The guest counts down a global of its own (package
// meter put it there), and asks for more when it is below zero; host calls lower the
// same global.
//
// One rule: what is spent is a function of the Task alone. Grants are whole slices,
// whatever the limit leaves, so that a run under one limit is the run under any other
// up to the point where it ends.
package fuel

import (
	"errors"
	"math"
)

// ErrOut ends a run that cannot pay: Spend and Refill panic with it, and the executor
// makes the Outcome out_of_fuel of it.
var ErrOut = errors.New("out of fuel")

// Global is the guest's counter, an i64: what is left of the grants. It may be below
// zero.
type Global interface {
	Get() uint64
	Set(uint64)
}

// Account belongs to the goroutine of its run.
type Account struct {
	limit   int64
	slice   int64
	granted int64
	left    Global
	reading payer
}

// New returns an account that may spend limit, in grants of slice.
func New(limit, slice uint64) *Account {
	return &Account{limit: int64(min(limit, math.MaxInt64)), slice: int64(slice), left: &counter{}}
}

// counter stands for the guest's global before there is one, and for guests that are
// not metered.
type counter struct{ v uint64 }

func (c *counter) Get() uint64  { return c.v }
func (c *counter) Set(v uint64) { c.v = v }

// Bind makes g, which is 0, the guest's counter. What was spent before stays spent.
func (a *Account) Bind(g Global) {
	a.granted = int64(a.Spent())
	a.left = g
}

// Spent is the fuel spent so far: all of it in a host call or after a clean end; after
// a trap, what the guest had written down last.
func (a *Account) Spent() uint64 { return uint64(a.granted - int64(a.left.Get())) }

// Over reports that more was spent than there is.
func (a *Account) Over() bool { return a.granted-int64(a.left.Get()) > a.limit }

// Spend pays n for work that is about to be done. It panics with ErrOut if that, or
// what the guest spent by itself before, is more than there is.
func (a *Account) Spend(n uint64) {
	if !a.Pay(n) {
		panic(ErrOut)
	}
}

// Pay is Spend that answers false instead of panicking.
func (a *Account) Pay(n uint64) bool {
	left := int64(a.left.Get())
	spent := a.granted - left
	if spent > a.limit || n > uint64(a.limit-spent) {
		// The account stays overdrawn, whoever looks next.
		a.left.Set(uint64(a.granted - a.limit - 1))
		return false
	}
	a.left.Set(uint64(left - int64(n)))
	return true
}

// Refill grants as many slices as make left, the guest's counter below zero, something
// to go on with, and returns the counter's new value. It panics with ErrOut if more is
// spent than there is.
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

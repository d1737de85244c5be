// Package scheduler decides: whether to bid, whom to ask, which bids to take, when to
// try again. It does no I/O, starts no goroutine and reads no clock: a Placement (the
// requester's side of one job) and an Admission (the provider's book) are state
// machines that are fed events with the time at which they happened, so that a whole
// market can be replayed from a text file and simulated with the very code that runs.
//
// Gossip brings it hints. What binds is said between two peers: an Ask is answered by
// a Bid, which binds nobody; an Award is answered by Accept, which reserves.
//
// Nothing in it is safe for concurrent use: each value belongs to one goroutine, or
// stands behind its owner's lock.
package scheduler

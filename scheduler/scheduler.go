// Package scheduler makes the decisions of the market: whether to bid, which peers to ask, which
// bids to accept, when to try again. It does no I/O, starts no goroutine and reads no clock. A
// Placement (the requester's side of one job) and an Admission (the provider's admission queue) are
// state machines. They are fed events together with the time at which each happened. So a whole
// market can be replayed from a text file, and simulated with the code that nodes run.
//
// Gossip brings hints, which bind neither side. The protocol between two peers is binding only at
// its end: a Bid answers an Ask and does not reserve anything; an Accept answers an Award and
// reserves a slot or a place in the queue.
//
// Nothing in the package is safe for concurrent use: each value belongs to one goroutine, or is
// guarded by its owner's lock.
package scheduler

package node

import (
	"runtime"
	"sync"
)

// ballast counts as live for the garbage collector, and takes no memory: nothing is
// ever written to it.
var ballast []byte

const ballastSize = 64 << 20

// preparedProcess prepares the process for guests, once, and returns how many of them
// may execute at the same time.
//
// Go cannot take a thread from a guest between two of its host calls, and there may be
// minutes between them. So guests leave two of Go's processors to what serves the
// other processes. And as a collection begins with all threads stopped, which means
// waiting for the slowest guest, collections are made rare: with the ballast, the
// first comes after some 64 MiB of garbage and not after 4. (The runtime still forces
// one every two minutes.)
var preparedProcess = sync.OnceValue(func() int {
	ballast = make([]byte, ballastSize)
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 2)
	return n
})

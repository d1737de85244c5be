package node

import (
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// fuelBook remembers what runs of a module have cost at some size of input, for the
// price of the next one. It is a guess, kept in memory alone.
type fuelBook struct {
	mu    sync.Mutex
	known map[fuelKey]uint64
}

type fuelKey struct {
	mod  string // multihash
	size int    // bucket of the inputs' bytes
}

const maxFuelKnown = 4096

func keyOfFuel(mod cid.Cid, bytes uint64) fuelKey { return fuelKey{key(mod), job.Bucket(bytes)} }

// estimate returns what such a run cost last, 0 when nobody knows.
func (f *fuelBook) estimate(mod cid.Cid, bytes uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[keyOfFuel(mod, bytes)]
}

// learn takes note of a run: an average in which the latest counts most.
func (f *fuelBook) learn(mod cid.Cid, bytes, fuel uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := keyOfFuel(mod, bytes)
	if old, ok := f.known[k]; ok {
		fuel = old/2 + fuel/2
	} else if len(f.known) >= maxFuelKnown {
		for any := range f.known {
			delete(f.known, any)
			break
		}
	}
	if f.known == nil {
		f.known = map[fuelKey]uint64{}
	}
	f.known[k] = fuel
}

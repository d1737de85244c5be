package node

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
)

// fuelBook remembers what runs of a module have cost at some size of input, for the
// price of the next one. It is a guess. Each one is the record "f/", the module's CID as
// bytes and a byte for the size; a collection drops those whose modules are gone.
type fuelBook struct {
	mu    sync.Mutex
	known map[string]uint64 // by the record's name: what was looked up or learnt
}

const (
	fuelPrefix   = "f/"
	maxFuelKnown = 4096
)

func fuelName(mod cid.Cid, bytes uint64) string {
	return fuelPrefix + mod.KeyString() + string([]byte{byte(job.Bucket(bytes))})
}

// fuelEstimate returns what such a run cost last, 0 when nobody knows.
func (n *Node) fuelEstimate(mod cid.Cid, bytes uint64) (uint64, error) {
	f, name := &n.fuel, fuelName(mod, bytes)
	f.mu.Lock()
	defer f.mu.Unlock()
	if fuel, ok := f.known[name]; ok {
		return fuel, nil
	}
	b, found, err := n.store.Lookup(name)
	if err != nil {
		return 0, err
	}
	if fuel, k := binary.Uvarint(b); found && k > 0 {
		f.put(name, fuel)
		return fuel, nil
	}
	return 0, nil
}

func (f *fuelBook) put(name string, fuel uint64) {
	if _, ok := f.known[name]; !ok && len(f.known) >= maxFuelKnown {
		for any := range f.known {
			delete(f.known, any)
			break
		}
	}
	if f.known == nil {
		f.known = map[string]uint64{}
	}
	f.known[name] = fuel
}

// learnFuel takes note of a run: an average in which the latest counts most. It returns
// the record to commit, or none while the estimate stays about the same.
func (n *Node) learnFuel(mod cid.Cid, bytes, fuel uint64) ([]store.Record, error) {
	old, err := n.fuelEstimate(mod, bytes)
	if err != nil {
		return nil, err
	}
	if old > 0 {
		fuel = old/2 + fuel/2
	}
	name := fuelName(mod, bytes)
	n.fuel.mu.Lock()
	n.fuel.put(name, fuel)
	n.fuel.mu.Unlock()
	if old > 0 && fuel-old/8*7 <= old/4 { // within an eighth
		return nil, nil
	}
	return []store.Record{{Name: name, Value: binary.AppendUvarint(nil, fuel)}}, nil
}

// dropFuel forgets what modules cost that are gone.
func (n *Node) dropFuel(ctx context.Context, here func(cid.Cid) bool) error {
	names := map[string]cid.Cid{}
	err := n.store.Records(ctx, fuelPrefix, func(name string, _ func() ([]byte, error)) error {
		if _, mod, err := cid.CidFromBytes([]byte(name[len(fuelPrefix):])); err == nil {
			names[name] = mod
		}
		return nil
	})
	if err != nil {
		return err
	}
	var b store.Batch
	for name, mod := range names {
		if !here(mod) {
			b.Records = append(b.Records, store.Record{Name: name, Delete: true})
		}
	}
	return n.store.Commit(ctx, b)
}

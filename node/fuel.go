package node

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
)

// fuelEstimates caches how much fuel runs of a module used, by size of the input, to price the next run. It is
// an estimate. Each entry is the record "f/", the module's CID as bytes and one byte for the size; a collection
// drops entries of modules that are gone.
type fuelEstimates struct {
	mu    sync.Mutex
	known map[string]uint64 // by record name
}

const (
	fuelPrefix   = "f/"
	maxFuelKnown = 4096
)

func fuelName(mod cid.Cid, bytes uint64) string {
	return fuelPrefix + mod.KeyString() + string([]byte{byte(job.Bucket(bytes))})
}

// fuelEstimate returns how much fuel such a run used last, 0 when it is unknown.
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

func (f *fuelEstimates) put(name string, fuel uint64) {
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

// learnFuel updates the estimate with a run, as an average in which the latest run counts most. It returns the
// record to commit, or nil while the estimate stays about the same.
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

// dropFuel deletes the estimates of modules that are gone.
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

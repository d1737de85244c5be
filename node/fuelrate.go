package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// rateRecord has the speed of this machine. It is measured once per engine.
const rateRecord = "rate"

type rate struct {
	Engine string `json:"engine"`
	Fuel   uint64 `json:"fuel"` // per second
}

// rateFuel is the fuel of the measured guest: some tenths of a second.
const rateFuel = 200e6

// rateGuest counts in a loop until its fuel is spent.
const rateGuest = "\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + // type () -> ()
	"\x03\x02\x01\x00" +
	"\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00" +
	"\x0a\x12\x01\x10\x01\x01\x7f" + // one local i32
	"\x03\x40\x20\x00\x41\x01\x6a\x21\x00\x0c\x00\x0b\x0b" // loop: add 1, br 0

// fuelRate returns how much fuel a slot of this machine uses per second, 0 when that cannot be measured.
func (n *Node) fuelRate(ctx context.Context, executors runtime.Executors) (uint64, error) {
	x, err := executors.For(job.ABIWASI)
	if err != nil {
		return 0, nil
	}
	engine := x.Traits().Engine + " " + x.Traits().Version
	var r rate
	b, found, err := n.store.Lookup(rateRecord)
	if err != nil {
		return 0, err
	}
	if found && json.Unmarshal(b, &r) == nil && r.Engine == engine {
		return r.Fuel, nil
	}
	r = rate{Engine: engine}
	if r.Fuel, err = n.measureRate(ctx, x); err != nil {
		return 0, fmt.Errorf("measure fuel rate: %w", err)
	}
	if b, err = json.Marshal(r); err != nil {
		return 0, err
	}
	return r.Fuel, n.store.Commit(ctx, store.Batch{Records: []store.Record{{Name: rateRecord, Value: b}}})
}

func (n *Node) measureRate(ctx context.Context, x runtime.Executor) (uint64, error) {
	bs := new(dag.MemBlocks)
	mod := dag.NewBlock(cid.Raw, []byte(rateGuest))
	if err := bs.Put(ctx, mod); err != nil {
		return 0, err
	}
	scratch, remove, err := n.store.NewScratch()
	if err != nil {
		return 0, err
	}
	defer remove() //nolint:errcheck // the next Open removes a leftover folder
	t := job.Task{ABI: job.ABIWASI, Mod: mod.CID(), Fn: "_start", Det: job.Det2, Out: job.OutProfile}
	limits := job.Limits{Fuel: rateFuel}
	result, err := x.Run(ctx, t, limits.OrDefault(), runtime.Env{Blocks: bs, Scratch: scratch, Trusted: true})
	var refused *runtime.RefusedError
	if errors.As(err, &refused) || err == nil && result.Elapsed <= 0 {
		return 0, nil // the engine cannot run this guest
	}
	if err != nil {
		return 0, err
	}
	return uint64(float64(result.Outcome.Fuel) / result.Elapsed.Seconds()), nil
}

package node

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	goruntime "runtime"
	"time"

	"github.com/pbnjay/memory"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// NetworkConfig configures a node as a peer. The zero value of a field is its default.
type NetworkConfig struct {
	Listen       []string // multiaddrs; nil: host.DefaultListen
	NoListen     bool     // dial only: accept no connections
	Announce     []string // addresses to announce instead of the detected ones
	MDNS         bool     // discover members of the cluster on the local network
	Relay        bool     // relay connections between members that cannot reach each other
	Reachability string   // "public" or "private": overrides AutoNAT
	Connect      []string // multiaddrs of peers to stay connected to
	Join         string   // a join token, redeemed if this node is not in a cluster
	Bitswap      bool     // exchange blocks by Bitswap with the IPFS nodes in Policy.AllowPeers
	Policy       host.Policy

	ComputeOnly bool // keep no data beyond the jobs that it runs: Disk is a quota
	StoreOnly   bool // run no jobs of other peers

	Slots        int               // jobs that run at once; 0: one per processor
	Memory       uint64            // bytes of memory for all jobs; 0: three quarters of the machine's
	Disk         uint64            // bytes for other peers' blocks; 0: DefaultDisk
	Queue        int               // jobs that may wait; 0: four per slot, negative: none
	PerRequester int               // jobs of one requester; 0: all slots and half the queue
	AskRate      float64           // asks per second of one requester; 0: 10
	AskBurst     int               // burst of asks of one requester; 0: 20
	Ceiling      job.Limits        // highest limits that a member may request; zero fields: the default limits
	OpenCeiling  job.Limits        // highest limits that a non-member may request; zero fields: Ceiling
	MaxTime      time.Duration     // most time that another peer's job may run; 0: a day
	Labels       map[string]string // labels that Request.Need and Prefer match
	Retain       time.Duration     // how long a result is kept for its requester; 0: a day, which is the maximum

	Registerer prometheus.Registerer // for libp2p's metrics; nil: none
	Placement  scheduler.Config      // zero fields: the scheduler's defaults
	Market     market.Config         // zero fields: the market's defaults
}

// Defaults of a NetworkConfig.
const (
	DefaultDisk   = 16 << 30
	defaultRetain = 24 * time.Hour
	defaultTime   = 24 * time.Hour
)

// DefaultMemory is the default of NetworkConfig.Memory: three quarters of the machine's.
func DefaultMemory() uint64 { return memory.TotalMemory() / 4 * 3 }

func (c NetworkConfig) withDefaults() NetworkConfig {
	c.Slots = cmp.Or(c.Slots, goruntime.GOMAXPROCS(0))
	c.Memory = cmp.Or(c.Memory, DefaultMemory())
	c.Disk = cmp.Or(c.Disk, DefaultDisk)
	c.MaxTime = cmp.Or(c.MaxTime, defaultTime)
	c.Retain = min(cmp.Or(c.Retain, defaultRetain), defaultRetain)
	c.Ceiling = c.Ceiling.OrDefault()
	c.OpenCeiling = limitsOr(c.OpenCeiling, c.Ceiling)
	c.Labels = maps.Clone(c.Labels)
	return c
}

// limitsOr replaces the zero fields of l by those of by.
func limitsOr(l, by job.Limits) job.Limits {
	return job.Limits{
		Fuel: cmp.Or(l.Fuel, by.Fuel), Pages: cmp.Or(l.Pages, by.Pages), Out: cmp.Or(l.Out, by.Out),
		Tmp: cmp.Or(l.Tmp, by.Tmp), Log: cmp.Or(l.Log, by.Log),
	}
}

func (c NetworkConfig) check() error {
	switch {
	case c.ComputeOnly && c.StoreOnly:
		return errors.New("compute-only and store-only exclude each other")
	case c.Slots < 0 || c.Slots > job.MaxSlots:
		return fmt.Errorf("slots: got %d, want 1 to %d", c.Slots, job.MaxSlots)
	}
	return nil
}

func (c NetworkConfig) admission() scheduler.AdmissionConfig {
	return scheduler.AdmissionConfig{
		Slots: c.Slots, Memory: c.Memory, Queue: c.Queue, PerRequester: c.PerRequester, Rate: c.AskRate, Burst: c.AskBurst,
	}
}

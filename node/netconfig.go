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

// NetworkConfig makes a node a peer. Its zero fields are the defaults.
type NetworkConfig struct {
	Listen       []string // multiaddrs; nil: host.DefaultListen
	NoListen     bool     // it dials and is not dialed
	Announce     []string // addresses that others are told instead of the ones found
	MDNS         bool     // look for members of the cluster on the local network
	Relay        bool     // carry connections between members that cannot reach each other
	Reachability string   // "public" or "private": instead of what AutoNAT finds out
	Connect      []string // multiaddrs of peers that it always tries to be connected to
	Join         string   // a token of a cluster, to be redeemed if this node is in none
	Bitswap      bool     // exchange blocks with other IPFS nodes, those in Policy.AllowPeers
	Policy       host.Policy

	ComputeOnly bool // it keeps nothing beyond the jobs that it runs: Disk is a quota
	StoreOnly   bool // it runs nothing for others

	Slots        int               // jobs that run at once; 0: one for each processor
	Memory       uint64            // bytes that they may use together; 0: three quarters of the machine's
	Disk         uint64            // bytes that others' blocks may take; 0: DefaultDisk
	Queue        int               // jobs that may wait; 0: four for each slot, negative: none
	PerRequester int               // of one requester; 0: all slots and half the queue
	AskRate      float64           // asks a second of one requester; 0: 10
	AskBurst     int               // asks at once of one requester; 0: 20
	Ceiling      job.Limits        // the most that one job may ask for; zero fields: the default limits
	OpenCeiling  job.Limits        // the same for who is no member of the cluster; zero fields: Ceiling
	MaxTime      time.Duration     // that another's job may run; 0: a day
	Labels       map[string]string // what Request.Need and Prefer match
	Retain       time.Duration     // how long a result waits for its requester; 0: a day, which is the most

	Registerer prometheus.Registerer // of libp2p's own figures; nil: none
	Placement  scheduler.Config      // zero fields: the scheduler's defaults
	Market     market.Config         // the same of the market
}

// Defaults of a NetworkConfig.
const (
	DefaultDisk   = 16 << 30
	defaultRetain = 24 * time.Hour
	defaultTime   = 24 * time.Hour
)

func (c NetworkConfig) withDefaults() NetworkConfig {
	c.Slots = cmp.Or(c.Slots, goruntime.GOMAXPROCS(0))
	c.Memory = cmp.Or(c.Memory, memory.TotalMemory()/4*3)
	c.Disk = cmp.Or(c.Disk, DefaultDisk)
	c.MaxTime = cmp.Or(c.MaxTime, defaultTime)
	c.Retain = min(cmp.Or(c.Retain, defaultRetain), defaultRetain)
	c.Ceiling = c.Ceiling.OrDefault()
	c.OpenCeiling = limitsOr(c.OpenCeiling, c.Ceiling)
	c.Labels = maps.Clone(c.Labels)
	return c
}

// limitsOr replaces the zero fields of l.
func limitsOr(l, by job.Limits) job.Limits {
	return job.Limits{
		Fuel: cmp.Or(l.Fuel, by.Fuel), Pages: cmp.Or(l.Pages, by.Pages), Out: cmp.Or(l.Out, by.Out),
		Tmp: cmp.Or(l.Tmp, by.Tmp), Log: cmp.Or(l.Log, by.Log),
	}
}

func (c NetworkConfig) check() error {
	switch {
	case c.ComputeOnly && c.StoreOnly:
		return errors.New("a peer that neither computes nor stores")
	case c.Slots < 0 || c.Slots > job.MaxSlots:
		return fmt.Errorf("%d slots, want 1 to %d", c.Slots, job.MaxSlots)
	}
	return nil
}

func (c NetworkConfig) admission() scheduler.AdmissionConfig {
	return scheduler.AdmissionConfig{
		Slots: c.Slots, Memory: c.Memory, Queue: c.Queue, PerRequester: c.PerRequester, Rate: c.AskRate, Burst: c.AskBurst,
	}
}

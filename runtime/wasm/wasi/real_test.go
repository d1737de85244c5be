package wasi

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// TestReal checks the machine's clock, randomness and sleep, which the profile nondet uses.
func TestReal(t *testing.T) {
	c := newCaller(t, Config{Real: true})
	want(t, "clock_time_get", c.call("clock_time_get", 0, 0, outAt), eOK)
	if d := time.Since(time.Unix(0, int64(c.out64()))); d < 0 || d > time.Minute {
		t.Errorf("real time differs by %v", d)
	}
	var read [2][16]byte
	for i := range read {
		want(t, "random_get", c.call("random_get", dataAt, 16), eOK)
		b, _ := c.m.Read(dataAt, 16)
		copy(read[i][:], b)
	}
	if read[0] == read[1] {
		t.Errorf("random bytes %x twice", read[0])
	}
	begin := time.Now()
	c.subscribe(0, 7, eventClock, 1, uint64(20*time.Millisecond), 0)
	c.subscribe(1, 8, eventClock, 0, 0, clockAbsolute) // in the past
	if got := c.poll(t, 1); len(got) != 1 || time.Since(begin) < 20*time.Millisecond {
		t.Errorf("%v after %v", got, time.Since(begin))
	}
	c.subscribe(0, 7, eventClock, 1, uint64(time.Hour), 0)
	if got := c.poll(t, 2); len(got) != 1 || got[0][0] != 8 || time.Since(begin) > time.Minute {
		t.Errorf("%v after %v", got, time.Since(begin))
	}
}

// TestRealSleepIsInterrupted cancels a guest that sleeps for an hour.
func TestRealSleepIsInterrupted(t *testing.T) {
	c := newCaller(t, Config{Real: true})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	c.subscribe(0, 7, eventClock, 1, uint64(time.Hour), 0)
	begin := time.Now()
	defer func() {
		err, _ := recover().(error)
		if took := time.Since(begin); !errors.Is(err, cause) || took > 5*time.Second {
			t.Errorf("ended with %v after %v", err, took)
		}
	}()
	pollOneoff(ctx, c.s, c.m, []uint64{dataAt, pathAt, 1, outAt})
	t.Error("it slept to the end")
}

// TestClockIsFuel checks that the clock shows the fuel spent.
func TestClockIsFuel(t *testing.T) {
	a := fuel.New(1<<40, 100)
	c := newCaller(t, Config{Fuel: a})
	for id := range uint64(4) {
		a.Spend(123)
		want(t, "clock_time_get", c.call("clock_time_get", id, 0, outAt), eOK)
		if got := c.out64(); got != Epoch+a.Spent() {
			t.Errorf("clock %d: got %d after %d fuel", id, got-Epoch, a.Spent())
		}
	}
}

// TestPrices compares the cost of calls beyond FuelCall with the table in docs/abi.md.
func TestPrices(t *testing.T) {
	a := fuel.New(1<<50, 100)
	cfg, _ := testInputs(t)
	cfg.Fuel, cfg.Args, cfg.Env = a, []string{"main", "0123456789a"}, []string{"A=B"}
	c := newCaller(t, cfg)
	costs := func(what string, want uint64, name string, p ...uint64) {
		t.Helper()
		before := a.Spent()
		c.call(name, p...)
		if got := a.Spent() - before; got != want {
			t.Errorf("%s costs %d, want %d", what, got, want)
		}
	}
	costs("args_sizes_get", 0, "args_sizes_get", outAt, outAt)
	costs("args_get", 2, "args_get", dataAt, dataAt+100) // 8 + 17 bytes
	costs("environ_get", 1, "environ_get", dataAt, dataAt+100)
	costs("random_get", 63, "random_get", dataAt, 1000)
	costs("sched_yield", 0, "sched_yield")

	p, n := c.put(pathAt, "/out/f")
	costs("path_open", 2*abi.FuelEntry, "path_open", rootFD, 1, p, n, oCreat, rw, 0, 0, outAt)
	fd := uint64(c.out32())
	c.iovec(1000)
	costs("fd_write", 63, "fd_write", fd, iovAt, 1, outAt)
	costs("fd_seek", 0, "fd_seek", fd, 0, 0, outAt)
	costs("fd_read", 63, "fd_read", fd, iovAt, 1, outAt)
	costs("fd_read at the end", 0, "fd_read", fd, iovAt, 1, outAt)
	costs("fd_write to stdout", 1000+63, "fd_write", 1, iovAt, 1, outAt)
	for range 2 { // a repeated read costs the same
		p, n = c.put(pathAt, "in/tree/sub/leaf")
		costs("path_filestat_get", abi.FuelEntry+3*abi.FuelBlock, "path_filestat_get", rootFD, 1, p, n, outAt)
		fd, _ := c.open("in/long", 0, rightRead)
		c.iovec(1600)
		costs("a read of one leaf", abi.FuelBlock+100, "fd_pread", uint64(fd), iovAt, 1, 0, outAt)
		costs("a read of two leaves", 2*abi.FuelBlock+100, "fd_pread", uint64(fd), iovAt, 1, 1<<20-800, outAt)
		costs("a read beyond the end", 0, "fd_pread", uint64(fd), iovAt, 1, 1<<40, outAt)
		dir, _ := c.open("in/tree", oDirectory, 0)
		// ".", "..", two symlinks and a directory, whose blocks hold their kind, and the end.
		costs("fd_readdir", 6*abi.FuelEntry+3*abi.FuelBlock+5*2, "fd_readdir", uint64(dir), dataAt, 4096, 0, outAt)
	}
}

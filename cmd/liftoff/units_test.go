//go:build !windows

package main

import (
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]uint64{
		"0": 0, "1": 1, "4096": 4096, "9007199254740993": 9007199254740993, "1b": 1, "64KiB": 65536, "64 KiB": 65536,
		"512MiB": 512 << 20, "512m": 512 << 20, "1.5GiB": 3 << 29, "10MB": 10_000_000, "2tib": 2 << 40,
	} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "-1", "1e", "0x10", "1_000", "inf", "nan", "NaNMiB", "9223372036854775808", "9e18GiB", "1PiB", "MiB", "1 2"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%q: %d, want an error", s, got)
		}
	}
}

func TestParseFuel(t *testing.T) {
	for s, want := range map[string]uint64{
		"1": 1, "250000": 250_000, "9007199254740993": 9007199254740993, "1e9": 1e9, "5G": 5e9, "2k": 2000, "1.5m": 1_500_000, "3T": 3e12,
	} {
		if got, err := parseFuel(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "0", "0k", "x", "-1", "-1k", "1e", "0x10", "1_000", "inf", "nan", "nang", "9223372036854775808", "1e19", "1.5", "G", "1kk", "5 gallons"} {
		if got, err := parseFuel(s); err == nil {
			t.Errorf("%q: %d, want an error", s, got)
		}
	}
}

func TestExactSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 1000: "1000", 1025 << 10: "1025KiB", 12 << 30: "12GiB", 5 << 40: "5TiB", 1 << 60: "1048576TiB"} {
		got := exactSize(n)
		if got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
		if back, err := parseSize(got); err != nil || back != n {
			t.Errorf("%s: got %d, %v, want %d", got, back, err, n)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1 MiB", 1 << 30: "1 GiB", 1<<63 - 1: "8 EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, "2w": 336 * time.Hour, "250ms": 250 * time.Millisecond,
	} {
		if got, err := parseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "30", "0s", "-1h", "0d", "-3d", "1.5d", "999999999d", "d", "soon"} {
		if got, err := parseDuration(s); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

func TestParseKeep(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 0, "forever": api.KeepForever, "1d": 24 * time.Hour} {
		if got, err := parseKeep(s); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
}

func TestParseExpiry(t *testing.T) {
	now := time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"": {}, "never": {}, "24h": now.Add(24 * time.Hour), "30d": now.AddDate(0, 0, 30),
		"2030-12-31": time.Date(2030, 12, 31, 0, 0, 0, 0, time.UTC), "2030-06-01T15:00:00+02:00": now.Add(time.Hour),
	} {
		if got, err := parseExpiry(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"2030-05-31", "2030-13-01", "tomorrow", "-1h"} {
		if got, err := parseExpiry(s, now); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

//go:build !windows

package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// sizeUnits are the suffixes of a size, longest first.
var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"k", 1 << 10},
	{"m", 1 << 20},
	{"g", 1 << 30},
	{"t", 1 << 40},
	{"b", 1},
}

// parseSize parses a size in bytes: 4096, 64KiB, 1.5GiB, 10MB. K, M, G and T alone are
// binary units. Case does not matter.
func parseSize(s string) (uint64, error) {
	number, unit := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if n, err := strconv.ParseUint(number, 10, 63); err == nil && unit == 1 {
		return n, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if f *= unit; err != nil || strings.ContainsAny(number, "xpinf_") || math.IsNaN(f) || f < 0 || f >= math.MaxInt64 {
		return 0, usagef("%s is not a size, want a form like 4096, 512MiB or 1.5GiB", quote(s))
	}
	return uint64(f), nil
}

// fuelUnits are the suffixes of an amount of fuel. They are decimal.
var fuelUnits = map[string]float64{"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}

// parseFuel parses an amount of fuel: 250000, 1e9, 5G.
func parseFuel(s string) (uint64, error) {
	number, unit := strings.ToLower(strings.TrimSpace(s)), 1.0
	for suffix, of := range fuelUnits {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = rest, of
		}
	}
	if n, err := strconv.ParseUint(number, 10, 63); err == nil && unit == 1 && n > 0 {
		return n, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if f *= unit; err != nil || strings.ContainsAny(number, "xpinf_") || !(f >= 1) || f >= math.MaxInt64 || f != math.Trunc(f) {
		return 0, usagef("%s is not an amount of fuel, want a form like 250000, 1e9 or 5G", quote(s))
	}
	return uint64(f), nil
}

// exactSize formats a number of bytes as parseSize reads it, with the largest binary unit that divides it.
func exactSize(n uint64) string {
	unit, text := uint64(1), ""
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%(unit<<10) != 0 {
			break
		}
		unit, text = unit<<10, next
	}
	return strconv.FormatUint(n/unit, 10) + text
}

// size formats a number of bytes.
func size(n int64) string { return units.Bytes(n) }

// parseDuration parses 90s, 1h30m, 30d or 2w.
func parseDuration(s string) (time.Duration, error) {
	bad := usagef("%s is not a duration, want a form like 90s, 24h or 30d", quote(s))
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			days, err := strconv.ParseUint(n, 10, 32)
			if err != nil || days == 0 || days > uint64(math.MaxInt64/unit) {
				return 0, bad
			}
			return time.Duration(days) * unit, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, bad
	}
	return d, nil
}

// parseKeep parses the time for which the data of a job is kept: a duration or "forever".
func parseKeep(s string) (time.Duration, error) {
	switch s {
	case "":
		return 0, nil
	case "forever":
		return api.KeepForever, nil
	}
	return parseDuration(s)
}

// parseExpiry parses when a pin expires: a duration from now, a date, or a time of RFC 3339.
func parseExpiry(s string, now time.Time) (time.Time, error) {
	if s == "" || s == "never" {
		return time.Time{}, nil
	}
	at, err := time.ParseInLocation(time.DateOnly, s, now.Location())
	if err != nil {
		at, err = time.Parse(time.RFC3339, s)
	}
	if err != nil {
		d, derr := parseDuration(s)
		if derr != nil {
			return time.Time{}, usagef("%s is neither a duration (24h, 30d) nor a date (2030-12-31)", quote(s))
		}
		at = now.Add(d)
	}
	if !at.After(now) {
		return time.Time{}, usagef("end time %s is in the past", quote(s))
	}
	return at, nil
}

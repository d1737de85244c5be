package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// The record and the notes are read by people: these make the words.

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// cut bounds what a peer says of itself.
func cut(s string) string {
	if len(s) <= job.MaxRefusal {
		return s
	}
	return strings.ToValidUTF8(s[:job.MaxRefusal-3], "") + "..."
}

// Short names a peer in a line for people: the end of a did:key tells it from others.
func Short(d job.DID) string {
	s := strings.TrimPrefix(string(d), "did:key:")
	if len(s) <= 14 {
		return s
	}
	return s[:4] + ".." + s[len(s)-8:]
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// round shows a time to people.
func round(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

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

// Texts of the record and of the notes, which are displayed to users.

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// truncate truncates a text that a peer sent to job.MaxRefusal bytes.
func truncate(s string) string {
	if len(s) <= job.MaxRefusal {
		return s
	}
	return strings.ToValidUTF8(s[:job.MaxRefusal-3], "") + "..."
}

// Short returns the short name of a peer for display, which tables use, too: both ends of its did:key.
func Short(d job.DID) string {
	s := strings.TrimPrefix(string(d), "did:key:")
	if len(s) <= 13 {
		return s
	}
	return s[:6] + "…" + s[len(s)-6:]
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// roundTime formats a duration for display.
func roundTime(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

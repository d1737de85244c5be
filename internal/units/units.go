// Package units writes numbers with their units for people. It is the only formatter of sizes, so
// that a size reads the same in a table, an error and a log.
package units

import (
	"strconv"
	"strings"
)

// Bytes writes a number of bytes in binary units: 812 B, 1.5 KiB, 3 GiB.
func Bytes[N ~int | ~int64 | ~uint64](n N) string {
	if n < 1024 {
		return strconv.FormatInt(int64(n), 10) + " B"
	}
	const prefixes = "KMGTPE"
	f, i := float64(n), -1
	for f >= 1023.95 && i < len(prefixes)-1 {
		f /= 1024
		i++
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0") + " " + prefixes[i:i+1] + "iB"
}

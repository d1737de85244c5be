// Package units writes numbers with their units for people. It is the only formatter of sizes, so
// that a size reads the same in a table, an error and a log.
package units

import "strconv"

// Bytes writes a number of bytes in binary units: 812 B, 1.5 KiB, 3.0 GiB.
func Bytes(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	const prefixes = "KMGTPE"
	f, i := float64(n), -1
	for f >= 1023.95 && i < len(prefixes)-1 {
		f /= 1024
		i++
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + prefixes[i:i+1] + "iB"
}

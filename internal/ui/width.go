package ui

import (
	"strings"

	"github.com/rivo/uniseg"
)

// width is how many columns of a terminal a text takes: two for a wide rune, none for a mark that
// combines with the rune before it.
func width(s string) int {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return uniseg.StringWidth(s)
		}
	}
	return len(s)
}

// cut returns as much of a text as n columns hold, with … in place of what is left out.
func cut(s string, n int) string {
	if width(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	used, state := 0, -1
	rest := s
	for rest != "" {
		var w int
		before := rest
		_, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used += w; used > n-1 {
			return s[:len(s)-len(before)] + "…"
		}
	}
	return s
}

// pad fills a text to n columns, on its left when right is true.
func pad(s string, n int, right bool) string {
	space := strings.Repeat(" ", max(n-width(s), 0))
	if right {
		return space + s
	}
	return s + space
}

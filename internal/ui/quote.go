package ui

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Quote returns s as it is when it can stand in a line, and as a Go string literal when it
// cannot: when it is empty, is not UTF-8, begins with a quotation mark, or holds a rune that does
// not print, such as a newline or a terminal's escape.
func Quote(s string) string {
	if s == "" || s[0] == '"' || !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// field returns a text, which Quote has returned, so that it can stand in front of another field.
func field(s string) string {
	if s != "" && s[0] != '"' && strings.ContainsAny(s, ` "`) {
		return strconv.Quote(s)
	}
	return s
}

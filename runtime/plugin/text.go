package plugin

import (
	"fmt"
	"strings"
	"unicode"
)

// maxMessage bounds a program's message that is shown to a user, in bytes.
const maxMessage = 2 << 10

// clean makes a program's message safe to print: limited in length, and without terminal
// control characters.
func clean(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "…"
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, s)
}

// reason is clean for the reason of a refusal or an error, which must not be empty.
func reason(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return "plugin gave no reason"
	}
	return clean(s)
}

// quote returns a program's string in quotes, limited in length.
func quote(s string) string {
	if len(s) > 128 {
		s = s[:128] + "…"
	}
	return fmt.Sprintf("%q", s)
}

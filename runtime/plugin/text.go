package plugin

import (
	"fmt"
	"strings"
	"unicode"
)

// maxMessage bounds what a program says that reaches a person, in bytes.
const maxMessage = 2 << 10

// clean makes a program's message fit to be printed: bounded, and without what a terminal
// would act on.
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

// quote is a program's word in quotes, bounded.
func quote(s string) string {
	if len(s) > 128 {
		s = s[:128] + "…"
	}
	return fmt.Sprintf("%q", s)
}

package node

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"strings"
	"sync"
	"time"
)

// A job's id is "j-" and 100 bits in base32: 48 bits of milliseconds since 1970 and 52 random bits. The alphabet
// is base32hex in lower case, whose order is that of its characters, so that ids sort by time.
const (
	idPrefix   = "j-"
	idAlphabet = "0123456789abcdefghijklmnopqrstuv"
	idChars    = 20
)

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// ids generates ids, each greater than the previous ones of the same process.
type ids struct {
	mu   sync.Mutex
	last [13]byte // 100 bits and 4 zero ones
}

func (g *ids) next(now time.Time) string {
	var b [13]byte
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	rand.Read(b[6:])
	b[12] &= 0xf0

	g.mu.Lock()
	defer g.mu.Unlock()
	if bytes.Compare(b[:], g.last[:]) <= 0 { // the same millisecond, or the clock went back
		b = g.last
		carry := 0x10
		for i := len(b) - 1; i >= 0 && carry > 0; i-- {
			carry += int(b[i])
			b[i], carry = byte(carry), carry>>8
		}
	}
	g.last = b
	return idPrefix + idEncoding.EncodeToString(b[:])[:idChars]
}

// isID reports whether s is a complete id.
func isID(s string) bool { return len(s) == len(idPrefix)+idChars && isIDPrefix(s) }

// isIDPrefix reports whether s is a prefix of a valid id, at least "j-".
func isIDPrefix(s string) bool {
	chars, ok := strings.CutPrefix(s, idPrefix)
	return ok && len(chars) <= idChars && strings.Trim(chars, idAlphabet) == ""
}

package dag

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// jsonScan scans the bytes of a dag-json block without building a value, like cborScan. It enforces JSON (RFC 8259)
// and finds the links of DAG-JSON (https://ipld.io/specs/codecs/dag-json/spec/): a link is a map with the single key
// "/" and a string, which is a CID. It does not require sorted or unique keys, or limit the range of numbers.
type jsonScan struct {
	b     []byte
	off   int
	links []cid.Cid
}

// jsonLinks returns the links of a dag-json block in byte order.
func jsonLinks(b []byte) ([]cid.Cid, error) {
	s := jsonScan{b: b}
	err := s.value(0)
	if err == nil && s.peek() >= 0 {
		err = errors.New("data after the JSON value")
	}
	if err != nil {
		return nil, fmt.Errorf("%w at byte %d", err, s.off)
	}
	return s.links, nil
}

var errJSON = errors.New("invalid JSON")

// peek skips white space and returns the byte after it, or -1 at the end.
func (s *jsonScan) peek() int {
	for ; s.off < len(s.b); s.off++ {
		switch c := s.b[s.off]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return int(c)
		}
	}
	return -1
}

// next skips white space and the byte c, and reports whether c was there.
func (s *jsonScan) next(c byte) bool {
	if s.peek() != int(c) {
		return false
	}
	s.off++
	return true
}

func (s *jsonScan) value(depth int) error {
	if depth > abi.MaxDepth {
		return fmt.Errorf("JSON value nested deeper than %d levels", abi.MaxDepth)
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, err := s.text()
		return err
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	return errJSON
}

func (s *jsonScan) array(depth int) error {
	s.off++
	if s.next(']') {
		return nil
	}
	for {
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if s.next(']') {
			return nil
		}
		if !s.next(',') {
			return errJSON
		}
	}
}

// object reads a map. If its first key is "/", it may be a link or bytes.
func (s *jsonScan) object(depth int) error {
	s.off++
	if s.next('}') {
		return nil
	}
	for first := true; ; first = false {
		if s.peek() != '"' {
			return errJSON
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if !s.next(':') {
			return errJSON
		}
		special := first && isText(key, "/")
		at := s.peek()
		begin, known := s.off, len(s.links)
		if err := s.value(depth + 1); err != nil {
			return err
		}
		value := s.b[begin:s.off]
		if s.next('}') {
			if special && at == '"' {
				return s.link(value)
			}
			if special && at == '{' && len(s.links) == known {
				return s.bytes(value)
			}
			return nil
		}
		if !s.next(',') {
			return errJSON
		}
	}
}

// maxCIDText is the maximum length in bytes of a link that is decoded: a CID of abi.MaxCID bytes in base 16, with its
// quotes. Decoding some bases takes quadratic time.
const maxCIDText = 2*abi.MaxCID + 3

// link records a link; quoted is its CID as a JSON string.
func (s *jsonScan) link(quoted []byte) error {
	if len(quoted) > maxCIDText {
		return fmt.Errorf("JSON link: got %d bytes, want at most %d", len(quoted), maxCIDText)
	}
	text := unquote(quoted)
	c, err := DecodeCID(text)
	if err != nil {
		return fmt.Errorf("bad CID in a JSON link: %w", err)
	}
	if c.Version() > 0 && !strings.ContainsRune(cidBases, rune(text[0])) {
		return fmt.Errorf("bad CID in a JSON link: got %.100q, want base 16, 32, 36, 58 or 64", text)
	}
	s.links = append(s.links, c)
	return nil
}

// cidBases are the prefixes of the bases that a link may use: 16, 32, 36, 58 and 64. Guests see the links, so the
// list must not depend on what a version of the library supports or overlooks.
const cidBases = "fFbBkKzmu"

// bytes checks a map that may be bytes, {"bytes": base64}: then it must be valid base64.
func (s *jsonScan) bytes(object []byte) error {
	in := jsonScan{b: object, off: 1}
	if in.peek() != '"' {
		return nil
	}
	key, err := in.text()
	if err != nil || !isText(key, "bytes") || !in.next(':') || in.peek() != '"' {
		return err
	}
	value, err := in.text()
	if err != nil || !in.next('}') {
		return err
	}
	if !isBase64(unquote(value)) {
		return errors.New("DAG-JSON bytes are not valid base64")
	}
	return nil
}

// isBase64 reports whether text is canonical base64, with or without padding: a decoder may also accept line breaks
// and trailing bits.
func isBase64(text string) bool {
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.StdEncoding} {
		if b, err := e.DecodeString(text); err == nil && e.EncodeToString(b) == text {
			return true
		}
	}
	return false
}

// text reads a string and returns its encoded form, with its quotes.
func (s *jsonScan) text() ([]byte, error) {
	begin := s.off
	for s.off++; s.off < len(s.b); s.off++ {
		switch c := s.b[s.off]; {
		case c == '"':
			s.off++
			quoted := s.b[begin:s.off]
			if !utf8.Valid(quoted) {
				return nil, errors.New("JSON string is not UTF-8")
			}
			return quoted, nil
		case c < ' ':
			return nil, errors.New("control character in a JSON string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, errors.New("block ends inside a JSON string")
}

// escape reads the rest of an escape sequence, up to its last byte.
func (s *jsonScan) escape() error {
	s.off++
	if s.off >= len(s.b) {
		return errJSON
	}
	switch s.b[s.off] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			s.off++
			if s.off >= len(s.b) || !isHex(s.b[s.off]) {
				return errJSON
			}
		}
		return nil
	}
	return errJSON
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// isText reports whether a quoted string decodes to want, a short string.
func isText(quoted []byte, want string) bool {
	return len(quoted) <= 2+6*len(want) && unquote(quoted) == want
}

// unquote decodes a string that text has read.
func unquote(quoted []byte) string {
	var v string
	if json.Unmarshal(quoted, &v) != nil {
		return ""
	}
	return v
}

func (s *jsonScan) literal(word string) error {
	if len(s.b)-s.off < len(word) || string(s.b[s.off:s.off+len(word)]) != word {
		return errJSON
	}
	s.off += len(word)
	return nil
}

// number reads -? (0 | [1-9] digits) (. digits)? ([eE] [+-]? digits)?
func (s *jsonScan) number() error {
	s.skip('-')
	if !s.skip('0') && s.digits() == 0 {
		return errJSON
	}
	if s.skip('.') && s.digits() == 0 {
		return errJSON
	}
	if s.skip('e') || s.skip('E') {
		if !s.skip('+') {
			s.skip('-')
		}
		if s.digits() == 0 {
			return errJSON
		}
	}
	return nil
}

func (s *jsonScan) skip(c byte) bool {
	if s.off < len(s.b) && s.b[s.off] == c {
		s.off++
		return true
	}
	return false
}

func (s *jsonScan) digits() (n int) {
	for s.off < len(s.b) && s.b[s.off] >= '0' && s.b[s.off] <= '9' {
		s.off++
		n++
	}
	return n
}

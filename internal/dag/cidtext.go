package dag

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// maxCIDTextAny is the maximum length in bytes of a CID as text, for a CID of abi.MaxCID bytes in any base. Decoding some
// bases takes quadratic time.
const maxCIDTextAny = 4 * abi.MaxCID

// NotCanonicalError means that a text decodes to CID, but is not its encoding: for example the unused bits of its last
// character are not zero. Such a text is likely a misspelled CID.
type NotCanonicalError struct {
	Text string
	Want string // the canonical text in the same base
}

func (e *NotCanonicalError) Error() string {
	return fmt.Sprintf("%.100s: not a canonical CID; did you mean %s?", e.Text, e.Want)
}

// DecodeCID parses a CID as text, in any base. It accepts only the text that encoding the CID in that base gives, so
// that one CID has one spelling; the error for any other text that decodes is a *NotCanonicalError.
func DecodeCID(text string) (cid.Cid, error) {
	if len(text) > maxCIDTextAny {
		return cid.Undef, errors.New("CID is too long")
	}
	c, err := cid.Decode(text)
	if err != nil {
		return cid.Undef, err
	}
	want := c.String()
	if c.Version() > 0 {
		if want, err = c.StringOfBase(multibase.Encoding([]rune(text)[0])); err != nil {
			return cid.Undef, err
		}
	}
	if text != want {
		return cid.Undef, &NotCanonicalError{text, want}
	}
	return c, nil
}

package dag

import (
	"errors"
	"strings"
	"testing"

	"github.com/multiformats/go-multibase"
)

// The last character of a base32 CID has unused bits: a text in which they are not zero names the same CID, but is
// likely misspelled.
func TestDecodeCIDCanonical(t *testing.T) {
	const good, bad = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354", "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf355"
	c, err := DecodeCID(good)
	if err != nil || c.String() != good {
		t.Fatalf("%v, %v", c, err)
	}
	for _, base := range []multibase.Encoding{multibase.Base16, multibase.Base32Upper, multibase.Base36, multibase.Base58BTC, multibase.Base64url} {
		text, err := c.StringOfBase(base)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeCID(text); err != nil || got != c {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	var other *NotCanonicalError
	if got, err := DecodeCID(bad); !errors.As(err, &other) || other.Want != good {
		t.Errorf("%v, %v; want a suggestion of %s", got, err, good)
	}
	for _, text := range []string{bad, bad + "/a", "/ipfs/" + bad, "ipfs://" + bad} {
		if p, err := ParsePath(text); err == nil || !strings.Contains(err.Error(), "not a canonical CID; did you mean "+good+"?") {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "b", "bafy", strings.Repeat("b", 1<<20)} {
		if c, err := DecodeCID(text); err == nil {
			t.Errorf("%.20q was accepted: %v", text, c)
		}
	}
}

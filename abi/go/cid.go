package liftoff

import "encoding/base32"

// CID is a content identifier in its binary form: comparable, and usable as a map key.
type CID string

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the usual text form, base32. A CIDv0 is written as the CIDv1 of
// the same block.
func (c CID) String() string {
	if c == "" {
		return ""
	}
	if len(c) == 34 && c[0] == SHA256 && c[1] == 32 {
		c = "\x01\x70" + c
	}
	return "b" + base32Lower.EncodeToString([]byte(c))
}

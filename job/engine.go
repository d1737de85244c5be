package job

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// ABIs of executors that are not this program. Their Tasks are DetNone: nobody meters
// them, and two runs may differ.
const (
	ABIDocker = "docker" // Mod is an image: an Image block, or the root of an OCI archive
	// ABIPlugin begins the ABIs that plugins define: "x_" and 1 to 32 of a-z, 0-9 and _.
	ABIPlugin = "x_"
)

// FnRun is Task.Fn where there is nothing to choose from: of every ABI but the two of
// modules.
const FnRun = "run"

var pluginABI = regexp.MustCompile(`^x_[a-z0-9_]{1,32}$`)

// Foreign reports whether abi is one that only a plugin runs.
func Foreign(abi string) bool { return abi == ABIDocker || pluginABI.MatchString(abi) }

// validateABI checks what the ABI says of the other fields.
func (t Task) validateABI() error {
	switch {
	case t.ABI == ABILiftoff || t.ABI == ABIWASI:
		return nil
	case !Foreign(t.ABI):
		return fmt.Errorf("task: unknown abi %q", t.ABI)
	case t.Det != DetNone:
		return fmt.Errorf("task: abi %q under %s: nobody meters it", t.ABI, t.Det)
	case t.Fn != FnRun:
		return fmt.Errorf("task: fn %q under abi %q, want %q", t.Fn, t.ABI, FnRun)
	}
	return nil
}

// Image names a container image by what cannot change. As a block it is the Mod of a
// Task whose image does not travel as blocks itself.
type Image struct {
	Ref string // as the user wrote it, for people and to find a registry: "alpine:3.20"
	// Digest is 32 bytes of sha2-256: of the image's manifest, as registries name it, or,
	// for an image that never was in one, of its configuration, as engines name it.
	Digest []byte
}

// maxRef is the length, in bytes, of the longest reference.
const maxRef = 512

// Validate reports the first thing in i that the format does not allow.
func (i Image) Validate() error {
	switch {
	case i.Ref == "" || len(i.Ref) > maxRef || !utf8.ValidString(i.Ref) || strings.ContainsAny(i.Ref, "\x00 \t\r\n"):
		return fmt.Errorf("image: bad reference %q", i.Ref[:min(len(i.Ref), 80)])
	case len(i.Digest) != 32:
		return fmt.Errorf("image: a digest of %d bytes, want 32", len(i.Digest))
	}
	return nil
}

func (i Image) node() datamodel.Node {
	return buildMap(func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "v", qp.Int(Version))
		qp.MapEntry(m, "ref", qp.String(i.Ref))
		qp.MapEntry(m, "digest", qp.Bytes(i.Digest))
	})
}

// Encode returns i's canonical bytes, or what Validate says.
func (i Image) Encode() ([]byte, error) {
	if err := i.Validate(); err != nil {
		return nil, err
	}
	return encode(i.node())
}

// DecodeImage reads what Encode wrote and nothing else.
func DecodeImage(b []byte) (Image, error) {
	var i Image
	err := decode(b, "image", func(r *record) {
		r.version()
		i.Ref = r.str("ref")
		i.Digest = r.bytes("digest")
	})
	if err == nil {
		err = i.Validate()
	}
	if err == nil {
		err = same(b, i.node())
	}
	if err != nil {
		return Image{}, err
	}
	return i, nil
}

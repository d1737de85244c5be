package job

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// ABIs of executors that are separate programs. Their Tasks have the det profile DetNone: they are
// not metered, and two runs may differ.
const (
	ABIDocker = "docker" // Mod is an image: an Image block, or the root of an OCI archive
	// ABIPlugin is the prefix of the ABIs that plugins define, followed by 1 to 32 of a-z, 0-9 and
	// _.
	ABIPlugin = "x_"
)

// FnRun is the only value of Task.Fn for all ABIs but the two of WebAssembly modules.
const FnRun = "run"

var pluginABI = regexp.MustCompile(`^x_[a-z0-9_]{1,32}$`)

// Foreign reports whether only a plugin runs abi.
func Foreign(abi string) bool { return abi == ABIDocker || pluginABI.MatchString(abi) }

// validateABI checks the fields whose values depend on the ABI.
func (t Task) validateABI() error {
	switch {
	case t.ABI == ABILiftoff || t.ABI == ABIWASI:
		return nil
	case !Foreign(t.ABI):
		return fmt.Errorf("task: unknown abi %q", t.ABI)
	case t.Det != DetNone:
		return fmt.Errorf("task: abi %q needs det %q, got %q: it is not metered", t.ABI, DetNone, t.Det)
	case t.Fn != FnRun:
		return fmt.Errorf("task: fn of abi %q: got %q, want %q", t.ABI, t.Fn, FnRun)
	}
	return nil
}

// Image identifies a container image by its digest. An Image block is the Mod of a Task whose image
// is not transferred as blocks.
type Image struct {
	Ref string // as the user typed it, for display and to find a registry: "alpine:3.20"
	// Digest is 32 bytes of sha2-256: of the image's manifest, as registries name it; or of its
	// configuration, as engines name it, for an image that never was in a registry.
	Digest []byte
}

// maxRef is the maximum length of a reference in bytes.
const maxRef = 512

// Validate returns an error for the first field of i that the format does not allow.
func (i Image) Validate() error {
	switch {
	case i.Ref == "" || len(i.Ref) > maxRef || !utf8.ValidString(i.Ref) || strings.ContainsAny(i.Ref, "\x00 \t\r\n"):
		return fmt.Errorf("image: invalid reference %q", i.Ref[:min(len(i.Ref), 80)])
	case len(i.Digest) != 32:
		return fmt.Errorf("image: digest: got %d bytes, want 32", len(i.Digest))
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

// Encode returns the canonical bytes of i, or the error of Validate.
func (i Image) Encode() ([]byte, error) {
	if err := i.Validate(); err != nil {
		return nil, err
	}
	return encode("image", i.node())
}

// DecodeImage decodes what Encode returned, and rejects everything else.
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
		err = same("image", b, i.node())
	}
	if err != nil {
		return Image{}, err
	}
	return i, nil
}

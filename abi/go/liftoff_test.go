package liftoff

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Functions that need a host are tested by a guest: wasm-examples/testdata/sdk/go.

func TestCIDString(t *testing.T) {
	for code, name := range map[uint64]string{multihash.SHA2_256: "sha2-256", multihash.SHA2_512: "sha2-512"} {
		h, err := multihash.Sum([]byte("content"), code, -1)
		if err != nil {
			t.Fatal(err)
		}
		for _, codec := range []uint64{cid.Raw, cid.DagProtobuf, cid.DagCBOR} {
			c := cid.NewCidV1(codec, h)
			if have := CID(c.Bytes()).String(); have != c.String() {
				t.Errorf("%s: %s, want %s", name, have, c)
			}
		}
	}
	h, err := multihash.Sum([]byte("content"), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	v0 := cid.NewCidV0(h)
	if have, want := CID(v0.Bytes()).String(), cid.NewCidV1(cid.DagProtobuf, h).String(); have != want {
		t.Errorf("CIDv0: got %s, want %s", have, want)
	}
	if s := CID("").String(); s != "" {
		t.Errorf("empty CID: got %q", s)
	}
}

func TestError(t *testing.T) {
	_, err := check("resolve", -int64(abi.NOENT))
	wrapped := fmt.Errorf("open it: %w", err)
	if !errors.Is(wrapped, abi.NOENT) || !errors.Is(wrapped, fs.ErrNotExist) {
		t.Errorf("%v is neither NOENT nor fs.ErrNotExist", wrapped)
	}
	if errors.Is(wrapped, abi.BADF) || errors.Is(wrapped, fs.ErrExist) {
		t.Errorf("%v matches unrelated errors", wrapped)
	}
	if want := "liftoff: resolve: NOENT"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if n, err := check("codec", 0x70); n != 0x70 || err != nil {
		t.Errorf("answer: got %d, %v", n, err)
	}
}

func TestText(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 257, 5000} {
		want := make([]byte, n)
		for i := range want {
			want[i] = byte('a' + i%26)
		}
		have, err := text("readlink", func(p []byte) int64 {
			copy(p, want)
			return int64(n)
		})
		if err != nil || string(have) != string(want) {
			t.Errorf("%d bytes: got %d, %v", n, len(have), err)
		}
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":               nil,
		"\x00":           {""},
		"a\x00":          {"a"},
		"a\x00\x00b\x00": {"a", "", "b"},
	} {
		if diff := cmp.Diff(want, words([]byte(in))); diff != "" {
			t.Errorf("words(%q) (-want +have)\n%s", in, diff)
		}
	}
}

func TestNoHost(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a host call outside of a guest succeeded")
		}
	}()
	InputCount()
}

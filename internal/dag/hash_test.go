package dag

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

func TestCheckBlock(t *testing.T) {
	data := []byte("some bytes")
	for _, name := range []string{"sha2-256", "sha2-512", "blake2b-256", "blake3", "identity"} {
		code := multihash.Names[name]
		b, err := NewBlockPrefix(cid.Prefix{Version: 1, Codec: cid.Raw, MhType: code, MhLength: -1}, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b, err = CheckBlock(b.CID(), data); err != nil || string(b.Data()) != string(data) {
			t.Errorf("%s: %v", name, err)
		}
		var damaged *DamagedError
		for _, other := range []string{"", "some bytez", "some bytes "} {
			if _, err := CheckBlock(b.CID(), []byte(other)); !errors.As(err, &damaged) || damaged.CID != b.CID() {
				t.Errorf("%s of %q: %v", name, other, err)
			}
		}
	}
}

// TestHashVectors: the digests are those of the published test vectors for "abc".
func TestHashVectors(t *testing.T) {
	for name, want := range map[string]string{
		"sha2-256":    "1220ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"blake2b-256": "a0e40220bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319",
		"blake3":      "1e206437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
	} {
		b, err := NewBlockPrefix(cid.Prefix{Version: 1, Codec: cid.Raw, MhType: multihash.Names[name], MhLength: -1}, []byte("abc"))
		if err != nil || b.CID().Hash().HexString() != want {
			t.Errorf("%s: %s, %v", name, b.CID().Hash().HexString(), err)
		}
	}
}

func TestCheckBlockRefuses(t *testing.T) {
	var unsupported *UnsupportedError
	for _, name := range []string{"sha1", "md5", "sha3-256", "blake2b-160", "murmur3-x64-64", "dbl-sha2-256"} {
		mh, err := multihash.Encode(make([]byte, 20), multihash.Names[name])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CheckBlock(cid.NewCidV1(cid.Raw, mh), nil); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	short, _ := multihash.Encode(make([]byte, 4), multihash.SHA2_256) // a truncated digest is easy to collide with
	if _, err := CheckBlock(cid.NewCidV1(cid.Raw, short), nil); !errors.As(err, &unsupported) {
		t.Errorf("a short digest: %v", err)
	}
	if _, err := CheckBlock(identityCID(129), make([]byte, 129)); !errors.As(err, &unsupported) {
		t.Errorf("a long identity: %v", err)
	}
	if _, err := CheckBlock(cid.Undef, nil); err == nil {
		t.Error("accepted the undefined CID")
	}
	var big *TooBigError
	large := make([]byte, MaxBlock+1)
	if _, err := CheckBlock(NewBlock(cid.Raw, large).CID(), large); !errors.As(err, &big) {
		t.Errorf("a large block: %v", err)
	}
}

func TestNewBlockPrefixRefuses(t *testing.T) {
	for name, p := range map[string]cid.Prefix{
		"v0 and raw":       {Version: 0, Codec: cid.Raw, MhType: multihash.SHA2_256, MhLength: -1},
		"v0 and blake3":    {Version: 0, Codec: cid.DagProtobuf, MhType: multihash.BLAKE3, MhLength: -1},
		"v2":               {Version: 2, Codec: cid.Raw, MhType: multihash.SHA2_256, MhLength: -1},
		"truncated":        {Version: 1, Codec: cid.Raw, MhType: multihash.SHA2_256, MhLength: 20},
		"sha1":             {Version: 1, Codec: cid.Raw, MhType: multihash.SHA1, MhLength: -1},
		"a large identity": {Version: 1, Codec: cid.Raw, MhType: multihash.IDENTITY, MhLength: -1},
	} {
		if b, err := NewBlockPrefix(p, make([]byte, 129)); err == nil {
			t.Errorf("%s: %s", name, b.CID())
		}
	}
}

func TestLoad(t *testing.T) {
	bs := new(watchBlocks)
	if b, err := Load(ctx, bs, identityCID(128)); err != nil || len(b.Data()) != 128 || len(bs.gets) != 0 {
		t.Errorf("identity: %v, %d reads", err, len(bs.gets))
	}
	if _, err := Load(ctx, bs, identityCID(129)); err == nil {
		t.Error("a long identity CID was loaded")
	}
	var big *TooBigError
	if _, err := Load(ctx, bs, put(bs, cid.Raw, make([]byte, MaxBlock+1))); !errors.As(err, &big) {
		t.Errorf("a large block: %v", err)
	}
	pb := NewBlock(cid.DagProtobuf, nil)
	if b, err := Load(ctx, byHash{pb}, cid.NewCidV1(cid.Raw, pb.CID().Hash())); err != nil || b.CID().Type() != cid.Raw {
		t.Errorf("set indexed by hash: %v, %v", b.CID(), err)
	}
	var missing *NotFoundError
	if _, err := Load(ctx, bs, NewBlock(cid.Raw, nil).CID()); !errors.As(err, &missing) {
		t.Errorf("missing: %v", err)
	}
}

// byHash is a set of one block that it returns for every codec.
type byHash struct{ b Block }

func (s byHash) Get(context.Context, cid.Cid) (Block, error) { return s.b, nil }
func (s byHash) Has(context.Context, cid.Cid) (bool, error)  { return true, nil }
func (s byHash) Put(context.Context, ...Block) error         { return nil }

package dag

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"golang.org/x/crypto/blake2b"
	"lukechampine.com/blake3"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// MaxBlock is the maximum size of a block in bytes.
const MaxBlock = abi.MaxBlockRead

// Multihash codes of the supported hash functions.
const (
	hashIdentity   = multihash.IDENTITY
	hashSHA256     = multihash.SHA2_256
	hashSHA512     = multihash.SHA2_512
	hashBlake2b256 = multihash.BLAKE2B_MIN + 31
	hashBlake3     = multihash.BLAKE3
)

// NewBlock makes a block with a CIDv1 and sha2-256. The block owns data; the caller must not change it afterwards.
func NewBlock(codec uint64, data []byte) Block {
	sum := sha256.Sum256(data)
	return Block{cid.NewCidV1(codec, encodeMultihash(hashSHA256, sum[:])), data}
}

// NewBlockPrefix makes a block with a CID of prefix p: version, codec and hash function. A negative p.MhLength means
// the function's full length, the only supported one. The block owns data.
func NewBlockPrefix(p cid.Prefix, data []byte) (Block, error) {
	if len(data) > MaxBlock {
		return Block{}, &TooBigError{Size: len(data), Max: MaxBlock}
	}
	digest, err := sum(p.MhType, data)
	if err != nil {
		return Block{}, err
	}
	if p.MhLength >= 0 && p.MhLength != len(digest) {
		return Block{}, fmt.Errorf("digest of %d bytes is not supported for hash %s", p.MhLength, hashName(p.MhType))
	}
	mh := encodeMultihash(p.MhType, digest)
	switch {
	case p.Version == 1:
		return Block{cid.NewCidV1(p.Codec, mh), data}, nil
	case p.Version == 0 && p.Codec == cid.DagProtobuf && p.MhType == hashSHA256:
		return Block{cid.NewCidV0(mh), data}, nil
	case p.Version == 0:
		return Block{}, fmt.Errorf("CIDv0 requires dag-pb and sha2-256")
	}
	return Block{}, fmt.Errorf("CID version %d is not supported", p.Version)
}

// CheckBlock hashes data and returns the block if it matches c. The error is a *DamagedError if it does not, an
// *UnsupportedError for an unsupported hash function (supported are sha2-256, sha2-512, blake2b-256, blake3 and
// identity, each with its full digest), and a *TooBigError beyond [MaxBlock]. The block owns data.
func CheckBlock(c cid.Cid, data []byte) (Block, error) {
	mh, err := decodeHash(c)
	if err != nil {
		return Block{}, err
	}
	if len(data) > MaxBlock {
		return Block{}, &TooBigError{c, len(data), MaxBlock}
	}
	if mh.Code == hashIdentity {
		if !bytes.Equal(mh.Digest, data) {
			return Block{}, &DamagedError{CID: c}
		}
		return Block{c, data}, nil
	}
	digest, err := sum(mh.Code, data)
	if err != nil {
		return Block{}, &UnsupportedError{c, "hash " + hashName(mh.Code)}
	}
	if len(digest) != len(mh.Digest) {
		return Block{}, &UnsupportedError{c, fmt.Sprintf("a digest of %d bytes for hash %s", len(mh.Digest), hashName(mh.Code))}
	}
	if !bytes.Equal(digest, mh.Digest) {
		return Block{}, &DamagedError{CID: c}
	}
	return Block{c, data}, nil
}

// Load gets block c: from the CID itself if it contains the block (identity, at most abi.MaxIdentity bytes),
// otherwise from bs. Every reader of this package uses it, so none reads a block beyond [MaxBlock]. A CID whose
// blocks cannot be checked is an *UnsupportedError, whatever bs returns: see [Served].
func Load(ctx context.Context, bs Blocks, c cid.Cid) (Block, error) {
	if IsIdentity(c) {
		return identityBlock(c)
	}
	if !Served(c) {
		return Block{}, &UnsupportedError{c, "the hash function or digest length of this CID"}
	}
	if err := ctx.Err(); err != nil {
		return Block{}, context.Cause(ctx)
	}
	b, err := bs.Get(ctx, c)
	if err != nil {
		return Block{}, err
	}
	if len(b.data) > MaxBlock {
		return Block{}, &TooBigError{c, len(b.data), MaxBlock}
	}
	return Block{c, b.data}, nil // with the requested codec: a set may index blocks by hash alone
}

// Served reports whether blocks of c are supported: its hash function is a supported one with its full digest, and
// the CID is at most abi.MaxCID bytes long.
func Served(c cid.Cid) bool {
	if !c.Defined() || c.ByteLen() > abi.MaxCID {
		return false
	}
	switch p := c.Prefix(); p.MhType {
	case hashIdentity:
		return p.MhLength <= abi.MaxIdentity
	case hashSHA256, hashBlake3, hashBlake2b256:
		return p.MhLength == 32
	case hashSHA512:
		return p.MhLength == 64
	}
	return false
}

// IsIdentity reports whether c contains its block's bytes.
func IsIdentity(c cid.Cid) bool {
	return c.Defined() && c.Version() == 1 && c.Prefix().MhType == hashIdentity
}

func identityBlock(c cid.Cid) (Block, error) {
	mh, err := decodeHash(c)
	if err != nil {
		return Block{}, err
	}
	return Block{c, mh.Digest}, nil
}

func decodeHash(c cid.Cid) (*multihash.DecodedMultihash, error) {
	if !c.Defined() {
		return nil, fmt.Errorf("undefined CID")
	}
	mh, err := multihash.Decode(c.Hash())
	if err != nil {
		return nil, &UnsupportedError{c, fmt.Sprintf("multihash (%v)", err)}
	}
	if mh.Code == hashIdentity && len(mh.Digest) > abi.MaxIdentity {
		return nil, &UnsupportedError{c, fmt.Sprintf("identity hash of %d bytes (at most %d)", len(mh.Digest), abi.MaxIdentity)}
	}
	return mh, nil
}

func sum(code uint64, data []byte) ([]byte, error) {
	switch code {
	case hashSHA256:
		d := sha256.Sum256(data)
		return d[:], nil
	case hashSHA512:
		d := sha512.Sum512(data)
		return d[:], nil
	case hashBlake2b256:
		d := blake2b.Sum256(data)
		return d[:], nil
	case hashBlake3:
		d := blake3.Sum256(data)
		return d[:], nil
	case hashIdentity:
		if len(data) > abi.MaxIdentity {
			return nil, fmt.Errorf("identity CID: got %d bytes, want at most %d", len(data), abi.MaxIdentity)
		}
		return data, nil
	}
	return nil, fmt.Errorf("hash %s is not supported", hashName(code))
}

func hashName(code uint64) string {
	if name, ok := multihash.Codes[code]; ok {
		return name
	}
	return fmt.Sprintf("0x%x", code)
}

func encodeMultihash(code uint64, digest []byte) multihash.Multihash {
	mh, err := multihash.Encode(digest, code)
	if err != nil {
		panic(err) // only for a nil or oversized digest, and sum returns neither
	}
	return mh
}

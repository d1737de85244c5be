package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func TestBlocks(t *testing.T) {
	s := newStore(t)
	var all []dag.Block
	for i, n := range []int{0, 1, 300, 4096, 256 << 10, 1 << 20, dag.MaxBlock} {
		all = append(all, raw(uint64(i), n))
	}
	for _, p := range []cid.Prefix{
		{Version: 0, Codec: cid.DagProtobuf, MhType: multihash.SHA2_256, MhLength: -1},
		{Version: 1, Codec: cid.Raw, MhType: multihash.SHA2_512, MhLength: -1},
		{Version: 1, Codec: cid.Raw, MhType: multihash.BLAKE3, MhLength: -1},
		{Version: 1, Codec: cid.Raw, MhType: multihash.BLAKE2B_MIN + 31, MhLength: -1},
	} {
		b, err := dag.NewBlockPrefix(p, []byte("hashed in some way"))
		must(t, err)
		all = append(all, b)
	}
	wantGone(t, s, all...)
	must(t, s.Put(t.Context(), all...))
	wantHere(t, s, all...)
	must(t, s.Put(t.Context(), all...))
	must(t, s.Sync(t.Context()))
	must(t, s.Close())

	s = open(t, s.Dir(), Config{Verify: true})
	wantHere(t, s, all...)
	v := clean(t, s)
	u, err := s.Stat(t.Context())
	must(t, err)
	if v.Blocks != len(all) || u.Blocks != v.Blocks || u.Bytes != v.Bytes || v.Foreign != 0 {
		t.Errorf("check: %+v, stat: %+v, put %d", v, u, len(all))
	}
}

func TestBytesAreKeptOnce(t *testing.T) {
	s := newStore(t)
	data := []byte("the same bytes")
	key := raw(0, 0).CID().Prefix()
	key.MhLength = -1
	sum, err := key.Sum(data)
	must(t, err)
	must(t, s.Put(t.Context(), dag.TrustBlock(cid.NewCidV1(cid.DagCBOR, sum.Hash()), data)))
	for _, c := range []cid.Cid{cid.NewCidV0(sum.Hash()), cid.NewCidV1(cid.DagProtobuf, sum.Hash()), sum} {
		wantHere(t, s, dag.TrustBlock(c, data))
	}
	if u, _ := s.Stat(t.Context()); u.Blocks != 1 {
		t.Errorf("%d blocks", u.Blocks)
	}
}

func TestIdentityIsNotStored(t *testing.T) {
	s := newStore(t)
	sum, err := multihash.Sum([]byte("carried by the CID"), multihash.IDENTITY, -1)
	must(t, err)
	b := dag.TrustBlock(cid.NewCidV1(cid.Raw, sum), []byte("carried by the CID"))
	wantHere(t, s, b)
	must(t, s.Put(t.Context(), b))
	if u, _ := s.Stat(t.Context()); u.Blocks != 0 {
		t.Errorf("%d blocks", u.Blocks)
	}
}

func TestPutRefuses(t *testing.T) {
	s := newStore(t)
	big := raw(1, dag.MaxBlock+1)
	err := s.Put(t.Context(), big)
	wantErr(t, err, big.CID().String(), "2097153 bytes")
	wantGone(t, s, big)

	long, err := multihash.Encode(make([]byte, 200), multihash.SHA2_512)
	must(t, err)
	wide := dag.TrustBlock(cid.NewCidV1(cid.Raw, long), []byte("x"))
	wantErr(t, s.Put(t.Context(), wide), wide.CID().String(), "multihash")
	wantGone(t, s, wide)

	wantErr(t, s.Put(t.Context(), dag.Block{}), "without a CID")
	_, err = s.Get(t.Context(), cid.Undef)
	wantErr(t, err, "without a CID")

	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("canceled by the user")
	cancel(why)
	if err := s.Put(ctx, raw(2, 10)); err != why {
		t.Errorf("put after the end: %v", err)
	}
	if len(tree(t, s.Dir()+"/segments")) != 1 {
		t.Errorf("files were written: %q", tree(t, s.Dir()+"/segments"))
	}
}

// TestDamageOfFiles damages a block's file in ways that disks, crashes and users do. In every case the block is never
// wrong data, Check reports it, and putting the block again repairs it.
func TestDamageOfFiles(t *testing.T) {
	const size = 5000
	good, other := raw(1, size), raw(2, size)
	flip := func(at int) func(t *testing.T, path, _ string) {
		return func(t *testing.T, path, _ string) {
			b, err := os.ReadFile(path)
			must(t, err)
			b[at] ^= 1
			must(t, os.WriteFile(path, b, 0o600))
		}
	}
	cut := func(n int64) func(t *testing.T, path, _ string) {
		return func(t *testing.T, path, _ string) { must(t, os.Truncate(path, n)) }
	}
	for name, harm := range map[string]func(t *testing.T, path, other string){
		"first bit":          flip(0),
		"a bit in between":   flip(size / 2),
		"the last bit":       flip(size - 1),
		"a bit of the seal":  flip(size + 2),
		"empty":              cut(0),
		"less than a seal":   cut(3),
		"an empty block":     cut(4),
		"one byte short":     cut(size + 3),
		"no seal":            cut(size),
		"one byte more":      cut(size + 5),
		"far too long":       cut(64 << 20),
		"another's file":     func(t *testing.T, path, other string) { must(t, os.Rename(other, path)) },
		"zeros of its size":  func(t *testing.T, path, _ string) { must(t, os.WriteFile(path, make([]byte, size+4), 0o600)) },
		"a folder":           func(t *testing.T, path, _ string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
		"a link to nowhere":  func(t *testing.T, path, _ string) { must(t, os.Remove(path)); must(t, os.Symlink("/nowhere", path)) },
		"a link to a device": func(t *testing.T, path, _ string) { must(t, os.Remove(path)); must(t, os.Symlink("/dev/zero", path)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := firstStore(t, good, other)
			path := s.blocks.Where(good.CID().Hash())
			harm(t, path, s.blocks.Where(other.CID().Hash()))

			_, err := s.Get(t.Context(), good.CID())
			var damaged *dag.DamagedError
			var missing *dag.NotFoundError
			switch {
			case errors.As(err, &damaged):
				if damaged.CID != good.CID() || damaged.Where != path {
					t.Errorf("get: %+v", damaged)
				}
			case name == "a link to nowhere" && errors.As(err, &missing):
			default:
				t.Fatalf("get: %v, want a DamagedError", err)
			}

			var reported []Damage
			v, err := s.Check(t.Context(), func(d Damage) { reported = append(reported, d) })
			must(t, err)
			if len(reported) != 1 || reported[0].Where != path || reported[0].Err == nil || v.Damaged+v.Foreign != 1 {
				t.Errorf("check: %+v, %+v", v, reported)
			}
			if v.Damaged == 1 && !reported[0].CID.Equals(good.CID()) {
				t.Errorf("check reports %s", reported[0].CID)
			}

			must(t, s.Put(t.Context(), good, other)) // into a segment
			wantHere(t, s, good, other)
		})
	}
}

// TestDamage damages a block in a segment in ways that disks, crashes and users do. In every case the block is never
// wrong data, Check reports it, and putting it again repairs it.
func TestDamage(t *testing.T) {
	const size = 5000
	good, other := raw(1, size), raw(2, size)
	flip := func(n int64) func(t *testing.T, path string, at int64) {
		return func(t *testing.T, path string, at int64) { flipBit(t, path, at+n) }
	}
	for name, harm := range map[string]func(t *testing.T, path string, at int64){
		"first bit":        flip(0),
		"a bit in between": flip(size / 2),
		"the last bit":     flip(size - 1),
		"one byte short":   func(t *testing.T, path string, at int64) { must(t, os.Truncate(path, at+size-1)) },
		"empty":            func(t *testing.T, path string, _ int64) { must(t, os.Truncate(path, 0)) },
		"gone":             func(t *testing.T, path string, _ int64) { must(t, os.Remove(path)) },
		"zeros": func(t *testing.T, path string, at int64) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt(make([]byte, size), at)
			must(t, err)
			must(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			must(t, s.Put(t.Context(), other, good))
			must(t, s.Put(t.Context(), raw(3, 2<<20))) // enough for an index
			must(t, s.Close())
			s = open(t, s.Dir(), Config{})
			path, at, err := s.combined.large.(segmentStorage).s.Place(good.CID().Hash())
			must(t, err)
			if name == "gone" || name == "empty" { // of a segment that is not the active one
				must(t, s.Close())
				harm(t, path, at)
				s = open(t, s.Dir(), Config{})
			} else {
				harm(t, path, at)
			}

			_, err = s.Get(t.Context(), good.CID())
			var damaged *dag.DamagedError
			if !errors.As(err, &damaged) || damaged.CID != good.CID() || damaged.Where != path {
				t.Fatalf("get: %v, want a DamagedError", err)
			}
			var reported []Damage
			v, err := s.Check(t.Context(), func(d Damage) { reported = append(reported, d) })
			must(t, err)
			if v.Damaged == 0 || v.Damaged != len(reported) || !slices.ContainsFunc(reported, func(d Damage) bool {
				return d.CID.Equals(good.CID()) && d.Where == path && d.Err != nil
			}) {
				t.Errorf("check: %+v, %+v", v, reported)
			}
			must(t, s.Put(t.Context(), good, other, raw(3, 2<<20)))
			wantHere(t, s, good, other)
			clean(t, s)
			must(t, s.Close())
			s = open(t, s.Dir(), Config{})
			wantHere(t, s, good, other)
			clean(t, s)
		})
	}
}

// TestCheckHashes makes a file with a correct checksum and wrong bytes: only hashing detects it.
func TestCheckHashes(t *testing.T) {
	s := newStore(t)
	good := raw(1, 100)
	must(t, s.Put(t.Context(), dag.TrustBlock(good.CID(), bytes.Repeat([]byte("x"), 100))))
	var reported []Damage
	v, err := s.Check(t.Context(), func(d Damage) { reported = append(reported, d) })
	must(t, err)
	if v.Damaged != 1 || len(reported) != 1 || !reported[0].CID.Equals(good.CID()) {
		t.Errorf("%+v, %+v", v, reported)
	}
	must(t, s.Close())

	s = open(t, s.Dir(), Config{Verify: true})
	var damaged *dag.DamagedError
	if _, err := s.Get(t.Context(), good.CID()); !errors.As(err, &damaged) || damaged.Where == "" {
		t.Errorf("get: %v", err)
	}
	must(t, s.Put(t.Context(), good))
	wantHere(t, s, good)
}

func TestCheckReportsForeignFiles(t *testing.T) {
	b := raw(1, 100)
	s := firstStore(t, b)
	path := s.blocks.Where(b.CID().Hash())
	data, err := os.ReadFile(path)
	must(t, err)
	foreign := []string{s.Dir() + "/blocks/notes.txt", path + "x", path[:len(path)-1] + "Q", s.Dir() + "/blocks/zz/" + path[len(path)-55:]}
	must(t, os.MkdirAll(s.Dir()+"/blocks/zz", 0o700))
	for _, f := range foreign {
		must(t, os.WriteFile(f, data, 0o600))
	}
	must(t, os.WriteFile(s.Dir()+"/blocks/tmp/7", data, 0o600)) // a temporary file
	reported := map[string]bool{}
	v, err := s.Check(t.Context(), func(d Damage) {
		if d.CID.Defined() {
			t.Errorf("%s has a CID", d.Where)
		}
		reported[d.Where] = true
	})
	must(t, err)
	if v.Blocks != 1 || v.Damaged != 0 || v.Foreign != len(foreign) {
		t.Errorf("%+v", v)
	}
	for _, f := range foreign {
		if !reported[f] {
			t.Errorf("%s was not reported", f)
		}
	}
	if done := collect(t, s); done.Removed != 1 {
		t.Errorf("%+v", done)
	}
	for _, f := range foreign {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("collection removed a foreign file: %v", err)
		}
	}
	must(t, s.Close())
	open(t, s.Dir(), Config{})
	if _, err := os.Stat(s.Dir() + "/blocks/tmp/7"); !absent(err) {
		t.Errorf("a temporary file of a killed process is still there")
	}
}

func TestCheckStops(t *testing.T) {
	s := newStore(t)
	for i := range uint64(100) {
		must(t, s.Put(t.Context(), raw(i, 10)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Check(ctx, func(Damage) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	must(t, s.Put(t.Context(), dag.TrustBlock(raw(1000, 10).CID(), []byte("x"))))
	s.blocks = &watched{storage: s.blocks, get: func(multihash.Multihash) error { cancel(); return nil }}
	if _, err := s.Check(ctx, func(Damage) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

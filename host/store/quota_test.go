package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// TestQuota puts many times more than the quota: disk use stays within it, pinned blocks and blocks in use stay, and
// of the others the least recently read are removed first.
func TestQuota(t *testing.T) {
	const quota = 8 << 20
	s := open(t, filepath.Join(t.TempDir(), "repo"), Config{Quota: quota})
	kept, read := raw(1, 500_000), raw(2, 500_000)
	must(t, s.Put(t.Context(), kept, read))
	pin(t, s, "kept", true, kept)
	session := s.Begin()
	defer session.End()
	held := raw(3, 500_000)
	must(t, session.Put(t.Context(), held))
	for i := range uint64(120) {
		must(t, s.Put(t.Context(), raw(100+i, 300_000)))
		_, err := s.Get(t.Context(), read.CID())
		if err != nil {
			t.Fatalf("a block that is read all the time was removed after %d puts: %v", i, err)
		}
		if used := diskUse(t, filepath.Join(s.Dir(), segmentsDir)); used > quota+300_000 {
			t.Fatalf("%d bytes are used after %d puts", used, i)
		}
	}
	wantHere(t, s, kept, held, read, raw(100+119, 300_000))
	wantGone(t, s, raw(100, 300_000))
	clean(t, s)
}

// TestQuotaOfWhatIsKept: if everything is pinned, a block that does not fit is refused; it fits after a pin was
// removed.
func TestQuotaOfWhatIsKept(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "repo"), Config{Quota: 2 << 20})
	var last dag.Block
	var err error
	session := s.Begin()
	n := uint64(0)
	for ; n < 100 && err == nil; n++ {
		last = raw(n, 300_000)
		err = session.Put(t.Context(), last)
	}
	var full *QuotaError
	if !errors.As(err, &full) || full.Quota != 2<<20 || n < 4 {
		t.Fatalf("block %d: %v", n, err)
	}
	wantGone(t, s, last)
	session.End()
	s.quota.lastFutile = s.quota.lastFutile.Add(-futileRetryAfter)
	must(t, s.Put(t.Context(), last))
	wantHere(t, s, last)
}

func diskUse(t *testing.T, dir string) (sum int64) {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range list {
		info, err := e.Info()
		must(t, err)
		sum += info.Size()
	}
	return sum
}

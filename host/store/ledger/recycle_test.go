package ledger

import (
	"errors"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs/simdisk"
)

// unnamed is a file system that cannot rename logs.
type unnamed struct{ diskfs.FS }

var errUnnamed = errors.New("rename is disabled")

func (u unnamed) Rename(from, to string) error {
	if strings.HasSuffix(from, ".log") {
		return errUnnamed
	}
	return u.FS.Rename(from, to)
}

// TestPowerAfterFailedRecycling cuts the power after a log could not be renamed although its content is in a table
// already, and writes continued. The table must not come back: Open would then take the log for a part of it.
func TestPowerAfterFailedRecycling(t *testing.T) {
	for seed := range uint64(20) {
		d := simdisk.New(seed)
		l, err := Open("d", simConfig(unnamed{d}))
		must(t, err)
		must(t, l.Write(Entry{Key: "before", Value: []byte("1")}))
		must(t, l.Sync())
		l.merge.Lock()
		err = l.recycle()
		l.merge.Unlock()
		if !errors.Is(err, errUnnamed) {
			t.Fatalf("recycle: %v", err)
		}
		must(t, l.Write(Entry{Key: "after", Value: []byte("2")}))
		must(t, l.Sync())
		l, err = Open("d", simConfig(d.Restart(true)))
		must(t, err)
		if err := (model{"before": "1", "after": "2"}).check(l); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		must(t, l.Close())
	}
}

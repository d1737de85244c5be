package plugin

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// minCharge is the least that a file counts towards a limit, in bytes: names and inodes use
// disk space, too.
const minCharge = 4096

// watchEvery is the interval between two scans of a run's folders; after a slow scan it is
// longer.
const watchEvery = 200 * time.Millisecond

// watch scans what a run writes, and ends it through stop with a *runtime.QuotaError if that
// exceeds its limits. Between two scans it is up to the plugin to limit what a guest writes. It
// returns when ctx is done.
func watch(ctx context.Context, dir string, lim job.Limits, maxFiles int, stop func(error)) {
	for wait := watchEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		begin := time.Now()
		for _, part := range []struct {
			name string
			max  uint64
			code int
		}{{outName, lim.Out, job.QuotaOut}, {tmpName, lim.Tmp, job.QuotaTmp}} {
			n, err := usage(ctx, filepath.Join(dir, part.name), part.max, maxFiles)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				stop(err)
				return
			case n > part.max:
				stop(&runtime.QuotaError{Code: part.code})
				return
			}
		}
		wait = max(watchEvery, 10*time.Since(begin))
	}
}

// usage returns the bytes of the files below dir, or some number above most as soon as they
// exceed it, or are too many files. It ignores files that disappear during the scan.
func usage(ctx context.Context, dir string, most uint64, maxFiles int) (uint64, error) {
	sum, files := uint64(0), 0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil
			}
			return err
		}
		if files++; files > maxFiles+1 {
			sum = most + 1
			return fs.SkipAll
		}
		if files == 1 { // the first is dir itself
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		sum += max(minCharge, allocated(info))
		if sum > most {
			return fs.SkipAll
		}
		return nil
	})
	return sum, err
}

// allocated returns the size of a file for the limits: the larger of its apparent size and its
// disk space, so that neither holes nor space beyond the end are free.
func allocated(info os.FileInfo) uint64 {
	if info.IsDir() {
		return 0
	}
	return uint64(max(info.Size(), blocks(info)))
}

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

// minCharge is what a file takes of a limit at least, in bytes: names and inodes are disk,
// too.
const minCharge = 4096

// watchEvery is how long the watch of a run's folders rests between two looks; after a
// look that took long, longer.
const watchEvery = 200 * time.Millisecond

// watch looks at what a run writes, and ends it through stop with a *runtime.QuotaError
// when that is more than its limits. The plugin bounds what a guest can write in between,
// if it can. It returns when ctx is done.
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
// are more, or have become too many. What goes away in the meantime is no error.
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
		if files == 1 { // dir itself
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

// allocated is the size of a file: the longer of what it says and what it takes, so that
// neither holes nor what lies beyond the end are free.
func allocated(info os.FileInfo) uint64 {
	if info.IsDir() {
		return 0
	}
	return uint64(max(info.Size(), blocks(info)))
}

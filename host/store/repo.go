package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/smallfile"
	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
	"github.com/ipfs-liftoff/liftoff/host/store/segment"
)

// version is the format of the repos that this package makes. It reads version 1, too, in
// which each block has a file of its own, and makes version 2 of it: blocks that are put from then on
// are in segments, and what has a file keeps it until [Store.Migrate].
const (
	version      = 2
	firstVersion = 1
)

// What lies in a repo. The node's socket is there, too, while somebody owns it.
const (
	versionTemp = "version.new"
	versionFile = "version" // the format's number and a newline, written last: with it a repo is whole
	lockFile    = "lock"
	segmentsDir = "segments"
	blocksDir   = "blocks" // of version 1
	pinsDir     = "pins"   // of an earlier liftoff; see pinFiles
	ledgerDir   = "ledger"
	cacheDir    = "cache"            // what can be made again
	reserveDir  = smallfile.Reserves // files that take room for what must be possible on a full disk
	scratchDir  = "scratch"          // private folders of runs, gone with the process that made them
)

var repoDirs = []string{segmentsDir, ledgerDir, cacheDir, reserveDir, scratchDir}

// Open takes the repo in dir for this process, making it when dir is absent or empty.
// The error is ErrLocked when another process owns it, a *VersionError when its format
// is not known, a *ForeignError when dir is something else. A repo that cannot be
// written to is opened for reading.
func Open(dir string, cfg Config) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open repo: %w", err)
	}
	if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("make repo: %w", err)
	}
	if _, err := inspect(dir); err != nil { // before anything is written
		return nil, err
	}
	l, shared, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		if err == ErrLocked {
			return nil, err
		}
		return nil, fmt.Errorf("open repo %s: %w", dir, err)
	}
	s, err := openLocked(dir, cfg, l, shared)
	if err != nil {
		l.release()
		return nil, err
	}
	return s, nil
}

// openLocked is Open behind the lock.
func openLocked(dir string, cfg Config, l *lock, shared bool) (*Store, error) {
	have, err := inspect(dir)
	if err != nil {
		return nil, err
	}
	whole := have > 0
	readOnly := shared || !writable(dir)
	if whole && !readOnly {
		readOnly = !writable(filepath.Join(dir, segmentsDir)) || !writable(filepath.Join(dir, pinsDir)) ||
			!writable(filepath.Join(dir, ledgerDir)) || !writable(filepath.Join(dir, blocksDir))
	}
	if !whole && readOnly {
		return nil, fmt.Errorf("make repo %s: the folder is read-only", dir)
	}
	if readOnly {
		if err := l.share(); err != nil {
			return nil, fmt.Errorf("open repo %s: %w", dir, err)
		}
	} else {
		if err := furnish(dir, have); err != nil {
			return nil, fmt.Errorf("open repo %s: %w", dir, err)
		}
	}
	small, err := ledger.Open(filepath.Join(dir, ledgerDir), ledger.Config{ReadOnly: readOnly, Reserve: ledgerReserve(dir)})
	if err != nil {
		return nil, fmt.Errorf("open repo %s: %w", dir, err)
	}
	blocks := layers{small: records{small}}
	if err := blocks.open(dir, readOnly, segmentSize(cfg.Quota)); err != nil {
		small.Close()
		return nil, fmt.Errorf("open repo %s: %w", dir, err)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	s := &Store{
		dir: dir, cfg: cfg, lock: l, readOnly: readOnly, blocks: blocks, layers: blocks, small: records{small}, ledger: small,
		gate: make(chan struct{}, 1), held: newHoldings(),
	}
	s.oldPins = pinFiles{filepath.Join(dir, pinsDir)}
	s.late.sync = s.blocks.Sync
	s.quota.max = cfg.Quota
	s.reserve.file = smallReserve(dir)
	if !readOnly {
		err = s.moveOldPins()
		s.noteFull(smallfile.FillReserve(s.reserve.file)) //nolint:errcheck // who writes is told
	}
	if err == nil {
		err = s.loadAttached()
	}
	if err != nil {
		s.outside.close()
		s.blocks.Close()
		return nil, fmt.Errorf("open repo %s: %w", dir, err)
	}
	return s, nil
}

// open opens the parts for large blocks. A repo of version 1 that cannot be written to has files
// alone.
func (l *layers) open(dir string, readOnly bool, segmentSize int64) error {
	if exists, err := isFolder(filepath.Join(dir, blocksDir)); err != nil {
		return err
	} else if exists {
		if l.old, err = openFiles(filepath.Join(dir, blocksDir), readOnly); err != nil {
			return err
		}
	}
	exists, err := isFolder(filepath.Join(dir, segmentsDir))
	if err == nil && !exists && l.old != nil {
		l.large, l.old = l.old, nil
		return nil
	}
	if err == nil {
		var s *segment.Store
		s, err = segment.Open(filepath.Join(dir, segmentsDir), segment.Config{ReadOnly: readOnly, MaxSegment: segmentSize, Reserve: segmentsReserve(dir)})
		l.large = segments{s}
	}
	if err != nil && l.old != nil {
		l.old.Close()
	}
	return err
}

func isFolder(path string) (bool, error) {
	info, err := os.Stat(path)
	if absent(err) {
		return false, nil
	}
	return err == nil && info.IsDir(), err
}

// CacheDir returns the folder for what can be made again. Its owner bounds its size.
func (s *Store) CacheDir() string { return filepath.Join(s.dir, cacheDir) }

// inspect returns the version of the repo in dir, one that is known. It is 0 when dir is empty
// or when the process that was making the repo was killed; everything else is an error.
func inspect(dir string) (have int, err error) {
	have, err = readVersion(dir)
	if absent(err) {
		foreign := halfMade(dir)
		if foreign == nil {
			return 0, nil
		}
		// Unless another process has completed the repo between the two looks.
		if have, err = readVersion(dir); absent(err) {
			return 0, foreign
		}
	}
	if err != nil {
		return 0, err
	}
	if have < firstVersion || have > version {
		return 0, &VersionError{Dir: dir, Have: have, Want: version}
	}
	return have, nil
}

func readVersion(dir string) (int, error) {
	path := filepath.Join(dir, versionFile)
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open repo: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0, fmt.Errorf("read the repo's version: %w", err)
	}
	digits, ended := strings.CutSuffix(string(b), "\n")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || !ended {
		return 0, &ForeignError{dir, fmt.Sprintf("its file %q holds %q instead of a number", versionFile, b)}
	}
	return int(n), nil
}

// halfMade returns an error unless dir holds nothing but what furnish makes before the
// version: an empty lock file first, then empty folders. Strict, because what is taken
// for a repo has its scratch emptied.
func halfMade(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("open repo: %w", err)
	}
	locked := slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() == lockFile })
	for _, e := range list {
		if !locked || !isFirst(dir, e) {
			return &ForeignError{dir, fmt.Sprintf("it has no file %q and holds other things, %q among them", versionFile, e.Name())}
		}
	}
	return nil
}

// isFirst reports whether e is of what furnish makes before the version.
func isFirst(dir string, e os.DirEntry) bool {
	switch {
	case e.Name() == versionTemp:
		return e.Type().IsRegular()
	case e.Name() == lockFile:
		info, err := e.Info()
		return err == nil && info.Mode().IsRegular() && info.Size() == 0
	case (slices.Contains(repoDirs, e.Name()) || e.Name() == blocksDir || e.Name() == pinsDir) && e.IsDir():
		inside, err := os.ReadDir(filepath.Join(dir, e.Name()))
		return err == nil && len(inside) == 0
	}
	return false
}

// furnish makes the repo's folders and, for a new one or one of version 1, its version; it
// removes what killed processes have left. It is called under the lock.
func furnish(dir string, have int) error {
	for _, name := range repoDirs {
		if err := makeFolder(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if have != version {
		err := smallfile.Replace(filepath.Join(dir, versionFile), fmt.Appendf(nil, "%d\n", version))
		if err != nil {
			return err
		}
	}
	return makeEmpty(filepath.Join(dir, scratchDir))
}

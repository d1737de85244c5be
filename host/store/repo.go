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

// version is the repo format that this package writes. It also reads version 1, which has a file per block, and
// upgrades it to version 2: new blocks go to segments, and existing files stay until [Store.Migrate].
const (
	version      = 2
	firstVersion = 1
)

// Files in a repo. The owner also creates the node's socket there.
const (
	versionTemp = "version.new"
	versionFile = "version" // the format number and a newline, written last: it marks a complete repo
	lockFile    = "lock"
	segmentsDir = "segments"
	blocksDir   = "blocks" // version 1 only
	pinsDir     = "pins"   // earlier versions of liftoff only; see pinFiles
	ledgerDir   = "ledger"
	cacheDir    = "cache"            // data that can be recreated
	reserveDir  = smallfile.Reserves // files that reserve space for operations that must be possible on a full disk
	scratchDir  = "scratch"          // private folders of runs, removed with the process that created them
)

var repoDirs = []string{segmentsDir, ledgerDir, cacheDir, reserveDir, scratchDir}

// Open opens the repo in dir for this process and creates it if dir is absent or empty. The error is ErrLocked if
// another process owns the repo, a *VersionError if its format is not supported, a *ForeignError if dir is not a
// repo. A repo that is not writable is opened read-only.
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

// openLocked is Open with the lock held.
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
		if err := createLayout(dir, have); err != nil {
			return nil, fmt.Errorf("open repo %s: %w", dir, err)
		}
	}
	small, err := ledger.Open(filepath.Join(dir, ledgerDir), ledger.Config{ReadOnly: readOnly, Reserve: ledgerReserve(dir)})
	if err != nil {
		return nil, fmt.Errorf("open repo %s: %w", dir, err)
	}
	blocks := combinedStorage{small: ledgerStorage{small}}
	if err := blocks.open(dir, readOnly, segmentSize(cfg.Quota)); err != nil {
		small.Close()
		return nil, fmt.Errorf("open repo %s: %w", dir, err)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	s := &Store{
		dir: dir, cfg: cfg, lock: l, readOnly: readOnly, blocks: blocks, combined: blocks, small: ledgerStorage{small}, ledger: small,
		gcLock: make(chan struct{}, 1), held: newHoldings(),
	}
	s.oldPins = pinFiles{filepath.Join(dir, pinsDir)}
	s.delayedSync.sync = s.blocks.Sync
	s.quota.max = cfg.Quota
	s.reserve.file = smallReserve(dir)
	if !readOnly {
		err = s.moveOldPins()
		s.noteFull(smallfile.FillReserve(s.reserve.file)) //nolint:errcheck // writes report a full disk
	}
	if err == nil {
		err = s.loadAttached()
	}
	if err != nil {
		s.attachments.close()
		s.blocks.Close()
		return nil, fmt.Errorf("open repo %s: %w", dir, err)
	}
	return s, nil
}

// open opens the storages for large blocks. A repo of version 1 that is read-only has only block files.
func (l *combinedStorage) open(dir string, readOnly bool, segmentSize int64) error {
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
		l.large = segmentStorage{s}
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

// CacheDir returns the folder for data that can be recreated. The user of the folder limits its size.
func (s *Store) CacheDir() string { return filepath.Join(s.dir, cacheDir) }

// inspect returns the supported version of the repo in dir. It is 0 if dir is empty or its creation was interrupted
// by a kill; everything else is an error.
func inspect(dir string) (have int, err error) {
	have, err = readVersion(dir)
	if absent(err) {
		foreign := checkPartialRepo(dir)
		if foreign == nil {
			return 0, nil
		}
		// Another process may have completed the repo in the meantime.
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
		return 0, fmt.Errorf("read repo version: %w", err)
	}
	digits, ended := strings.CutSuffix(string(b), "\n")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || !ended {
		return 0, &ForeignError{dir, fmt.Sprintf("file %q contains %q, want a repo format number", versionFile, b)}
	}
	return int(n), nil
}

// checkPartialRepo returns an error if dir contains anything that createLayout does not create before the version file: first an
// empty lock file, then empty folders. It is strict, because Open empties the scratch folder of a repo.
func checkPartialRepo(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("open repo: %w", err)
	}
	locked := slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() == lockFile })
	for _, e := range list {
		if !locked || !isPartialRepoEntry(dir, e) {
			return &ForeignError{dir, fmt.Sprintf("file %q is missing, and the folder contains other files, such as %q", versionFile, e.Name())}
		}
	}
	return nil
}

// isPartialRepoEntry reports whether e is created by createLayout before the version file.
func isPartialRepoEntry(dir string, e os.DirEntry) bool {
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

// createLayout creates the repo's folders and, for a new repo or one of version 1, the version file. It removes temporary
// data of killed processes. The lock is held.
func createLayout(dir string, have int) error {
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

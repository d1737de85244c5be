//go:build !windows

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// extraction writes files, directories and symlinks out of blocks. Every name is
// opened below an os.Root, so neither a hostile name nor a symlink, one that was just
// written included, leads out of the target.
type extraction struct {
	blocks   dag.Blocks
	force    bool      // write into what is there
	progress io.Writer // is told of every byte of content
}

// maxExtractDepth bounds nested directories: each holds a file descriptor.
const maxExtractDepth = 512

// checkTarget refuses a target that is there already, but for an empty directory,
// unless force is set, and one in a folder that is not there. Commands call it before
// the work that makes the content.
func checkTarget(target string, force bool) error {
	folder := filepath.Dir(filepath.Clean(target))
	if _, err := os.Stat(folder); err != nil {
		return pathError(folder, err)
	}
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) || force {
		return nil
	}
	if err != nil {
		return pathError(target, err)
	}
	if info.IsDir() {
		entries, err := os.ReadDir(target)
		if err != nil {
			return pathError(target, err)
		}
		if len(entries) == 0 {
			return nil
		}
	}
	return hinted(usagef("%s is there already", quote(target)), "choose another place with --output, or write over it with --force")
}

// to writes what c names as target: under another name first, so that a broken
// extraction leaves nothing half done. With force, what is there is written into.
func (x extraction) to(ctx context.Context, c cid.Cid, target string) (err error) {
	if err := checkTarget(target, x.force); err != nil {
		return err
	}
	kind, err := dag.Kind(ctx, x.blocks, c)
	if err != nil {
		return err
	}
	target = filepath.Clean(target)
	folder, name := filepath.Dir(target), filepath.Base(target)
	if name == "." || name == ".." || name == "/" {
		if target, err = filepath.Abs(target); err != nil {
			return err
		}
		folder, name = filepath.Dir(target), filepath.Base(target)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return pathError(folder, err)
	}
	defer root.Close()
	if _, err := root.Lstat(name); err == nil && kind == abi.KindDirectory && x.force {
		return x.directory(ctx, root, name, c, 0)
	}
	temporary := temporaryName(name)
	defer func() {
		if err == nil {
			return
		}
		root.RemoveAll(temporary)
		if inner := (*fs.PathError)(nil); errors.As(err, &inner) { // which names the temporary path
			err = fmt.Errorf("write %w", pathError(target, err))
		}
	}()
	if err := x.entry(ctx, root, temporary, c, kind, 0); err != nil {
		return err
	}
	if info, err := root.Lstat(name); err == nil && info.IsDir() { // an empty one, or Remove fails
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	return root.Rename(temporary, name)
}

// temporaryName is a hidden name for what will be name.
func temporaryName(name string) string {
	return "." + name[:min(len(name), 100)] + "." + rand.Text()[:10]
}

// siblingOf is a temporary path in the folder of target.
func siblingOf(target string) string {
	return filepath.Join(filepath.Dir(target), temporaryName(filepath.Base(target)))
}

// entry writes what c names as name, which is not there.
func (x extraction) entry(ctx context.Context, root *os.Root, name string, c cid.Cid, kind, depth int) error {
	switch kind {
	case abi.KindRaw, abi.KindFile:
		return x.file(ctx, root, name, c)
	case abi.KindDirectory:
		return x.directory(ctx, root, name, c, depth)
	case abi.KindSymlink:
		target, err := dag.ReadLink(ctx, x.blocks, c)
		if err != nil {
			return err
		}
		return root.Symlink(target, name)
	}
	return hinted(fmt.Errorf("%s is neither a file nor a directory", c), "liftoff dag get %s", c)
}

func (x extraction) file(ctx context.Context, root *os.Root, name string, c cid.Cid) (err error) {
	content, err := dag.OpenFile(ctx, x.blocks, c)
	if err != nil {
		return err
	}
	defer content.Close()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	_, err = content.WriteTo(ctx, io.MultiWriter(f, x.progress))
	return err
}

// directory writes the directory c as name; with force, into one that is there.
func (x extraction) directory(ctx context.Context, root *os.Root, name string, c cid.Cid, depth int) error {
	if depth > maxExtractDepth {
		return fmt.Errorf("%s: directories are nested more than %d deep", c, maxExtractDepth)
	}
	d, err := dag.OpenDir(ctx, x.blocks, c)
	if err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o777); err != nil && !(x.force && errors.Is(err, fs.ErrExist)) {
		return err
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	seen := make(map[string]bool)
	return d.Each(ctx, func(e dag.DirEntry) error {
		if err := checkEntryName(e.Name); err != nil {
			return fmt.Errorf("directory %s: %w", c, err)
		}
		if seen[e.Name] {
			return fmt.Errorf("directory %s: the name %s comes twice", c, quote(e.Name))
		}
		seen[e.Name] = true
		return x.child(ctx, sub, e, depth+1)
	})
}

func (x extraction) child(ctx context.Context, root *os.Root, e dag.DirEntry, depth int) error {
	kind, err := dag.Kind(ctx, x.blocks, e.CID)
	if err != nil {
		return err
	}
	if !x.force || kind == abi.KindDirectory {
		return x.entry(ctx, root, e.Name, e.CID, kind, depth)
	}
	temporary := temporaryName(e.Name)
	if err := x.entry(ctx, root, temporary, e.CID, kind, depth); err != nil {
		root.Remove(temporary)
		return err
	}
	if err := root.Rename(temporary, e.Name); err != nil {
		root.Remove(temporary)
		return err
	}
	return nil
}

// checkEntryName refuses what is no name of one directory entry.
func checkEntryName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%s cannot be the name of a file", quote(name))
	}
	return nil
}

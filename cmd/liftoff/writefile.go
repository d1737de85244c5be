//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile calls write to write the file name. A device or a FIFO is written into; any other
// file has a temporary name until it is complete.
func writeFile(ctx context.Context, name string, force bool, write func(io.Writer) error) error {
	t, err := findTarget(name)
	if err != nil {
		return err
	}
	if err := t.takesFile(force); err != nil {
		return err
	}
	if t.isStream() {
		return t.stream(ctx, write)
	}
	return t.replace(force, write)
}

// isStdout reports whether name is -, /dev/stdout or another name of the file that is stdout.
func (p *process) isStdout(name string) bool {
	if name == "-" {
		return true
	}
	out, ok := p.stdout.w.(*os.File)
	if !ok {
		return false
	}
	info, err := os.Stat(name)
	if err != nil {
		return false
	}
	stdout, err := out.Stat()
	return err == nil && os.SameFile(info, stdout)
}

// replace creates the file t or replaces it.
func (t target) replace(force bool, write func(io.Writer) error) (err error) {
	folder, name := filepath.Split(t.path)
	root, err := os.OpenRoot(filepath.Clean(folder))
	if err != nil {
		return pathError(folder, err)
	}
	defer root.Close()
	at, err := openOutDir(root)
	if err != nil {
		return pathError(folder, err)
	}
	defer at.dir.Close()
	temporary := temporaryName(name)
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeOf(t.info))
	if err != nil {
		return pathError(t.name, err)
	}
	err = write(f)
	if err == nil {
		err = keepMode(f, t.info)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = at.install(temporary, name, force)
	}
	if err == nil {
		return nil
	}
	root.Remove(temporary)
	if inner := (*fs.PathError)(nil); errors.As(err, &inner) && filepath.Base(inner.Path) == temporary { // a name that the user has not chosen
		err = fmt.Errorf("write %w", pathError(t.name, err))
	}
	return err
}

//go:build !windows

package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

func inspectCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what a module needs and whether it runs here",
		ArgsUsage: "MODULE",
		Description: `Prints the imports, exports, memory and features of a module, and its size without and
with metering. Nothing is run. A module that liftoff run would refuse is an error with the
same exit code.

MODULE is a local path or a CID with a path, see liftoff help references.`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON, one object"}},
		Before: takes("a module", 1, 1),
		CustomHelpTemplate: help(`$ liftoff inspect hello.wasm
runs          yes: wasi_p1, from _start
size          340 B
metered size  715 B
functions     2
memory        64 KiB at the start, 4 GiB at most
section       name
import        wasi_snapshot_preview1.fd_write (i32 i32 i32 i32) -> (i32)
import        wasi_snapshot_preview1.path_open (i32 i32 i32 i32 i32 i64 i64 i32 i32) -> (i32)
export        _start () -> ()
export        memory memory`),
		Action: func(c *cli.Context) error {
			ref := c.Args().First()
			if _, _, ok := foreign(ref); ok {
				name, _, _ := strings.Cut(ref, "://")
				return hinted(usagef("%s is a module for the plugin %s, want a WebAssembly module", quote(ref), name), "liftoff run --dry-run %s", quote(ref))
			}
			if info, err := os.Stat(ref); err == nil && info.Mode().IsRegular() && !isCAR(ref) {
				code, err := moduleFile(ref, info)
				if err != nil {
					return err
				}
				return p.inspect(c, ref, code)
			}
			return p.with(func(c *cli.Context, s *node.Session) error {
				code, err := p.moduleNamed(c.Context, s, ref)
				if err != nil {
					return err
				}
				return p.inspect(c, ref, code)
			})(c)
		},
	}
}

// moduleFile reads a module from the disk.
func moduleFile(path string, info fs.FileInfo) ([]byte, error) {
	if info.Size() > maxModule {
		return nil, tooLarge(path, info.Size())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, pathError(path, err)
	}
	defer f.Close()
	code, err := io.ReadAll(io.LimitReader(f, maxModule)) // it may have grown
	if err != nil {
		return nil, pathError(path, err)
	}
	return code, nil
}

// moduleNamed reads a module from the repo.
func (p *process) moduleNamed(ctx context.Context, s *node.Session, ref string) ([]byte, error) {
	b := p.taskBuilder(s)
	mod, err := b.content(ctx, ref)
	if err != nil {
		return nil, err
	}
	return readModule(ctx, s.Blocks, ref, mod)
}

func (p *process) inspect(c *cli.Context, ref string, code []byte) error {
	d, err := wasm.Describe(c.Context, code)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", quote(ref), err)
	}
	err = p.fact(c, d, func(_ *ui.Screen, f *ui.Facts) { moduleFacts(f, d) })
	if err == nil && !d.Runs {
		err = fmt.Errorf("%s: %w", quote(ref), runtime.Refusef("%s", d.Reason))
	}
	return err
}

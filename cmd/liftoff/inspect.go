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
		Usage:     "say what a module wants, and whether it runs here",
		ArgsUsage: "MODULE",
		Description: `Prints what a module is made of: imports, exports, memory, the features that it uses,
and its size before and after the metering is added. Nothing is run. The exit code is
that of liftoff run if it refused the module: 126, with the reason.

MODULE is a local path or a CID, with a path below it where one is wanted.`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print one object"}},
		Before: takes("a module", 1, 1),
		CustomHelpTemplate: help(`$ liftoff inspect wc.wasm
runs      yes: wasi_p1, from _start
size      1180240 bytes, 1512310 with metering
functions 2310
memory    2.0 MiB at the start, 4.0 GiB at most
features  bulk-memory, sign-extension
import    wasi_snapshot_preview1.fd_write (i32 i32 i32 i32) -> (i32)
export    _start () -> ()
export    memory memory`),
		Action: func(c *cli.Context) error {
			ref := c.Args().First()
			if _, _, ok := foreign(ref); ok {
				name, _, _ := strings.Cut(ref, "://")
				return hinted(usagef("%s is for the plugin %s: only WebAssembly modules are looked into", quote(ref), name), "liftoff run --dry-run %s, to see its task", quote(ref))
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
	code, err := io.ReadAll(io.LimitReader(f, maxModule)) // it may grow meanwhile
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

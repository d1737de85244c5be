package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// makeExecutors creates the executors of every node, and the function that closes them: WebAssembly, and the
// plugin set, which has not searched for plugins yet.
func (n *Node) makeExecutors(ctx context.Context) (runtime.Executors, func() error, error) {
	w, err := wasm.New(ctx, wasm.Config{CacheDir: n.store.CacheDir(), Compiler: n.compiler, Log: n.log})
	if err != nil {
		return nil, nil, fmt.Errorf("create wasm executor: %w", err)
	}
	owner := sha256.Sum256([]byte(n.store.Dir())) // one process at a time owns a repo
	s := plugin.NewSet(n.pluginDirs, plugin.Config{
		Owner: hex.EncodeToString(owner[:8]), Folder: n.store.NewScratch, Log: n.log,
	})
	return runtime.Executors{w, s}, func() error { return errors.Join(s.Close(), w.Close()) }, nil
}

// plugins calls with with the plugin set, which stays open until with returns.
func (n *Node) plugins(ctx context.Context, with func(*plugin.Set) error) error {
	executors, err := n.startRun(ctx)
	if err != nil {
		return err
	}
	defer n.endRun()
	for _, x := range executors {
		if s, ok := x.(*plugin.Set); ok {
			return with(s)
		}
	}
	return runtime.Refusef("this node does not support plugins")
}

// Plugins implements api.Plugins.
func (v *View) Plugins(ctx context.Context) ([]api.Plugin, error) {
	var all []api.Plugin
	err := v.node.plugins(ctx, func(s *plugin.Set) error {
		for _, f := range s.List(ctx) {
			p := api.Plugin{Name: f.Name, Program: f.Program, Version: f.Traits.Version, ABIs: f.Traits.ABIs}
			if f.Err != nil {
				p.Problem = f.Err.Error()
			}
			all = append(all, p)
		}
		return nil
	})
	return all, pluginError(ctx, err)
}

// ResolveImage implements api.Plugins.
func (v *View) ResolveImage(ctx context.Context, name, ref string) (digest []byte, err error) {
	err = v.node.plugins(ctx, func(s *plugin.Set) error {
		x, err := s.Named(name)
		if err != nil {
			return err
		}
		i, err := x.Resolve(ctx, ref)
		digest = i.Digest
		return err
	})
	return digest, pluginError(ctx, err)
}

// pluginError is apiError for errors of plugins: a refusal, or an unusable plugin.
func pluginError(ctx context.Context, err error) error {
	var refused *runtime.RefusedError
	var unavailable *plugin.UnavailableError
	switch {
	case errors.As(err, &refused):
		return &api.Error{Code: api.CodeRefused, Message: refused.Reason, Hint: "see docs/plugins.md for how to install a plugin; `liftoff plugins` lists those that were found"}
	case errors.As(err, &unavailable):
		return &api.Error{Code: api.CodeFault, Message: err.Error(), Hint: "`liftoff plugins` shows the problem"}
	}
	return apiError(ctx, err)
}

package node

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// makeExecutors makes the executors that every node has, and what closes them.
func makeExecutors(ctx context.Context, cacheDir string, compiler []string, log *slog.Logger) (runtime.Executors, func() error, error) {
	w, err := wasm.New(ctx, wasm.Config{CacheDir: cacheDir, Compiler: compiler, Log: log})
	if err != nil {
		return nil, nil, fmt.Errorf("make the wasm executor: %w", err)
	}
	return runtime.Executors{w}, w.Close, nil
}

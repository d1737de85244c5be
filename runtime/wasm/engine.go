package wasm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/wasi"
)

// rewriterKey separates the compiled modules of different versions of the rewriter.
var rewriterKey = "meter-" + strconv.Itoa(meter.Version)

// features are those of det2: no threads, exceptions, tail calls, relaxed SIMD, memory64.
const features = api.CoreFeaturesV2

// engine owns wazero: its runtime with the host modules, and its compilation cache. Everything
// is created at first use.
type engine struct {
	cfg Config

	cacheOnce sync.Once
	cache     wazero.CompilationCache
	disk      *diskCache // nil: compiled modules are kept in memory only
	stage     *stage
	layout    string

	mu   sync.Mutex // guards host
	host *hostRuntime
}

// hostRuntime is a wazero runtime with the host modules.
type hostRuntime struct {
	wazero.Runtime
	calls map[string]map[string]funcType // the functions that a guest may import, by module and name

	returning sync.WaitGroup // memories of ended runs that are being freed
}

// openCache opens wazero's compilation cache. Without a usable folder the cache is in memory.
func (e *engine) openCache() {
	e.cacheOnce.Do(func() {
		if e.cfg.CacheDir != "" && !e.cfg.interpreter {
			if err := e.openDisk(); err == nil {
				return
			} else {
				e.cfg.Log.Warn("compiled modules not cached on disk", "dir", e.cfg.CacheDir, "err", err)
			}
		}
		e.disk, e.stage = nil, nil
		e.cache = wazero.NewCompilationCache()
	})
}

func (e *engine) openDisk() (err error) {
	if e.disk, err = openDiskCache(e.cfg.CacheDir, e.cfg.CacheMax); err != nil {
		return err
	}
	s, err := newStage(e.disk.dir)
	if err != nil {
		return err
	}
	if e.cache, err = wazero.NewCompilationCacheWithDir(s.dir); err == nil {
		e.layout, err = s.find()
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	e.stage = s
	return nil
}

// runtime returns the shared wazero runtime.
func (e *engine) runtime(ctx context.Context) (*hostRuntime, error) {
	e.openCache()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host != nil {
		return e.host, nil
	}
	cfg := runtimeConfig(e.cache)
	if e.cfg.interpreter {
		cfg = wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features).WithDebugInfoEnabled(false)
	}
	ctx = context.WithoutCancel(ctx)
	rt := &hostRuntime{Runtime: wazero.NewRuntimeWithConfig(ctx, cfg), calls: map[string]map[string]funcType{}}
	if err := instantiateMeter(ctx, rt); err != nil {
		return nil, fmt.Errorf("instantiate host module %s: %w", meter.HostModule, err)
	}
	if err := instantiateHost(ctx, rt); err != nil {
		return nil, fmt.Errorf("instantiate host module %s: %w", abi.Module, err)
	}
	if err := wasi.Instantiate(ctx, rt); err != nil {
		return nil, fmt.Errorf("instantiate host module %s: %w", wasiModule, err)
	}
	for _, name := range []string{abi.Module, wasiModule} {
		rt.calls[name] = map[string]funcType{}
		for fn, def := range rt.Module(name).ExportedFunctionDefinitions() {
			rt.calls[name][fn] = funcType{string(def.ParamTypes()), string(def.ResultTypes())}
		}
	}
	e.host = rt
	return rt, nil
}

// runtimeConfig configures the compiler. The cache finds a module only under the same
// configuration.
func runtimeConfig(cache wazero.CompilationCache) wazero.RuntimeConfig {
	return wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(features).
		WithCompilationCache(cache).
		WithDebugInfoEnabled(false) // function names are kept, source lines are not
}

// wasiModule is the name of WASI preview 1.
const wasiModule = "wasi_snapshot_preview1"

// known returns the type of a host call.
func (rt *hostRuntime) known(module, name string) (funcType, bool) {
	t, ok := rt.calls[module][name]
	return t, ok
}

// compile turns b, the rewritten module named id, into native code, or loads that from the
// disk. An untrusted module is compiled in a child process. Only one call may be active: the
// file that appears in the stage belongs to it.
func (e *engine) compile(ctx context.Context, rt *hostRuntime, id string, b []byte, trusted bool) (wazero.CompiledModule, error) {
	apart := e.cfg.Compiler != nil && !trusted
	if e.disk == nil {
		if apart {
			return nil, errNoStage
		}
		return compile(ctx, rt, b)
	}
	key := entryKey(id, e.layout, rewriterKey)
	loaded, err := e.disk.load(key, e.stage.files)
	if err != nil {
		e.cfg.Log.Warn("unusable compiled module in cache, compiling again", "module", id, "err", err)
	}
	if apart {
		c, err := e.compileApart(ctx, rt, key, id, loaded, b)
		if e := e.stage.clear(); err == nil && e != nil {
			return nil, e
		}
		return c, err
	}
	c, err := compile(ctx, rt, b)
	if isCacheFault(err) {
		// wazero could not read or write its file, but has the compiled module in memory.
		e.cfg.Log.Warn("compiled module not cached", "module", id, "err", err)
		if err := e.stage.clear(); err != nil {
			return nil, err
		}
		c, err = compile(ctx, rt, b)
	}
	if err == nil {
		if err := e.disk.store(key, e.stage.files, loaded); err != nil {
			e.cfg.Log.Warn("compiled module not cached", "module", id, "err", err)
		}
	}
	if e := e.stage.clear(); err == nil && e != nil {
		return nil, e
	}
	return c, err
}

// errEngine says that wazero panicked.
var errEngine = errors.New("wazero crashed")

// compile calls wazero's compiler. A module that wazero does not accept is refused; any other
// failure must not end this process.
func compile(ctx context.Context, rt *hostRuntime, b []byte) (c wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("compile module: %w: %v", errEngine, p)
		}
	}()
	// With several workers wazero checks ctx between two functions; with one it never does.
	ctx = experimental.WithCompilationWorkers(ctx, max(2, goruntime.GOMAXPROCS(0)))
	c, err = rt.CompileModule(ctx, b)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)): // not a fault of the module
		return nil, context.Cause(ctx)
	case isCacheFault(err):
		return nil, err
	}
	return nil, runtime.Refusef("not a valid module: %v", err)
}

// isCacheFault reports whether err comes from wazero's file cache and not from the module.
func isCacheFault(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link) || err != nil && strings.HasPrefix(err.Error(), "compilationcache:")
}

func (e *engine) close() error {
	ctx := context.Background()
	var errs []error
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host != nil {
		e.host.returning.Wait()
		errs = append(errs, e.host.Close(ctx))
		e.host = nil
	}
	if e.cache != nil {
		errs = append(errs, e.cache.Close(ctx))
	}
	if e.stage != nil {
		errs = append(errs, e.stage.close())
		e.stage = nil
	}
	return errors.Join(errs...)
}

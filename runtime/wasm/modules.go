package wasm

import (
	"container/list"
	"context"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Limits of the compiled modules that are kept in memory, without those in use. A module's
// native code takes about six times its size.
const (
	maxModules  = 32
	maxIdleSize = 64 << 20 // bytes of the modules; the most recently used one may be larger
)

// module is a compiled module and the content of its sections.
type module struct {
	*scan
	cid      cid.Cid
	compiled wazero.CompiledModule
	runtime  *hostRuntime
	size     int // bytes of the module
	owner    *modules
	refs     int           // guarded by owner.mu; runs that use it
	idle     *list.Element // guarded by owner.mu; nil while in use
}

// modules finds compiled modules by CID: in memory, on disk, or by compiling.
type modules struct {
	engine *engine
	turn   chan struct{} // holds one token: one module is compiled at a time

	mu   sync.Mutex // guards the fields below
	m    map[cid.Cid]*module
	idle *list.List // of *module, most recently used first
	size int        // bytes of the idle modules
}

func newModules(e *engine) *modules {
	return &modules{engine: e, turn: make(chan struct{}, 1), m: map[cid.Cid]*module{}, idle: list.New()}
}

// get returns the module of t; the caller has to release it. The error is a
// *runtime.RefusedError if the module cannot run t.
func (ms *modules) get(ctx context.Context, t job.Task, env runtime.Env) (*module, error) {
	m := ms.take(t.Mod)
	if m == nil {
		var err error
		if m, err = ms.make(ctx, t, env); err != nil {
			return nil, err
		}
	}
	if err := m.checkExports(t.ABI, t.Fn); err != nil {
		m.release()
		return nil, err
	}
	return m, nil
}

// take returns the module c if it is in memory.
func (ms *modules) take(c cid.Cid) *module {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.m[c]
	if m == nil {
		return nil
	}
	m.refs++
	if m.idle != nil {
		ms.idle.Remove(m.idle)
		m.idle = nil
		ms.size -= m.size
	}
	return m
}

// make reads, admits, rewrites and compiles a module. A module that its sections already
// disqualify for t is refused before it waits for its turn to be compiled.
func (ms *modules) make(ctx context.Context, t job.Task, env runtime.Env) (*module, error) {
	b, err := readModule(ctx, env.Blocks, t.Mod, ms.engine.cfg.MaxModule)
	if err != nil {
		return nil, err
	}
	s, err := scanModule(b)
	if err != nil {
		return nil, err
	}
	if err := s.checkExports(t.ABI, t.Fn); err != nil {
		return nil, err
	}
	select {
	case ms.turn <- struct{}{}:
		defer func() { <-ms.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if m := ms.take(t.Mod); m != nil {
		return m, nil
	}
	rt, err := ms.engine.runtime(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkImports(rt.known); err != nil {
		return nil, err
	}
	id, size := t.Mod.String(), len(b)
	metered := ms.engine.rewritten(id)
	kept := metered != nil
	if !kept {
		if metered, err = meterModule(b, s); err != nil {
			return nil, err
		}
	}
	c, err := ms.engine.compile(ctx, rt, id, metered, env.Trusted)
	if err != nil {
		return nil, err
	}
	if !kept {
		ms.engine.keepRewritten(id, metered)
	}
	m := &module{scan: s, cid: t.Mod, compiled: c, runtime: rt, size: size, owner: ms, refs: 1}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.m[t.Mod] = m
	return m, nil
}

// meterModule checks the code of b, whose sections s describes, and returns it metered, with a
// maximum for every table.
func meterModule(b []byte, s *scan) ([]byte, error) {
	if _, err := s.checkCode(); err != nil {
		return nil, err
	}
	b, err := closeTables(b, s)
	if err != nil {
		return nil, err
	}
	return rewrite(b)
}

// release ends the use of m. It drops the least recently used modules if too many are idle.
func (m *module) release() {
	ms := m.owner
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m.refs--; m.refs > 0 {
		return
	}
	m.idle = ms.idle.PushFront(m)
	ms.size += m.size
	for ms.idle.Len() > maxModules || ms.size > maxIdleSize && ms.idle.Len() > 1 {
		old := ms.idle.Remove(ms.idle.Back()).(*module)
		ms.size -= old.size
		delete(ms.m, old.cid)
		_ = old.compiled.Close(context.Background()) // it never fails
	}
}

package wasi

import (
	"context"
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// ModuleName is the module from which guests import these functions.
const ModuleName = "wasi_snapshot_preview1"

// procExitName is the one function that never returns.
const procExitName = "proc_exit"

var le = binary.LittleEndian

// function is one host function: it reads the guest's parameters and returns an errno.
type function func(ctx context.Context, s *System, m memory, p []uint64) errno

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// functions are all functions of WASI preview 1. Each returns an errno, except proc_exit.
var functions = []struct {
	name   string
	params []api.ValueType
	call   function
}{
	{"args_get", []api.ValueType{i32, i32}, argsGet},
	{"args_sizes_get", []api.ValueType{i32, i32}, argsSizesGet},
	{"environ_get", []api.ValueType{i32, i32}, environGet},
	{"environ_sizes_get", []api.ValueType{i32, i32}, environSizesGet},
	{procExitName, []api.ValueType{i32}, procExit},
	{"proc_raise", []api.ValueType{i32}, removed},
	{"sched_yield", nil, schedYield},

	{"clock_res_get", []api.ValueType{i32, i32}, clockResGet},
	{"clock_time_get", []api.ValueType{i32, i64, i32}, clockTimeGet},
	{"random_get", []api.ValueType{i32, i32}, randomGet},
	{"poll_oneoff", []api.ValueType{i32, i32, i32, i32}, pollOneoff},

	{"fd_advise", []api.ValueType{i32, i64, i64, i32}, fdAdvise},
	{"fd_allocate", []api.ValueType{i32, i64, i64}, fdAllocate},
	{"fd_close", []api.ValueType{i32}, fdClose},
	{"fd_datasync", []api.ValueType{i32}, fdSync},
	{"fd_fdstat_get", []api.ValueType{i32, i32}, fdFdstatGet},
	{"fd_fdstat_set_flags", []api.ValueType{i32, i32}, fdFdstatSetFlags},
	{"fd_fdstat_set_rights", []api.ValueType{i32, i64, i64}, removed},
	{"fd_filestat_get", []api.ValueType{i32, i32}, fdFilestatGet},
	{"fd_filestat_set_size", []api.ValueType{i32, i64}, fdFilestatSetSize},
	{"fd_filestat_set_times", []api.ValueType{i32, i64, i64, i32}, fdFilestatSetTimes},
	{"fd_pread", []api.ValueType{i32, i32, i32, i64, i32}, fdPread},
	{"fd_prestat_get", []api.ValueType{i32, i32}, fdPrestatGet},
	{"fd_prestat_dir_name", []api.ValueType{i32, i32, i32}, fdPrestatDirName},
	{"fd_pwrite", []api.ValueType{i32, i32, i32, i64, i32}, fdPwrite},
	{"fd_read", []api.ValueType{i32, i32, i32, i32}, fdRead},
	{"fd_readdir", []api.ValueType{i32, i32, i32, i64, i32}, fdReaddir},
	{"fd_renumber", []api.ValueType{i32, i32}, fdRenumber},
	{"fd_seek", []api.ValueType{i32, i64, i32, i32}, fdSeek},
	{"fd_sync", []api.ValueType{i32}, fdSync},
	{"fd_tell", []api.ValueType{i32, i32}, fdTell},
	{"fd_write", []api.ValueType{i32, i32, i32, i32}, fdWrite},

	{"path_create_directory", []api.ValueType{i32, i32, i32}, pathCreateDirectory},
	{"path_filestat_get", []api.ValueType{i32, i32, i32, i32, i32}, pathFilestatGet},
	{"path_filestat_set_times", []api.ValueType{i32, i32, i32, i32, i64, i64, i32}, pathFilestatSetTimes},
	{"path_link", []api.ValueType{i32, i32, i32, i32, i32, i32, i32}, notSupported},
	{"path_open", []api.ValueType{i32, i32, i32, i32, i32, i64, i64, i32, i32}, pathOpen},
	{"path_readlink", []api.ValueType{i32, i32, i32, i32, i32, i32}, pathReadlink},
	{"path_remove_directory", []api.ValueType{i32, i32, i32}, pathRemoveDirectory},
	{"path_rename", []api.ValueType{i32, i32, i32, i32, i32, i32}, pathRename},
	{"path_symlink", []api.ValueType{i32, i32, i32, i32, i32}, pathSymlink},
	{"path_unlink_file", []api.ValueType{i32, i32, i32}, pathUnlinkFile},

	{"sock_accept", []api.ValueType{i32, i32, i32}, notSupported},
	{"sock_recv", []api.ValueType{i32, i32, i32, i32, i32, i32}, notSupported},
	{"sock_send", []api.ValueType{i32, i32, i32, i32, i32}, notSupported},
	{"sock_shutdown", []api.ValueType{i32, i32}, notSupported},
}

// Instantiate instantiates the module [ModuleName] in r, once per runtime: every run's guest
// imports it, and each call finds the [System] of its own run in its context.
func Instantiate(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder(ModuleName)
	for _, f := range functions {
		results := []api.ValueType{i32}
		if f.name == procExitName {
			results = nil
		}
		b.NewFunctionBuilder().
			WithName(f.name).
			WithGoModuleFunction(f.call, f.params, results).
			Export(f.name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		return fmt.Errorf("instantiate %s: %w", ModuleName, err)
	}
	return nil
}

// Call lets a guest call f. It implements [api.GoModuleFunction].
func (f function) Call(ctx context.Context, mod api.Module, stack []uint64) {
	s, ok := ctx.Value(contextKey{}).(*System)
	if !ok {
		panic("wasi: the guest was called without a System's Context")
	}
	checkCancelled(ctx)
	s.fuel.Spend(abi.FuelCall)
	stack[0] = uint64(f(ctx, s, s.memoryOf(mod), stack))
}

// payCopy charges for copying n bytes from or to the guest.
func (s *System) payCopy(n int) { s.fuel.Spend(abi.FuelCopy(uint64(n))) }

// checkCancelled ends the run if its context is done.
func checkCancelled(ctx context.Context) {
	if ctx.Err() != nil {
		panic(context.Cause(ctx))
	}
}

func notSupported(context.Context, *System, memory, []uint64) errno { return eNOTSUP }

// memoryOf returns the guest's memory. If a module has none, every pointer faults.
func (s *System) memoryOf(mod api.Module) memory {
	if s.mod != mod {
		s.mod, s.mem = mod, memory{mod.Memory()}
		if v := reflect.ValueOf(s.mem.Memory); !v.IsValid() || v.IsNil() {
			s.mem = memory{}
		}
	}
	return s.mem
}

// memory is a guest's memory. Parameters are passed unchanged, an i32 in a uint64; slices are
// valid until the guest runs again.
type memory struct{ api.Memory }

// span returns the size bytes at ptr. A size over 32 bits is always out of bounds.
func (m memory) span(ptr, size uint64) ([]byte, errno) {
	if m.Memory == nil || size > 1<<32-1 {
		return nil, eFAULT
	}
	b, ok := m.Read(uint32(ptr), uint32(size))
	if !ok {
		return nil, eFAULT
	}
	return b, eOK
}

// bytes returns the size bytes at ptr, both of them i32 parameters.
func (m memory) bytes(ptr, size uint64) ([]byte, errno) {
	return m.span(ptr, uint64(uint32(size)))
}

// text copies a string out of the memory; a string longer than any path is refused before it is
// copied.
func (m memory) text(ptr, size uint64) (string, errno) {
	b, e := m.bytes(ptr, size)
	switch {
	case e != eOK:
		return "", e
	case len(b) > maxText:
		return "", eNAMETOOLONG
	}
	return string(b), eOK
}

func (m memory) put32(ptr uint64, v uint32) errno {
	b, e := m.span(ptr, 4)
	if e == eOK {
		le.PutUint32(b, v)
	}
	return e
}

func (m memory) put64(ptr, v uint64) errno {
	b, e := m.span(ptr, 8)
	if e == eOK {
		le.PutUint64(b, v)
	}
	return e
}

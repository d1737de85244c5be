// Package abi is the contract between a guest module and the host that runs it: the names and
// signatures of the host calls, their error numbers, and the limits that both sides keep.
// docs/abi.md is its documentation; a test compares the two.
//
// Every call returns an i64: an answer if it is >= 0, a negated [Errno] if it is < 0. The guest
// owns every buffer. A handle is the only authority: a guest can reach its inputs and what can
// be reached from them, and nothing else.
//
// The package imports only the standard library, so that a guest toolchain can compile it, too.
package abi

// Module is the import module of the host's calls. A second version of the ABI would have a
// second name, and a host may provide both.
const Module = "liftoff_v1"

// The exports of a guest.
const (
	// ExportRun is func() i32: 0 is success, 1..255 the guest's own failure, any other value
	// counts as 255. A module that exports it is a liftoff_v1 module.
	ExportRun = "liftoff_run"
	// ExportStart is func(): a module that exports it, but not ExportRun, is an unmodified WASI
	// preview 1 command.
	ExportStart = "_start"
	// ExportInitialize is func(): if it is exported, it runs first.
	ExportInitialize = "_initialize"
	// ExportMemory is the guest's linear memory.
	ExportMemory = "memory"
)

// The kinds of objects that the call "kind" returns.
const (
	KindRaw       = 0 // a raw block: bytes, and a file of one leaf
	KindFile      = 1 // a UnixFS file
	KindDirectory = 2 // a UnixFS directory, plain or sharded
	KindSymlink   = 3 // a UnixFS symlink
	KindOther     = 4 // any other block: links and bytes
)

// Limits of the ABI: exceeding them is an errno, and does not end the run.
const (
	MaxHandles    = 4096    // live handles at once; more is MFILE
	MaxBlockRead  = 2 << 20 // bytes of a block that a guest may read
	MaxBlockWrite = 1 << 20 // bytes of a block that a guest may write; more is TOOBIG
	MaxPath       = 4096    // bytes of a path
	MaxSegments   = 256     // segments of a path
	MaxName       = 255     // bytes of one name in a path or of an input
	MaxCID        = 160     // bytes of a binary CID
	MaxArgs       = 1 << 20 // bytes of all args and env of a Task
	MaxDepth      = 128     // levels of a DAG that one call walks
	MaxIdentity   = 128     // bytes inside an identity CID
)

// ValueType is the type of a parameter.
type ValueType byte

// The parameter types in use, with their WebAssembly encodings.
const (
	I32 ValueType = 0x7f
	I64 ValueType = 0x7e
)

// Call is one host call: its name, the types of its parameters in order, and its specific
// errors. BADF, FAULT, FORMAT, MFILE and STATE may come from every call with a parameter that
// they concern. Every call returns an i64.
type Call struct {
	Name   string
	Params []Param
	Errors []Errno
}

// Param is one parameter of a Call.
type Param struct {
	Name string
	Type ValueType
}

func i32(name string) Param { return Param{name, I32} }
func i64(name string) Param { return Param{name, I64} }

// Calls lists every host call of [Module]. The list is append-only.
var Calls = []Call{
	{"input_count", nil, nil},
	{"input_name", []Param{i32("i"), i32("ptr"), i32("cap")}, []Errno{RANGE}},
	{"args", []Param{i32("ptr"), i32("cap")}, nil},
	{"env", []Param{i32("ptr"), i32("cap")}, nil},
	{"cid", []Param{i32("h"), i32("ptr"), i32("cap")}, nil},
	{"codec", []Param{i32("h")}, nil},
	{"kind", []Param{i32("h")}, nil},
	{"block_read", []Param{i32("h"), i32("off"), i32("ptr"), i32("len")}, nil},
	{"block_write", []Param{i32("codec"), i32("ptr"), i32("len")}, []Errno{CODEC, TOOBIG, NOLINK}},
	{"file_read", []Param{i32("h"), i64("off"), i32("ptr"), i32("len")}, []Errno{NOTFILE, INVAL}},
	{"file_create", nil, nil},
	{"file_write", []Param{i32("h"), i32("ptr"), i32("len")}, nil},
	{"file_finish", []Param{i32("h")}, nil},
	{"link_count", []Param{i32("h")}, nil},
	{"link", []Param{i32("h"), i32("i")}, []Errno{RANGE, CODEC}},
	{"child", []Param{i32("h"), i32("cid_ptr"), i32("cid_len")}, []Errno{CID, NOLINK}},
	{"resolve", []Param{i32("h"), i32("path_ptr"), i32("path_len")}, []Errno{NOENT, NOTDIR, INVAL}},
	{"dir_next", []Param{i32("h"), i64("cursor"), i32("ptr"), i32("cap")}, []Errno{NOTDIR}},
	{"readlink", []Param{i32("h"), i32("ptr"), i32("cap")}, []Errno{INVAL}},
	{"close", []Param{i32("h")}, nil},
	{"output", []Param{i32("h"), i32("name_ptr"), i32("name_len")}, []Errno{INVAL}},
	{"hash", []Param{i32("code"), i32("ptr"), i32("len"), i32("out"), i32("cap")}, []Errno{CODEC}},
	{"log", []Param{i32("level"), i32("ptr"), i32("len")}, nil},
	{"progress", []Param{i64("done"), i64("total")}, nil},
}

package wasm

import (
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
)

func inputCount(r *run, _ api.Memory, _ []uint64) (int64, abi.Errno) {
	return int64(len(r.task.In)), 0
}

func inputName(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	i, ptr, room := uint32(a[0]), a[1], a[2]
	if uint64(i) >= uint64(len(r.task.In)) {
		return 0, abi.RANGE
	}
	return give(r, mem, r.task.In[i].Name, ptr, room)
}

func args(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	return give(r, mem, r.args, a[0], a[1])
}

func env(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	return give(r, mem, r.environ, a[0], a[1])
}

// terminated joins words, each followed by a NUL, as in C.
func terminated(words []string) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(w)
		b.WriteByte(0)
	}
	return b.String()
}

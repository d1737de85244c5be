package meter_test

import (
	"encoding/binary"
	"math/rand/v2"
)

// floatModule returns a random module that uses mostly floats: expressions over f32, f64 and
// v128 locals, loaded from memory full of NaNs of every kind, through selects, blocks,
// branches, loops and calls, until everything is stored again. Its export is "run".
func floatModule(seed uint64) []byte {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
	var locals []byte
	for _, t := range []byte{'i', 'f', 'F', 'v'} {
		for range 3 + g.IntN(9) {
			locals = append(locals, t)
		}
	}
	g.locals = locals
	g.b = append(g.b, byte(len(locals)))
	for _, t := range locals {
		g.b = append(g.b, 1, valueByte[t])
	}
	for i, t := range locals {
		g.load(t)
		g.b = append(g.b, 0x21, byte(i))
	}
	g.loops = 3 // counters, after the others
	g.b[0] += byte(g.loops)
	head := append([]byte{}, g.b[:1+2*len(locals)]...)
	for range g.loops {
		head = append(head, 1, 0x7f)
	}
	g.b = append(head, g.b[1+2*len(locals):]...)
	for range 6 + g.IntN(10) {
		g.statement(2)
	}
	for i, t := range locals {
		g.b = append(g.b, 0x41)
		g.b = appendS(g.b, int64(2048+16*i))
		g.b = append(g.b, 0x20, byte(i))
		g.b = append(g.b, storeOf[t]...)
	}
	g.b = append(g.b, 0x0b)

	data := make([]byte, 1024)
	for i := 0; i < len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], g.bits())
	}
	return wasm(
		part(1, "\x06\x60\x00\x00\x60\x03\x7d\x7c\x7b\x01\x7c"+
			"\x60\x01\x7f\x01\x7f\x60\x01\x7d\x01\x7d\x60\x01\x7c\x01\x7c\x60\x01\x7b\x01\x7b"), part(3, "\x02\x00\x01"), part(5, "\x01\x00\x01"),
		part(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
		part(10, "\x02"+sized(string(g.b))+body(mix)),
		part(11, "\x01\x00\x41\x00\x0b"+sized(string(data))))
}

// mix is the second function: f32, f64, v128 -> f64. oneOf are the types of loops with one
// parameter and one result.
const mix = "\x20\x01\x20\x00\xbb\xa0\x20\x02\xfd\x21\x01\xa5"

var oneOf = map[byte]byte{'i': 2, 'f': 3, 'F': 4, 'v': 5}

type generator struct {
	*rand.Rand
	b      []byte
	locals []byte
	loops  int
}

var (
	valueByte = map[byte]byte{'i': 0x7f, 'f': 0x7d, 'F': 0x7c, 'v': 0x7b}
	loadOf    = map[byte]string{'i': "\x28\x02", 'f': "\x2a\x02", 'F': "\x2b\x03", 'v': "\xfd\x00\x03"}
	storeOf   = map[byte]string{'i': "\x36\x02\x00", 'f': "\x38\x02\x00", 'F': "\x39\x03\x00", 'v': "\xfd\x0b\x03\x00"}
)

// bits returns eight bytes that are often NaNs, of either width, with payloads.
func (g *generator) bits() uint64 {
	v := g.Uint64()
	switch g.IntN(6) {
	case 0:
		v |= 0x7ff0000000000001
	case 1:
		v |= 0x7f8000017f800001
	case 2:
		v = 0x3ff0000000000000 + v>>20
	case 3:
		v = 0x3f80000040000000 + v&0x000fffff000fffff
	case 4:
		v = []uint64{0, 1 << 63, 0x7ff0000000000000, 0xfff0000000000000, 0xff8000007f800000}[g.IntN(5)]
	}
	return v
}

func (g *generator) load(t byte) {
	g.b = append(g.b, 0x41, 0)
	g.b = append(g.b, loadOf[t]...)
	g.b = binary.AppendUvarint(g.b, uint64(16*g.IntN(63)))
}

// pick returns a random local of type t.
func (g *generator) pick(t byte) byte {
	for {
		if i := g.IntN(len(g.locals)); g.locals[i] == t {
			return byte(i)
		}
	}
}

func (g *generator) any() byte { return "ifFv"[g.IntN(4)] }

func (g *generator) statement(depth int) {
	switch k := g.IntN(10); {
	case k == 0 && depth > 0:
		g.condition(depth)
		g.b = append(g.b, 0x04, 0x40)
		g.statements(depth - 1)
		if g.IntN(2) == 0 {
			g.b = append(g.b, 0x05)
			g.statements(depth - 1)
		}
		g.b = append(g.b, 0x0b)
	case k == 1 && depth > 0 && g.loops > 0:
		g.loops--
		counter := byte(len(g.locals) + g.loops)
		g.b = append(g.b, 0x03, 0x40)
		g.statements(depth - 1)
		g.again(counter)
	case k == 3 && depth > 0 && g.loops > 0: // with a parameter
		g.loops--
		t, counter := g.any(), byte(len(g.locals)+g.loops)
		g.expr(t, 2)
		local := g.pick(t)
		g.b = append(g.b, 0x03, oneOf[t], 0x21, local)
		g.statements(depth - 1)
		g.b = append(g.b, 0x20, local)
		g.again(counter)
		g.b = append(g.b, 0x21, g.pick(t))
	case k == 4 && depth > 0: // one of three targets
		g.b = append(g.b, 0x02, 0x40, 0x02, 0x40, 0x02, 0x40)
		g.statements(depth - 1)
		g.condition(depth)
		g.b = append(g.b, 0x0e, 2, 1, 0, 2, 0x0b)
		g.statements(depth - 1)
		g.b = append(g.b, 0x0b)
		g.statements(depth - 1)
		g.b = append(g.b, 0x0b)
	case k == 2 && depth > 0:
		g.b = append(g.b, 0x02, 0x40)
		g.statements(depth - 1)
		g.condition(depth)
		g.b = append(g.b, 0x0d, 0)
		g.statements(depth - 1)
		g.b = append(g.b, 0x0b)
	default:
		t := g.any()
		g.expr(t, 4)
		g.b = append(g.b, 0x21, g.pick(t))
	}
}

// again ends a loop of seven iterations.
func (g *generator) again(counter byte) {
	g.b = append(g.b, 0x20, counter, 0x41, 1, 0x6a, 0x22, counter, 0x41, 7, 0x49, 0x0d, 0, 0x0b)
}

func (g *generator) statements(depth int) {
	for range 1 + g.IntN(3) {
		g.statement(depth)
	}
}

func (g *generator) condition(depth int) { g.expr('i', depth+1) }

// operators are the instructions by type of their result: operands, opcode.
var operators = map[byte][]struct{ args, code string }{
	'i': {
		{"ii", "\x6a"},
		{"ii", "\x71"},
		{"ff", "\x5b"},
		{"ff", "\x5d"},
		{"ff", "\x60"},
		{"FF", "\x61"},
		{"FF", "\x63"},
		{"FF", "\x66"},
		{"f", "\xbc"},
		{"v", "\xfd\x1b\x01"},
		{"v", "\xfd\x53"},
		{"f", "\xfc\x00"},
		{"F", "\xfc\x03"},
		{"v", "\xfd\xa4\x01"},
		{"i", "\x67"},
		{"i", "\x68"},
		{"ii", "\x77"},
	},
	'f': {
		{"f", "\x8b"},
		{"f", "\x8c"},
		{"f", "\x8d"},
		{"f", "\x8e"},
		{"f", "\x8f"},
		{"f", "\x90"},
		{"f", "\x91"},
		{"ff", "\x92"},
		{"ff", "\x93"},
		{"ff", "\x94"},
		{"ff", "\x95"},
		{"ff", "\x96"},
		{"ff", "\x97"},
		{"ff", "\x98"},
		{"F", "\xb6"},
		{"i", "\xb2"},
		{"F", "\xbd\xb5"},
		{"i", "\xbe"},
		{"v", "\xfd\x1f\x02"},
		{"v", "\xfd\x1f\x01"},
	},
	'F': {
		{"F", "\x99"},
		{"F", "\x9a"},
		{"F", "\x9b"},
		{"F", "\x9c"},
		{"F", "\x9d"},
		{"F", "\x9e"},
		{"F", "\x9f"},
		{"FF", "\xa0"},
		{"FF", "\xa1"},
		{"FF", "\xa2"},
		{"FF", "\xa3"},
		{"FF", "\xa4"},
		{"FF", "\xa5"},
		{"FF", "\xa6"},
		{"f", "\xbb"},
		{"i", "\xb7"},
		{"F", "\xbd\xba"},
		{"v", "\xfd\x21\x01"},
		{"v", "\xfd\x21\x00"},
		{"fFv", "\x10\x01"},
	},
	'v': {
		{"f", "\xfd\x13"},
		{"F", "\xfd\x14"},
		{"i", "\xfd\x11"},
		{"vf", "\xfd\x20\x03"},
		{"vf", "\xfd\x20\x01"},
		{"vf", "\xfd\x20\x00"},
		{"vF", "\xfd\x22\x00"},
		{"vF", "\xfd\x22\x01"},
		{"vv", "\xfd\x41"},
		{"vv", "\xfd\x49"},
		{"v", "\xfd\x4d"},
		{"vv", "\xfd\x4e"},
		{"vv", "\xfd\x50"},
		{"vv", "\xfd\x51"},
		{"vvv", "\xfd\x52"},
		{"v", "\xfd\x5e"},
		{"v", "\xfd\x5f"},
		{"v", "\xfd\x67"},
		{"v", "\xfd\x68"},
		{"v", "\xfd\x69"},
		{"v", "\xfd\x75"},
		{"v", "\xfd\x7a"},
		{"v", "\xfd\x6a"},
		{"v", "\xfd\x74"},
		{"v", "\xfd\x94\x01"},
		{"vv", "\xfd\xae\x01"},
		{"v", "\xfd\xe0\x01"},
		{"v", "\xfd\xe1\x01"},
		{"v", "\xfd\xe3\x01"},
		{"vv", "\xfd\xe4\x01"},
		{"vv", "\xfd\xe5\x01"},
		{"vv", "\xfd\xe6\x01"},
		{"vv", "\xfd\xe7\x01"},
		{"vv", "\xfd\xe8\x01"},
		{"vv", "\xfd\xe9\x01"},
		{"vv", "\xfd\xea\x01"},
		{"vv", "\xfd\xeb\x01"},
		{"v", "\xfd\xec\x01"},
		{"v", "\xfd\xed\x01"},
		{"v", "\xfd\xef\x01"},
		{"vv", "\xfd\xf0\x01"},
		{"vv", "\xfd\xf1\x01"},
		{"vv", "\xfd\xf2\x01"},
		{"vv", "\xfd\xf3\x01"},
		{"vv", "\xfd\xf4\x01"},
		{"vv", "\xfd\xf5\x01"},
		{"vv", "\xfd\xf6\x01"},
		{"vv", "\xfd\xf7\x01"},
		{"v", "\xfd\xf8\x01"},
		{"v", "\xfd\xfa\x01"},
		{"v", "\xfd\xfc\x01"},
		{"v", "\xfd\xfe\x01"},
		{"vv", "\xfd\x0e"},
		{"vv", "\xfd\x0d\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17"},
		{"vv", "\xfd\x0d\x04\x05\x06\x07\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x00\x01\x02\x03"},
		{"v", "\xfd\x62"},
		{"vv", "\xfd\x65"},
		{"vi", "\xfd\x6c"},
		{"vi", "\xfd\x6d"},
		{"v", "\xfd\x7f"},
		{"vv", "\xfd\x82\x01"},
		{"v", "\xfd\xc0\x01"},
		{"vi", "\xfd\xcc\x01"},
		{"vv", "\xfd\xd5\x01"},
	},
}

func (g *generator) expr(t byte, depth int) {
	k := g.IntN(12)
	switch {
	case depth <= 0 || k < 2:
		g.b = append(g.b, 0x20, g.pick(t))
	case k == 2:
		g.load(t)
	case k == 3:
		g.expr(t, depth-1)
		g.expr(t, depth-1)
		g.expr('i', depth-1)
		g.b = append(g.b, 0x1b)
	case k == 4:
		g.expr('i', depth-1)
		g.b = append(g.b, 0x04, valueByte[t])
		g.expr(t, depth-1)
		g.b = append(g.b, 0x05)
		g.expr(t, depth-1)
		g.b = append(g.b, 0x0b)
	case k == 5:
		g.b = append(g.b, 0x02, valueByte[t])
		g.expr(t, depth-1)
		g.expr('i', depth-1)
		g.b = append(g.b, 0x0d, 0, 0x1a)
		g.expr(t, depth-1)
		g.b = append(g.b, 0x0b)
	case k == 6:
		g.expr(t, depth-1)
		g.b = append(g.b, 0x22, g.pick(t))
	default:
		list := operators[t]
		o := list[g.IntN(len(list))]
		for i := range len(o.args) {
			g.expr(o.args[i], depth-1)
		}
		g.b = append(g.b, o.code...)
	}
}

// appendS appends v as signed LEB128.
func appendS(b []byte, v int64) []byte {
	for ; v > 63 || v < -64; v >>= 7 {
		b = append(b, byte(v)&0x7f|0x80)
	}
	return append(b, byte(v)&0x7f)
}

package meter_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// pressureModule returns a random module with 10 to 40 values of all types that are live from
// its first instruction to its last, more than there are registers. In between it uses the
// instructions of the rewriter's tables, up to three of them often: integers, floats and
// vectors, loads and stores with bounds checks, selects, calls with many parameters and
// results, direct and through a table, and loops with br_table in them. Divisors and addresses
// are chosen such that few modules trap. Its export is "run". The body of run has at least size
// bytes.
func pressureModule(seed uint64, size int) []byte {
	g := &pressure{Rand: rand.New(rand.NewPCG(seed, 11))}
	for range 1 + g.IntN(3) {
		list := allInstructions
		if g.IntN(2) == 0 {
			list = safeInstructions
		}
		g.favorites = append(g.favorites, list[g.IntN(len(list))])
	}
	for range 3 {
		g.callees = append(g.callees, signature{g.types(9 + g.IntN(6)), g.types(2 + g.IntN(9))})
	}
	var code []string
	for i := range g.callees {
		code = append(code, g.callee(i))
	}
	run := g.run(size)
	types := "\x60\x00\x00"
	decls, elems := "\x00", ""
	for i, s := range g.callees {
		types += "\x60" + sized(valueTypes(s.params)) + sized(valueTypes(s.results))
		decls += string(byte(i + 1))
		elems += string(byte(i + 1))
	}
	n := len(g.callees)
	bodies := sized(run)
	for _, c := range code {
		bodies += sized(c)
	}
	data := make([]byte, 1024)
	for i := 0; i < len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], g.bits())
	}
	return wasm(
		part(1, string(byte(n+1))+types), part(3, string(byte(n+1))+decls),
		part(4, "\x01\x70\x00"+string(byte(n))), part(5, "\x01\x00\x01"),
		part(6, "\x02\x7f\x01\x41\x07\x0b\x7e\x01\x42\x05\x0b"),
		part(7, "\x02\x03run\x00\x00\x06memory\x02\x00"),
		part(9, "\x01\x00\x41\x00\x0b"+string(byte(n))+elems),
		part(10, string(byte(n+1))+bodies),
		part(11, "\x01\x00\x41\x00\x0b"+sized(string(data))))
}

// Letters of types, as in the rewriter's tables.
const pressureTypes = "iIfFv"

var (
	pressureValue = map[byte]byte{'i': 0x7f, 'I': 0x7e, 'f': 0x7d, 'F': 0x7c, 'v': 0x7b}
	pressureLoad  = map[byte]string{'i': "\x28\x02", 'I': "\x29\x03", 'f': "\x2a\x02", 'F': "\x2b\x03", 'v': "\xfd\x00\x03"}
	pressureStore = map[byte]string{'i': "\x36\x02\x00", 'I': "\x37\x03\x00", 'f': "\x38\x02\x00", 'F': "\x39\x03\x00", 'v': "\xfd\x0b\x03\x00"}
)

var (
	allInstructions = meter.Instructions()
	byResult        = func() map[byte][]meter.Instruction {
		m := map[byte][]meter.Instruction{}
		for _, in := range allInstructions {
			m[in.Result] = append(m[in.Result], in)
		}
		return m
	}()
	safeInstructions = slices.DeleteFunc(slices.Clone(allInstructions), func(in meter.Instruction) bool { return !in.Safe })
)

type signature struct{ params, results string }

type pressure struct {
	*rand.Rand
	b         []byte
	locals    string // locals that expressions use
	loops     int    // unused counters, after the others
	callees   []signature
	calls     bool
	straight  int // how many of four branches, calls and stores are omitted
	favorites []meter.Instruction
}

func valueTypes(letters string) string {
	var b []byte
	for i := range len(letters) {
		b = append(b, pressureValue[letters[i]])
	}
	return string(b)
}

func (g *pressure) types(n int) string { return g.typesOf(pressureTypes, n) }

func (g *pressure) typesOf(letters string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[g.IntN(len(letters))]
	}
	return string(b)
}

func (g *pressure) bits() uint64 { return (&generator{Rand: g.Rand}).bits() }

func (g *pressure) op(code ...byte) { g.b = append(g.b, code...) }

// run returns the exported function: load everything, work, store everything.
func (g *pressure) run(size int) string {
	live := 10 + max(g.IntN(31), g.IntN(31))
	switch t := g.favorites[0].Result; { // most for one class of registers, or for both
	case g.IntN(4) == 0:
		g.locals = g.types(live)
	case t == 'f' || t == 'F' || t == 'v':
		g.locals = g.types(live/4) + g.typesOf("fFv", live-live/4)
	default:
		g.locals = g.types(live/4) + g.typesOf("iI", live-live/4)
	}
	g.locals, g.calls = g.locals+pressureTypes, true
	g.loops, g.straight = 4, min(g.IntN(8), 4)
	counters := g.loops
	g.b = nil
	for i := range len(g.locals) {
		g.op(0x41, 0)
		g.b = append(g.b, pressureLoad[g.locals[i]]...)
		g.b = binary.AppendUvarint(g.b, uint64(8*g.IntN(126)))
		g.op(0x21, byte(i))
	}
	for n := 10 + g.IntN(20) + 20*g.straight; n > 0 || len(g.b) < size; n-- {
		g.statement(2)
		if n < 0 && g.loops == 0 && g.IntN(50) == 0 {
			g.loops = counters // counters of ended loops
		}
	}
	for i := range len(g.locals) {
		g.op(0x41)
		g.b = appendS(g.b, int64(4096+16*i))
		g.op(0x20, byte(i))
		g.b = append(g.b, pressureStore[g.locals[i]]...)
	}
	g.op(0x0b)
	head := []byte{byte(len(g.locals) + 1)}
	for i := range len(g.locals) {
		head = append(head, 1, pressureValue[g.locals[i]])
	}
	head = append(head, byte(counters), 0x7f)
	return string(head) + string(g.b)
}

// callee returns a function that computes each result from its parameters.
func (g *pressure) callee(i int) string {
	s := g.callees[i]
	g.locals, g.calls, g.loops, g.b = s.params+pressureTypes, false, 0, nil
	for range g.IntN(4) {
		g.statement(1)
	}
	for i := range len(s.results) {
		g.expr(s.results[i], 2)
	}
	g.op(0x0b)
	return "\x05\x01\x7f\x01\x7e\x01\x7d\x01\x7c\x01\x7b" + string(g.b)
}

func (g *pressure) pick(t byte) byte {
	for {
		if i := g.IntN(len(g.locals)); g.locals[i] == t {
			return byte(i)
		}
	}
}

func (g *pressure) any() byte { return pressureTypes[g.IntN(len(pressureTypes))] }

func (g *pressure) statements(depth int) {
	for range 1 + g.IntN(3) {
		g.statement(depth)
	}
}

func (g *pressure) statement(depth int) {
	k := g.IntN(16)
	if k < 8 && g.IntN(4) < g.straight || depth == 0 && k < 5 {
		k = 10 + g.IntN(6)
	}
	switch {
	case k == 0: // if, with or without else
		g.expr('i', 3)
		g.op(0x04, 0x40)
		g.statements(depth - 1)
		if g.IntN(2) == 0 {
			g.op(0x05)
			g.statements(depth - 1)
		}
		g.op(0x0b)
	case k == 1: // an exit of a block
		g.op(0x02, 0x40)
		g.statements(depth - 1)
		g.expr('i', 3)
		g.op(0x0d, 0)
		g.statements(depth - 1)
		g.op(0x0b)
	case k <= 3 && g.loops > 0: // loop of seven iterations, often with br_table in it
		g.loops--
		counter := byte(len(g.locals) + g.loops)
		g.op(0x41, 0, 0x21, counter, 0x03, 0x40)
		if g.IntN(3) > 0 {
			g.table(depth, counter)
		}
		g.statements(depth - 1)
		g.op(0x20, counter, 0x41, 1, 0x6a, 0x22, counter, 0x41, 7, 0x49, 0x0d, 0, 0x0b)
	case k == 4:
		g.table(depth, 0xff)
	case k <= 6 && g.calls: // all results into locals
		g.call()
	case k == 7:
		g.effect(3)
	case k == 8:
		t := g.any()
		g.expr(t, 3)
		g.op(0x1a)
	case k == 9:
		if g.IntN(2) == 0 {
			g.expr('i', 3)
			g.op(0x24, 0)
		} else {
			g.expr('I', 3)
			g.op(0x24, 1)
		}
	case k <= 12: // one of the favorites, on live values
		if in := g.favorite(); in.Result == 0 {
			g.instruction(in, 1+g.IntN(2))
		} else {
			g.instruction(in, 1+g.IntN(2))
			g.op(0x21, g.pick(in.Result))
		}
	default:
		t := g.any()
		g.expr(t, 1+g.IntN(4))
		g.op(0x21, g.pick(t))
	}
}

// table returns a br_table with four targets, by a counter or by any value.
func (g *pressure) table(depth int, counter byte) {
	g.op(0x02, 0x40, 0x02, 0x40, 0x02, 0x40, 0x02, 0x40)
	if counter == 0xff {
		g.expr('i', 2)
		g.op(0x41, 3, 0x71)
	} else {
		g.op(0x20, counter, 0x41, 1, 0x6b)
	}
	g.op(0x0e, 3, byte(g.IntN(4)), 1, byte(g.IntN(4)), 2)
	for range 4 {
		g.op(0x0b)
		g.statement(depth - 1)
	}
}

func (g *pressure) call() {
	i := g.IntN(len(g.callees))
	s := g.callees[i]
	for j := range len(s.params) {
		g.expr(s.params[j], g.IntN(3))
	}
	if g.IntN(3) == 0 {
		g.op(0x41, byte(i), 0x11, byte(i+1), 0)
	} else {
		g.op(0x10, byte(i+1))
	}
	for j := len(s.results) - 1; j >= 0; j-- {
		g.op(0x21, g.pick(s.results[j]))
	}
}

func (g *pressure) constant(t byte) {
	v := []int64{0, 0, 1, -1, 7, 31, 64, math.MinInt32, math.MaxInt32, math.MinInt64, math.MaxInt64, int64(g.Uint64())}[g.IntN(12)]
	switch t {
	case 'i':
		g.op(0x41)
		g.b = appendS(g.b, int64(int32(v)))
	case 'I':
		g.op(0x42)
		g.b = appendS(g.b, v)
	case 'f':
		g.op(0x43)
		g.b = binary.LittleEndian.AppendUint32(g.b, math.Float32bits(float32(v)))
	case 'F':
		g.op(0x44)
		g.b = binary.LittleEndian.AppendUint64(g.b, math.Float64bits(float64(v)))
	case 'v':
		g.op(0xfd, 12)
		g.b = binary.LittleEndian.AppendUint64(g.b, g.bits())
		g.b = binary.LittleEndian.AppendUint64(g.b, g.bits())
	}
}

func (g *pressure) expr(t byte, depth int) {
	k := g.IntN(20)
	switch {
	case depth <= 0 || k < 3:
		g.op(0x20, g.pick(t))
	case k == 3:
		g.constant(t)
	case k == 4:
		g.expr(t, depth-1)
		g.expr(t, depth-1)
		g.expr('i', depth-1)
		if g.IntN(2) == 0 {
			g.op(0x1b)
		} else {
			g.op(0x1c, 1, pressureValue[t])
		}
	case k == 5:
		g.expr('i', depth-1)
		g.op(0x04, pressureValue[t])
		g.expr(t, depth-1)
		g.op(0x05)
		g.expr(t, depth-1)
		g.op(0x0b)
	case k == 6:
		g.expr(t, depth-1)
		g.op(0x22, g.pick(t))
	case k == 7 && t == 'i':
		g.op(0x23, 0)
	case k == 7 && t == 'I':
		g.op(0x23, 1)
	default:
		in := g.favorite()
		if in.Result != t || g.IntN(2) == 0 {
			in = byResult[t][g.IntN(len(byResult[t]))]
		}
		g.instruction(in, depth)
	}
}

func (g *pressure) favorite() meter.Instruction { return g.favorites[g.IntN(len(g.favorites))] }

// effect emits an instruction without a result: a store.
func (g *pressure) effect(depth int) {
	g.instruction(byResult[0][g.IntN(len(byResult[0]))], depth)
}

func (g *pressure) instruction(in meter.Instruction, depth int) {
	careless := g.IntN(400) == 0 // may trap
	for i := range len(in.Args) {
		t := in.Args[i]
		switch code := in.Code[0]; {
		case careless:
			g.expr(t, depth-1)
		case i == 0 && in.Immediate != "" && in.Immediate[0] == 'm': // an address
			g.expr('i', depth-1)
			g.op(0x41)
			g.b = appendS(g.b, 0xfff)
			g.op(0x71)
		case i == 1 && (code >= 0x6d && code <= 0x70 || code >= 0x7f && code <= 0x82): // a divisor
			g.expr(t, depth-1)
			if t == 'i' {
				g.op(0x41, 1, 0x72)
			} else {
				g.op(0x42, 1, 0x84)
			}
		case code >= 0xa8 && code <= 0xab || code >= 0xae && code <= 0xb1: // to be an integer
			g.expr('i', depth-1)
			g.op(0x41)
			g.b = appendS(g.b, 1<<30-1)
			g.op(0x71)
			if t == 'f' {
				g.op(0xb2)
			} else {
				g.op(0xb7)
			}
		default:
			g.expr(t, depth-1)
		}
	}
	g.b = append(g.b, in.Code...)
	switch in.Immediate {
	case "memory":
		g.op(0)
		g.b = binary.AppendUvarint(g.b, uint64(g.IntN(256)))
	case "memory lane":
		g.op(0)
		g.b = binary.AppendUvarint(g.b, uint64(g.IntN(256)))
		g.op(byte(g.IntN(16 >> ((in.Code[1] - 84) & 3))))
	case "lane":
		g.op(byte(g.IntN(lanesOf(in.Code[1]))))
	case "bytes":
		for range 16 {
			if in.Result == 'v' && len(in.Args) == 2 {
				g.op(byte(g.IntN(32)))
			} else {
				g.op(byte(g.Uint32()))
			}
		}
	}
}

// lanesOf returns the number of lanes of extract_lane or replace_lane.
func lanesOf(code byte) int {
	switch {
	case code <= 23:
		return 16
	case code <= 26:
		return 8
	case code <= 28 || code == 31 || code == 32:
		return 4
	}
	return 2
}

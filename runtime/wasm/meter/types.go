package meter

// Value types, as their bytes.
const (
	typeI32    = 0x7f
	typeI64    = 0x7e
	typeF32    = 0x7d
	typeF64    = 0x7c
	typeV128   = 0x7b
	typeFunc   = 0x70
	typeExtern = 0x6f
)

// funcType is a signature; both slices alias the module.
type funcType struct {
	params, results []byte
}

func isValueType(t byte) bool {
	return (t >= typeV128 && t <= typeI32) || isReference(t)
}

func isReference(t byte) bool { return t == typeFunc || t == typeExtern }

// carriesNaN reports whether a value of type t can hold a NaN that arithmetic made.
func carriesNaN(t byte) bool { return t == typeF32 || t == typeF64 || t == typeV128 }

// slots returns the stack space of a value of type t, in units of 8 bytes.
func slots(t byte) int {
	if t == typeV128 {
		return 2
	}
	return 1
}

func slotsOf(types []byte) int {
	n := 0
	for _, t := range types {
		n += slots(t)
	}
	return n
}

// singles holds every one-value result list, so that block types need no allocation.
var singles = func() (s [256][1]byte) {
	for i := range s {
		s[i][0] = byte(i)
	}
	return
}()

// valueTypes reads a vector of value types.
func (r *reader) valueTypes() []byte {
	ts := r.take(r.u32())
	for _, t := range ts {
		if !isValueType(t) {
			r.fail("unknown value type 0x%02x", t)
		}
	}
	return ts
}

func (r *reader) valueType() byte {
	t := r.byte()
	if r.err == nil && !isValueType(t) {
		r.fail("unknown value type 0x%02x", t)
	}
	return t
}

// limits are the size limits of a memory or a table; a limits without a maximum has noMax as max.
type limits struct {
	min, max uint64
}

const noMax = ^uint64(0)

func (r *reader) limits() limits {
	l := limits{max: noMax}
	switch flags := r.byte(); flags {
	case 0:
		l.min = uint64(r.u32())
	case 1:
		l.min = uint64(r.u32())
		l.max = uint64(r.u32())
	default:
		r.fail("unknown flags 0x%02x in the limits of a memory or table", flags)
	}
	return l
}

// blockType reads the type of a block, a loop or an if.
func (r *reader) blockType(types []funcType) funcType {
	n := r.s33()
	switch {
	case n == -64: // 0x40: empty
		return funcType{}
	case n < 0:
		t := byte(n & 0x7f)
		if !isValueType(t) {
			r.fail("unknown block type %d", n)
		}
		return funcType{results: singles[t][:]}
	case n >= int64(len(types)):
		r.fail("type index of a block: got %d, want less than %d", n, len(types))
		return funcType{}
	}
	return types[n]
}

package meter_test

import "encoding/binary"

// faultModule is a module that the engine compiles incorrectly on some architectures.
type faultModule struct {
	name, wrongOn string
	module        []byte
}

// faultModules returns those that take only a few lines of code.
func faultModules() []faultModule {
	list := []faultModule{
		{"i64x2.bitmask", "arm64", pressedModule("\x20\x07\xfd\x11\xfd\xc4\x01" + set)}, // of a splat
		{"i32.popcnt", "arm64", faultModuleOf("\x41\x00\x41\x00\x2c\x00\x10\x69\x36\x02\x40", "")},
	}
	for name, op := range map[string]byte{"i32.rem_s": 0x6f, "i32.rem_u": 0x70} {
		list = append(list, faultModule{name, "arm64", pressedModule("\x20\x10\x41\x07" + string([]byte{op}) + set)})
	}
	for name, op := range map[string]byte{"i64.rem_s": 0x81, "i64.rem_u": 0x82} {
		list = append(list, faultModule{name, "arm64", pressedModule("\x20\x10\xac\x42\x07" + string([]byte{op}) + setWide)})
	}
	for i, name := range []string{"lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"} {
		second := ""
		if i%2 == 1 { // the unsigned ones
			second = "arm64"
		}
		first := "amd64 arm64"
		if name == "gt_u" || name == "le_u" {
			first = "amd64"
		}
		list = append(list,
			faultModule{"0 i32." + name + " and", first, zeroModule(byte(0x48+i), false, true)},
			faultModule{"and i32." + name + " 0", second, zeroModule(byte(0x48+i), false, false)},
			faultModule{"0 i64." + name + " and", first, zeroModule(byte(0x53+i), true, true)},
			faultModule{"and i64." + name + " 0", second, zeroModule(byte(0x53+i), true, false)})
	}
	return list
}

// The numbers of locals, and of additional operands, that are live in a pressedModule.
const (
	pressed     = 40
	temporaries = 4
)

// set and setWide set the last local of their type.
const set, setWide = "\x21\x27", "\x21\x28"

// pressedModule returns a module that runs code, which sets one of many locals, and then stores
// them all.
func pressedModule(code string) []byte {
	var b []byte
	for i := range byte(pressed) {
		b = append(b, 0x41, 0, 0x28, 2, 4*(i%30), 0x21, i)
	}
	for i := range byte(temporaries) {
		b = append(b, 0x20, i, 0x20, i+1, 0x73) // xor
	}
	b = append(append(b, code...), 0x21, 0)
	for range temporaries - 1 {
		b = append(b, 0x20, 0, 0x6a, 0x21, 0)
	}
	for i := range byte(pressed) {
		b = append(b, 0x41, 0, 0x20, i, 0x36, 2)
		b = binary.AppendUvarint(b, uint64(256+4*int(i)))
	}
	b = append(b, 0x41, 0, 0x20, pressed, 0x37, 3, 0x80, 8)
	return faultModuleOf(string(b), "\x02"+string(byte(pressed))+"\x7f\x01\x7e")
}

// zeroModule returns a module that stores, for several values, whether a branch took their
// comparison with 0 as true. The values have passed through an and.
func zeroModule(op byte, wide, zeroFirst bool) []byte {
	zero, load, and, at := "\x41\x00", "\x28\x02", "\x71", 4
	if wide {
		zero, load, and, at = "\x42\x00", "\x29\x03", "\x83", 8
	}
	var code string
	for i := range 8 {
		place := load + string(byte(at*i))
		x, y := "\x41\x00"+place+"\x41\x00"+place+and, zero
		if zeroFirst {
			x, y = y, x
		}
		code += x + y + string([]byte{op}) + "\x04\x40" + "\x41\x00\x41\x01\x36\x02" + string(byte(64+4*i)) + "\x0b"
	}
	return faultModuleOf(code, "")
}

// faultModuleOf returns a module with a function "run" and a memory with numbers of every kind.
func faultModuleOf(code, locals string) []byte {
	if locals == "" {
		locals = "\x00"
	}
	var data []byte
	for _, v := range []uint64{0, 1, 1<<63 - 1, 1 << 63, 1<<64 - 1, 1 << 31, 0x8000000000000001, 7} {
		data = binary.LittleEndian.AppendUint64(data, v)
	}
	data = data[:64]
	for i := range uint64(8) {
		data = binary.LittleEndian.AppendUint64(data, 0x9e3779b97f4a7c15*(i+3))
	}
	return wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(5, "\x01\x00\x01"),
		part(7, "\x02\x03run\x00\x00\x06memory\x02\x00"), part(10, "\x01"+sized(locals+code+"\x0b")),
		part(11, "\x01\x00\x41\x00\x0b"+sized(string(data))))
}

package meter

// step analyses the next instruction of live code.
func (b *body) step() {
	at := b.p
	code := b.byte()
	o := &core[code]
	switch o.imm {
	case immNone:
		b.cost++
		b.safe(o.safe, at)
		if b.mistaken(code) {
			b.safe(safeResult, at)
		}
		from := b.sourceOf(code)
		b.apply(o, canonFormOf(o.push))
		if from != 0 {
			b.setFrom(from)
		}
	case immMemory:
		b.cost++
		b.memarg()
		b.apply(o, 0)
	case immControl:
		b.control(code, at)
	default:
		if b.err == nil {
			b.fail("unknown opcode 0x%02x", code)
		}
	}
}

// memarg reads the alignment and offset of an access. Bit 6 of the alignment would select a
// memory other than the first.
func (b *body) memarg() {
	if align := b.u32(); align >= 32 {
		b.fail("invalid alignment 2^%d", align)
	}
	b.u32()
	if len(b.w.m.memories) == 0 {
		b.fail("module has no memory")
	}
}

func canonFormOf(t byte) canonForm {
	if t == typeF32 {
		return canonF32
	}
	return canonF64
}

// apply pops the operands of o, records what o observes of them, and pushes its result.
func (b *body) apply(o *operator, form canonForm) {
	n := len(b.stack) - int(o.pop)
	if n < int(b.frames[len(b.frames)-1].height) {
		b.fail("missing operand on the stack")
		return
	}
	var see uint8
	node := noNode
	switch o.use {
	case useSees:
		see = seenAll
	case useF32x4:
		see = seenF64
	case useF64x2:
		see = seenF32
	case usePass:
		node = b.nan.node(1)
	case usePassF32:
		see, node = seenF64, b.nan.node(1)
	case usePassF64:
		see, node = seenF32, b.nan.node(1)
	}
	for _, v := range b.stack[n:] {
		b.slots--
		if v.typ == typeV128 {
			b.slots--
		}
		b.frameUse.pop(v.born, v.typ)
		if v.node >= 0 {
			b.nan.seen[v.node] |= see
			if node >= 0 {
				b.nan.flow(v.node, node)
			}
		}
	}
	b.stack = b.stack[:n]
	if o.push == 0 {
		return
	}
	if o.fresh {
		node = b.fresh(form)
	}
	b.pushValue(o.push, node)
}

// fresh records that a NaN may have been produced, and returns its node.
func (b *body) fresh(form canonForm) int32 {
	if b.w.opts.RawNaN {
		return noNode
	}
	node := b.nan.node(1)
	b.nan.fresh++
	b.event(evCanon, b.p, uint32(node), form)
	return node
}

func (b *body) vectorStep(at int) {
	code := b.u32()
	if code >= uint32(len(vector)) || vector[code].imm == immUnknown {
		b.fail("unknown vector opcode %d", code)
		return
	}
	o := &vector[code]
	b.cost++
	switch o.imm {
	case immMemory:
		b.memarg()
	case immMemoryLane:
		b.memarg()
		b.byte()
	case immLane:
		b.byte()
	case immBytes16:
		if lanes := b.take(16); code == vectorShuffle {
			o = &operator{pop: o.pop, push: o.push, use: shuffleUse(lanes)}
		}
	}
	b.safe(o.safe, at)
	form := canonF32x4
	if lanesF64(code) {
		form = canonF64x2
	}
	b.apply(o, form)
}

// shuffleUse recognizes a shuffle of whole lanes, which observes nothing of their bits.
func shuffleUse(lanes []byte) use {
	whole := func(width int) bool {
		for i, lane := range lanes {
			if i%width == 0 && int(lane)%width != 0 || i%width != 0 && lane != lanes[i-1]+1 {
				return false
			}
		}
		return true
	}
	switch {
	case whole(8):
		return usePass
	case whole(4):
		return usePassF32
	}
	return useSees
}

func (b *body) miscStep(at int) {
	code := b.u32()
	if code >= uint32(len(misc)) {
		b.fail("unknown opcode 0xfc %d", code)
		return
	}
	if b.cost++; code == miscTableGrow {
		b.cost += priceLeave - priceInstruction
	}
	if o := &misc[code]; o.imm == immNone {
		b.apply(o, 0)
		return
	}
	key := helperKey{op: code}
	switch code {
	case miscDataDrop, miscElemDrop:
		b.u32()
		return
	case miscMemoryInit, miscTableInit, miscTableCopy:
		key.a, key.b = b.u32(), b.u32()
	case miscMemoryCopy:
		key.a, key.b = uint32(b.byte()), uint32(b.byte())
	case miscMemoryFill:
		key.a = uint32(b.byte())
	case miscTableGrow, miscTableSize, miscTableFill:
		key.a = b.u32()
	}
	switch code {
	case miscMemoryInit:
		if key.b != 0 {
			b.fail("memory index %d, want 0", key.b)
		}
	case miscMemoryCopy, miscMemoryFill:
		if key.a != 0 || key.b != 0 {
			b.fail("memory index %d, want 0", max(key.a, key.b))
		}
	case miscTableSize:
		b.pushValue(typeI32, noNode)
		return
	case miscTableGrow:
		b.popSeen(2)
		b.helper(at, key)
		b.pushValue(typeI32, noNode)
		return
	}
	b.popSeen(3)
	b.helper(at, key)
}

// helper replaces the instruction from position at by a call of its priced form.
func (b *body) helper(at int, key helperKey) {
	if b.err == nil {
		b.event(evCall, at, b.w.helperFor(&b.reader, key), b.inGlobal())
		b.called = true
		b.frameUse.calls++
	}
}

package meter

// jump analyses the branch instructions.
func (b *body) jump(code byte, at int) {
	switch code {
	case opBr:
		label := b.branch(b.u32())
		if label&outer != 0 {
			b.event(evReturn, at, 0, b.inGlobal())
			break
		}
		b.settle(at)
		b.event(evBranch, at, label, opBr)
	case opBrIf:
		b.settle(at)
		b.popValue()
		n := b.u32()
		label := b.branch(n)
		if b.err != nil {
			return
		}
		aux := byte(opBrIf)
		if b.frames[len(b.frames)-1-int(n)].bare() {
			aux = opIf
		}
		b.outer = b.outer || label&outer != 0 && aux == opBrIf
		b.event(evBranch, at, label, aux)
		b.closeBlock(at)
		b.openBlock()
		return
	case opBrTable:
		b.settle(at)
		b.popValue()
		n := b.count("labels")
		first := len(b.targets)
		b.targets = append(b.targets, uint32(n))
		for i := 0; i <= n && b.err == nil; i++ {
			label := b.branch(b.u32())
			b.outer = b.outer || label&outer != 0
			b.targets = append(b.targets, label)
		}
		b.event(evTable, at, uint32(first), 0)
	case opReturn:
		b.branch(uint32(len(b.frames) - 1))
		b.event(evReturn, at, 0, b.inGlobal())
	}
	b.called = false
	if b.err != nil {
		return
	}
	b.closeBlock(at)
	b.skip(evSkip)
}

// branch records a branch to the label and returns its new number. The split form of a loop
// adds three labels between the loop and the enclosing code.
func (b *body) branch(label uint32) uint32 {
	if int64(label) >= int64(len(b.frames)) {
		b.fail("label index %d, want less than %d", label, len(b.frames))
		return 0
	}
	target := len(b.frames) - 1 - int(label)
	f := &b.frames[target]
	f.targeted = true
	if f.op == opLoop {
		b.spend(len(f.typ.params))
		for _, v := range b.top(len(f.typ.params)) {
			b.nan.see(v.node, seenAll)
		}
	} else {
		b.deliver(f)
		f.arrive(b.callsRun)
	}
	label += splitLabels * uint32(b.splits-f.splits)
	if target == 0 {
		label |= outer
	}
	return label
}

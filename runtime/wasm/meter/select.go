package meter

// selectFloat stands for a select of type t.
func (e *emitter) selectFloat(t byte) {
	x, y := e.value[pickForm(t)], e.pick[pickForm(t)]
	e.set(e.cond)
	e.set(y)
	e.set(x)
	e.op(opBlock, emptyBlock)
	e.get(e.cond)
	e.brIf(0)
	e.get(y)
	e.set(x)
	e.op(opEnd)
	e.get(x)
}

// planSelect reserves the scratch locals of a select of type t.
func (b *body) planSelect(t byte) {
	p, form := &b.plan, pickForm(t)
	if p.cond == noLocal {
		p.cond = b.addLocal(typeI32)
	}
	if p.value[form] == noLocal {
		p.value[form] = b.addLocal(t)
	}
	if p.pick[form] == noLocal {
		p.pick[form] = b.addLocal(t)
	}
}

// pickForm is the scratch local, by canonForm, that serves selects of type t.
func pickForm(t byte) canonForm {
	switch t {
	case typeF32:
		return canonF32
	case typeF64:
		return canonF64
	}
	return canonF32x4
}

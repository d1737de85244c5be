package meter

// A check calls the host when a counter is below zero. The cost is not the test but a call
// inside a loop: the engine's register allocator then treats the whole loop as one with calls.
// In split form the call is outside: a branch leaves the loop, the call is made, and the loop
// is entered again. At its head nothing has been paid yet, so entering twice equals entering
// once.
//
//	block T                  $exit
//	  loop                   $again
//	    block                $below
//	      loop T             the guest's own
//	        fuel < 0; br_if $below
//	        ...
//	      end
//	      br $exit
//	    end
//	    call $slow
//	    br $again
//	  end
//	  unreachable
//	end

// splitLabels is the number of labels between a split loop and the enclosing code.
const splitLabels = 3

// loopHead begins a loop of the block type bt. A loop with parameters cannot be entered again
// without them: its check is at its head.
func (e *emitter) loopHead(bt []byte, split bool) {
	if !split {
		e.op(opLoop)
		e.op(bt...)
		e.check()
		return
	}
	e.op(opBlock)
	e.op(bt...)
	e.op(opLoop, emptyBlock, opBlock, emptyBlock, opLoop)
	e.op(bt...)
	e.getFuel()
	e.i64(0)
	e.op(opI64LtS)
	e.brIf(1)
}

// check appends a check of fuel in place.
func (e *emitter) check() {
	e.getFuel()
	e.i64(0)
	e.op(opI64LtS, opIf, emptyBlock)
	e.callSlow()
	e.op(opEnd)
}

// endSplit ends a split loop: the guest's own end, then the slow path.
func (e *emitter) endSplit() {
	e.op(opEnd)
	e.slowPath()
}

// slowPath appends the common part of the split forms of loop and entry, starting with the
// first branch to the exit.
func (e *emitter) slowPath() {
	e.br(2)
	e.op(opEnd)
	e.callSlow()
	e.br(0)
	e.op(opEnd, opUnreachable, opEnd)
}

// prologue computes what the frame leaves of the stack and checks both counters in one test:
// the host distinguishes a full stack from empty fuel by their signs.
func (e *emitter) prologue() {
	if e.charged {
		e.getGlobal(e.w.stack)
		e.i64(e.frame)
		e.op(opI64Sub)
		e.set(e.left)
	}
	e.reload()
	if e.wrapped {
		e.op(opBlock)
		e.resultType()
	}
	if e.split {
		e.op(opLoop, emptyBlock, opBlock, emptyBlock)
	}
	if !e.charged {
		return
	}
	e.getFuel()
	e.get(e.left)
	e.op(opI64Or)
	e.i64(0)
	e.op(opI64LtS)
	if e.split {
		e.brIf(0)
		e.lowerAtOnce()
		return
	}
	e.op(opIf, emptyBlock)
	e.entrySlow()
	e.op(opEnd)
	e.lowerAtOnce()
}

// lowerAtOnce deducts the frame from the stack at the entry, for functions in which exits that
// have deducted it could join exits that have not.
func (e *emitter) lowerAtOnce() {
	if e.wrapped && e.hasCall {
		e.lowerStack()
	}
}

// entrySlow calls the host at the entry, for both counters. The rest of the stack is reloaded
// from the global, so that it need not be kept across the call.
func (e *emitter) entrySlow() {
	e.get(e.left)
	e.setGlobal(e.w.stack)
	e.callSlow()
	e.getGlobal(e.w.stack)
	e.set(e.left)
	e.raiseStack()
}

// epilogue replaces the function's end.
func (e *emitter) epilogue(inGlobal bool) {
	if e.split || e.wrapped {
		e.leave(inGlobal)
		e.op(opReturn)
	}
	if e.split {
		e.op(opEnd)
		e.entrySlow()
		e.br(0)
		e.op(opEnd, opUnreachable)
	}
	if e.wrapped {
		e.op(opEnd)
	}
	switch {
	case e.wrapped:
		e.leave(false)
	case !e.split:
		e.leave(inGlobal)
	}
	e.op(opEnd)
}

// resultType appends the function's results as a block type.
func (e *emitter) resultType() {
	switch results := e.typ.results; len(results) {
	case 0:
		e.op(emptyBlock)
	case 1:
		e.op(results[0])
	default:
		e.asm.b = appendS(e.asm.b, int64(e.w.typeOf(funcType{results: results})))
	}
}

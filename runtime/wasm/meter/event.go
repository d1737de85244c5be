package meter

// event is a position in a function's source where the output differs from it: the bytes from
// pos to end are replaced as kind says. What that requires (a block's cost, where fuel is kept,
// whether a NaN is observable) is known only at the function's end; so the analysis lists
// events and the emission walks the list.
type event struct {
	pos, end int32
	arg      uint32
	kind     eventKind
	aux      byte
}

type eventKind uint8

const (
	evDebit    eventKind = iota // a charged block begins; arg: its cost
	evCheck                     // one more check
	evLoop                      // loop; aux: 1 if split
	evEndLoop                   // end of a split loop
	evSkip                      // dead code: emits nothing
	evDead                      // dead code after an end: unreachable
	evBranch                    // aux: br or br_if; arg: label, see outer
	evTable                     // br_table; arg: index into targets
	evReturn                    // aux: 1 if fuel is in the global
	evCall                      // arg: function; aux: 1 if fuel is in the global
	evIndirect                  // call_indirect, copied; aux likewise
	evReload                    // fuel is reloaded from the global
	evLower                     // the frame is deducted from the stack, if arg is 1
	evRefFunc                   // arg: index in rewriter.refs
	evCanon                     // canonical form of the value on top; arg: node, aux: canonForm
	evSafe                      // aux: safeForm
	evEnd                       // the function's own end; aux: 1 if fuel is in the global
)

// outer marks labels outside of the function's body.
const outer = 1 << 31

// canonForm is how a value is made canonical.
type canonForm = byte

const (
	canonF32 canonForm = iota
	canonF64
	canonF32x4
	canonF64x2
)

func (b *body) event(kind eventKind, pos int, arg uint32, aux byte) {
	b.events = append(b.events, event{int32(pos), int32(b.p), arg, kind, aux})
}

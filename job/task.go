package job

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
)

// Version is the version of every format in this package.
const Version = 1

// The values of Task.ABI.
const (
	ABILiftoff = "liftoff_v1" // a module that exports liftoff_run
	ABIWASI    = "wasi_p1"    // an unmodified WASI preview 1 command
)

// The values of Task.Det. A change of the rewriter's rules, of the fuel table, of
// the clock or of the layout of /in is a new value.
const (
	// Det2: metered, and the same on every machine. The Task has no nonce.
	Det2 = "det2"
	// DetNone: real clock, real randomness, real sleeping. The Task has a random nonce,
	// so that no two such runs share a name; its Outcome is never compared nor reused.
	DetNone = "nondet"
)

// OutProfile is the only value of Task.Out: how output is made into a DAG.
const OutProfile = "unixfs-v1-2025"

// Task says what to compute. Its CID names the computation: everything in it is
// part of the question, and nothing else (limits, who asks, where it runs) is.
type Task struct {
	ABI   string            // who speaks to the module: ABILiftoff, ABIWASI, ABIDocker or a plugin's
	Mod   cid.Cid           // root of the module's bytes
	Fn    string            // the export to call
	In    []Input           // in the order in which the guest sees them
	Stdin cid.Cid           // what fd 0 reads; cid.Undef: empty
	Args  []string          // without the program's name
	Env   map[string]string // the guest's whole environment
	Det   string            // the rules of determinism
	Out   string            // the output's DAG profile
	Nonce []byte            // empty under Det2; random, 16 bytes, under DetNone
}

// Input is one input of a Task. Name may be "": then its index is its only name.
type Input struct {
	Name string
	CID  cid.Cid
}

// Bounds of a Task, in bytes but for MaxInputs.
const (
	MaxInputs   = 1024
	maxName     = 255
	maxArgs     = 1 << 20
	maxNonce    = 64
	maxEncoding = 4 << 20
)

// Validate reports the first thing in t that the format does not allow.
func (t Task) Validate() error {
	switch {
	case t.Det != Det2 && t.Det != DetNone:
		return fmt.Errorf("task: unknown det %q", t.Det)
	case t.Det == Det2 && len(t.Nonce) > 0:
		return fmt.Errorf("task: a nonce under %s: equal work has one name", Det2)
	case t.Det == DetNone && len(t.Nonce) == 0:
		return fmt.Errorf("task: no nonce under %s: no two such runs are the same work", DetNone)
	case t.Out != OutProfile:
		return fmt.Errorf("task: unknown out %q", t.Out)
	case t.Fn == "" || len(t.Fn) > maxName || !utf8.ValidString(t.Fn):
		return fmt.Errorf("task: bad fn %q", t.Fn)
	case len(t.In) > MaxInputs:
		return fmt.Errorf("task: %d inputs, at most %d", len(t.In), MaxInputs)
	case len(t.Nonce) > maxNonce:
		return fmt.Errorf("task: nonce of %d bytes, at most %d", len(t.Nonce), maxNonce)
	}
	if err := t.validateABI(); err != nil {
		return err
	}
	if err := checkLink("task: mod", t.Mod); err != nil {
		return err
	}
	if t.Stdin.Defined() {
		if err := checkLink("task: stdin", t.Stdin); err != nil {
			return err
		}
	}
	seen := make(map[string]bool, len(t.In))
	for i, in := range t.In {
		if err := checkLink("task: in["+strconv.Itoa(i)+"]", in.CID); err != nil {
			return err
		}
		if in.Name == "" {
			continue
		}
		if err := CheckInputName(in.Name); err != nil {
			return fmt.Errorf("task: %w", err)
		}
		if seen[in.Name] {
			return fmt.Errorf("task: two inputs are named %q", in.Name)
		}
		seen[in.Name] = true
	}
	return t.validateWords()
}

// validateWords checks args and env: strings that C can hold, of a bounded size.
func (t Task) validateWords() error {
	size := 0
	word := func(what, s string) error {
		size += len(s) + 1
		for i := range len(s) {
			if s[i] == 0 {
				return fmt.Errorf("task: NUL in %s", what)
			}
		}
		if !utf8.ValidString(s) {
			return fmt.Errorf("task: %s is not UTF-8", what)
		}
		return nil
	}
	for i, a := range t.Args {
		if err := word("args["+strconv.Itoa(i)+"]", a); err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(t.Env)) {
		if k == "" {
			return fmt.Errorf("task: empty name in env")
		}
		for i := range len(k) {
			if k[i] == '=' {
				return fmt.Errorf("task: '=' in the env name %q", k)
			}
		}
		if err := word("env "+k, k+"="+t.Env[k]); err != nil {
			return err
		}
	}
	if size > maxArgs {
		return fmt.Errorf("task: args and env take %d bytes, at most %d", size, maxArgs)
	}
	return nil
}

// CheckInputName reports why name cannot be an input's: 1 to 255 bytes of UTF-8, no
// '/', no NUL, not "." or "..", not all digits (those are the inputs' indexes).
func CheckInputName(name string) error {
	digits := true
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return fmt.Errorf("input name %q holds a slash or a NUL", name)
		}
		digits = digits && name[i] >= '0' && name[i] <= '9'
	}
	switch {
	case name == "":
		return fmt.Errorf("an input's name is empty")
	case len(name) > maxName:
		return fmt.Errorf("input name %q is %d bytes long, at most %d", name[:32]+"…", len(name), maxName)
	case name == "." || name == "..":
		return fmt.Errorf("an input cannot be named %q", name)
	case digits:
		return fmt.Errorf("input name %q is all digits, which are kept for the inputs' indexes", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("input name %q is not UTF-8", name)
	}
	return nil
}

// checkLink accepts the links that a format may hold: CIDv1, at most 160 bytes.
func checkLink(what string, c cid.Cid) error {
	switch {
	case !c.Defined():
		return fmt.Errorf("%s is missing", what)
	case c.Version() != 1:
		return fmt.Errorf("%s is not a CIDv1", what)
	case c.ByteLen() > 160:
		return fmt.Errorf("%s is a CID of %d bytes, at most 160", what, c.ByteLen())
	}
	return nil
}

// V1 returns c as a CIDv1, as formats hold links.
func V1(c cid.Cid) cid.Cid {
	if !c.Defined() || c.Version() == 1 {
		return c
	}
	return cid.NewCidV1(c.Type(), c.Hash())
}

// Encode returns t's canonical bytes, or what Validate says.
func (t Task) Encode() ([]byte, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return encode(t.node())
}

// CID returns the name of the computation, or what Validate says.
func (t Task) CID() (cid.Cid, error) {
	b, err := t.Encode()
	if err != nil {
		return cid.Undef, err
	}
	return CIDOf(b), nil
}

// DecodeTask reads what Encode wrote and nothing else.
func DecodeTask(b []byte) (Task, error) {
	var t Task
	err := decode(b, "task", func(r *record) {
		r.version()
		t.ABI = r.str("abi")
		t.Mod = r.link("mod")
		t.Fn = r.str("fn")
		r.list("in", func(n datamodel.Node) {
			in := r.sub(n)
			t.In = append(t.In, Input{Name: in.str("n"), CID: in.link("c")})
			in.end()
		})
		t.Stdin = r.linkOrNull("stdin")
		t.Args = r.strs("args")
		t.Env = r.strMap("env")
		t.Det = r.str("det")
		t.Out = r.str("out")
		t.Nonce = r.bytes("nonce")
	})
	if err == nil {
		err = t.Validate()
	}
	if err == nil {
		err = same(b, t.node())
	}
	if err != nil {
		return Task{}, err
	}
	return t, nil
}

// Words returns args and env as the C library lays them out: env as "K=V", sorted.
func (t Task) Words() (args, env []string) {
	env = make([]string, 0, len(t.Env))
	for k, v := range t.Env {
		env = append(env, k+"="+v)
	}
	sort.Strings(env)
	return t.Args, env
}

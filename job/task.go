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

// The values of Task.Det. A change of the rewriter's rules, of the fuel table, of the clock or of
// the layout of /in needs a new value.
const (
	// Det2: metered, and the same outcome on every machine. The Task has no nonce.
	Det2 = "det2"
	// DetNone: real clock, real randomness, real sleep. The Task has a random nonce, so that no two
	// such runs have the same CID. Its Outcome is never compared or cached.
	DetNone = "nondet"
)

// OutProfile is the only value of Task.Out: how the output is encoded as a DAG.
const OutProfile = "unixfs-v1-2025"

// Task describes what to compute. Its CID names the computation: everything in it is part of the
// computation. Limits, the requester and the provider are not.
type Task struct {
	ABI   string            // the calls that the module uses: ABILiftoff, ABIWASI, ABIDocker or one of a plugin
	Mod   cid.Cid           // root of the bytes of the module
	Fn    string            // the exported function to call
	In    []Input           // in the order in which the guest sees them
	Stdin cid.Cid           // standard input; cid.Undef: empty
	Args  []string          // without the name of the program
	Env   map[string]string // the complete environment of the guest
	Det   string            // the det profile
	Out   string            // the DAG profile of the output
	Nonce []byte            // empty under Det2; random, 16 bytes, under DetNone
}

// Input is one input of a Task. If Name is "", the input has only its index.
type Input struct {
	Name string
	CID  cid.Cid
}

// Bounds of a Task, in bytes except MaxInputs.
const (
	MaxInputs   = 1024
	maxName     = 255
	maxArgs     = 1 << 20
	maxNonce    = 64
	maxEncoding = 4 << 20
)

// Validate returns an error for the first field of t that the format does not allow.
func (t Task) Validate() error {
	switch {
	case t.Det != Det2 && t.Det != DetNone:
		return fmt.Errorf("task: det: unknown determinism mode %q", t.Det)
	case t.Det == Det2 && len(t.Nonce) > 0:
		return fmt.Errorf("task: nonce with det %s: equal tasks must have equal CIDs", Det2)
	case t.Det == DetNone && len(t.Nonce) == 0:
		return fmt.Errorf("task: nonce is missing with det %s: two such runs must have different CIDs", DetNone)
	case t.Out != OutProfile:
		return fmt.Errorf("task: out: unknown output format %q", t.Out)
	case t.Fn == "" || len(t.Fn) > maxName || !utf8.ValidString(t.Fn):
		return fmt.Errorf("task: fn: invalid function name %q", t.Fn)
	case len(t.In) > MaxInputs:
		return fmt.Errorf("task: got %d inputs, want at most %d", len(t.In), MaxInputs)
	case len(t.Nonce) > maxNonce:
		return fmt.Errorf("task: nonce: got %d bytes, want at most %d", len(t.Nonce), maxNonce)
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
			return fmt.Errorf("task: duplicate input name %q", in.Name)
		}
		seen[in.Name] = true
	}
	return t.validateWords()
}

// validateWords checks args and env: strings that C can represent, with a bounded total size.
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
			return fmt.Errorf("task: env: empty name")
		}
		for i := range len(k) {
			if k[i] == '=' {
				return fmt.Errorf("task: env: '=' in the name %q", k)
			}
		}
		if err := word("env "+k, k+"="+t.Env[k]); err != nil {
			return err
		}
	}
	if size > maxArgs {
		return fmt.Errorf("task: args and env: got %d bytes, want at most %d", size, maxArgs)
	}
	return nil
}

// CheckInputName returns an error if name cannot be the name of an input. A name is 1 to 255 bytes
// of UTF-8 without '/' and NUL, not "." or "..", and not all digits, which are the indexes of
// inputs.
func CheckInputName(name string) error {
	digits := true
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return fmt.Errorf("input name %q contains a slash or a NUL", name)
		}
		digits = digits && name[i] >= '0' && name[i] <= '9'
	}
	switch {
	case name == "":
		return fmt.Errorf("input name is empty")
	case len(name) > maxName:
		return fmt.Errorf("input name %q: got %d bytes, want at most %d", name[:32]+"…", len(name), maxName)
	case name == "." || name == "..":
		return fmt.Errorf("input name %q is not allowed", name)
	case digits:
		return fmt.Errorf("input name %q is all digits: these are reserved for the indexes of inputs", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("input name %q is not UTF-8", name)
	}
	return nil
}

// checkLink accepts the links that a format may contain: CIDv1 of at most 160 bytes.
func checkLink(what string, c cid.Cid) error {
	switch {
	case !c.Defined():
		return fmt.Errorf("%s: CID is missing", what)
	case c.Version() != 1:
		return fmt.Errorf("%s is not a CIDv1", what)
	case c.ByteLen() > 160:
		return fmt.Errorf("%s: got a CID of %d bytes, want at most 160", what, c.ByteLen())
	}
	return nil
}

// V1 returns c as a CIDv1, the only version that formats contain.
func V1(c cid.Cid) cid.Cid {
	if !c.Defined() || c.Version() == 1 {
		return c
	}
	return cid.NewCidV1(c.Type(), c.Hash())
}

// Encode returns the canonical bytes of t, or the error of Validate.
func (t Task) Encode() ([]byte, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return encode("task", t.node())
}

// CID returns the CID that names the computation, or the error of Validate.
func (t Task) CID() (cid.Cid, error) {
	b, err := t.Encode()
	if err != nil {
		return cid.Undef, err
	}
	return CIDOf(b), nil
}

// DecodeTask decodes what Encode returned, and rejects everything else.
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
		err = same("task", b, t.node())
	}
	if err != nil {
		return Task{}, err
	}
	return t, nil
}

// Words returns args and env in the layout of the C library: env as sorted "K=V" strings.
func (t Task) Words() (args, env []string) {
	env = make([]string, 0, len(t.Env))
	for k, v := range t.Env {
		env = append(env, k+"="+v)
	}
	sort.Strings(env)
	return t.Args, env
}

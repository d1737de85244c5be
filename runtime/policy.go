package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Role is what a requester is to this machine.
type Role string

// The roles. A requester that is granted by its key and a member, too, is what suits it
// better. The zero Role may use no executor.
const (
	Owner   Role = "owner"   // whoever speaks to the node's own socket
	Member  Role = "member"  // of the cluster
	Granted Role = "granted" // by its key, where keys are let in one by one
	Open    Role = "open"    // any other, where every peer is let in
)

// Requester is who asks for a run.
type Requester struct {
	DID  job.DID
	Role Role
}

// Policy says which requesters may use which executors, and how much they may ask for. The
// zero Policy is the default: WebAssembly for everybody who is let in at all, all else for
// the owner alone, nobody's guests on the network. It decides nothing about who is let in.
//
// A provider asks before it bids, when all that it knows are the requester, the Task's ABI
// and the limits: a *DeniedError is a refusal with its reason. It asks again before it runs
// what it was awarded, and gives Grant.Network to the executor (Env.Network).
type Policy struct {
	Rules []Rule `json:"rules"` // the first that fits decides; none: the default
}

// Rule allows some requesters some executors.
type Rule struct {
	// Who holds roles and did:keys; the rule fits a requester of one of them.
	Who []string `json:"who"`
	// Engines holds ABIs ("docker", "x_sql"), "wasm" for both of WebAssembly, or "*".
	Engines []string `json:"engines"`
	Deny    bool     `json:"deny,omitempty"` // nothing is allowed by this rule, whatever follows
	// Ceiling is the most that may be asked for; a zero field is no bound of its own.
	Ceiling job.Limits `json:"ceiling,omitzero"`
	Network bool       `json:"network,omitempty"` // guests may reach the network, where their engine can
}

// EngineWasm stands for the ABIs of WebAssembly in a Rule.
const EngineWasm = "wasm"

// Grant is what a Policy allows.
type Grant struct {
	Network bool
}

// DeniedError is a refusal, in words for the requester.
type DeniedError struct{ Reason string }

func (e *DeniedError) Error() string { return e.Reason }

// Check decides about a run of abi that asks for lim, whose zero fields are the defaults.
func (p Policy) Check(r Requester, abi string, lim job.Limits) (Grant, error) {
	for _, rule := range p.Rules {
		if !rule.fits(r, abi) {
			continue
		}
		if rule.Deny {
			return Grant{}, denied(r, abi)
		}
		if err := rule.exceeded(lim.OrDefault()); err != nil {
			return Grant{}, err
		}
		return Grant{Network: rule.Network}, nil
	}
	switch r.Role {
	case Owner:
		return Grant{}, nil
	case Member, Granted, Open:
		if engineOf(abi) == EngineWasm {
			return Grant{}, nil
		}
	}
	return Grant{}, denied(r, abi)
}

// Allows reports whether r could have abi run at all, whatever it asks for.
func (p Policy) Allows(r Requester, abi string) bool {
	_, err := p.Check(r, abi, job.Limits{Fuel: 1, Pages: 1, Out: 1, Tmp: 1, Log: 1})
	return err == nil
}

func denied(r Requester, abi string) error {
	who := "who is let in as " + string(r.Role)
	switch r.Role {
	case Member:
		who = "members of its cluster"
	case "":
		who = "an unknown requester"
	}
	return &DeniedError{fmt.Sprintf("it does not run %s for %s", engineOf(abi), who)}
}

// engineOf is what people call the executor of an ABI.
func engineOf(abi string) string {
	if job.Foreign(abi) {
		return abi
	}
	return EngineWasm
}

func (r Rule) fits(q Requester, abi string) bool {
	if q.Role == "" {
		return false
	}
	who := slices.Contains(r.Who, string(q.Role)) || q.DID != "" && slices.Contains(r.Who, string(q.DID))
	return who && (slices.Contains(r.Engines, "*") || slices.Contains(r.Engines, engineOf(abi)))
}

func (r Rule) exceeded(lim job.Limits) error {
	for _, f := range []struct {
		what      string
		asked, is uint64
	}{
		{"fuel", lim.Fuel, r.Ceiling.Fuel},
		{"pages of memory", lim.Pages, r.Ceiling.Pages},
		{"bytes of output", lim.Out, r.Ceiling.Out},
		{"bytes in /tmp", lim.Tmp, r.Ceiling.Tmp},
		{"bytes of stdout and stderr", lim.Log, r.Ceiling.Log},
	} {
		if f.is > 0 && f.asked > f.is {
			return &DeniedError{fmt.Sprintf("it allows %d %s, and %d are asked for", f.is, f.what, f.asked)}
		}
	}
	return nil
}

// maxRules bounds a Policy.
const maxRules = 10_000

// ParsePolicy reads a Policy as JSON. What it does not know is an error: a rule that was
// misspelt would else allow what it should not.
func ParsePolicy(b []byte) (Policy, error) {
	var p Policy
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Policy{}, errors.New("policy: something follows its end")
	}
	if len(p.Rules) > maxRules {
		return Policy{}, fmt.Errorf("policy: %d rules, at most %d", len(p.Rules), maxRules)
	}
	for i, r := range p.Rules {
		if err := r.validate(); err != nil {
			return Policy{}, fmt.Errorf("policy: rule %d: %w", i+1, err)
		}
	}
	return p, nil
}

func (r Rule) validate() error {
	if len(r.Who) == 0 || len(r.Engines) == 0 {
		return errors.New("it names nobody, or no engine")
	}
	for _, w := range r.Who {
		if slices.Contains([]Role{Owner, Member, Granted, Open}, Role(w)) {
			continue
		}
		if _, err := job.DID(w).Key(); err != nil {
			return fmt.Errorf("%q is neither owner, member, granted or open nor a did:key", w)
		}
	}
	for _, e := range r.Engines {
		if e != "*" && e != EngineWasm && !job.Foreign(e) {
			return fmt.Errorf("%q is no engine: wasm, docker, x_NAME or *", e)
		}
	}
	if r.Deny && (r.Ceiling != job.Limits{} || r.Network) {
		return errors.New("it denies and allows")
	}
	return nil
}

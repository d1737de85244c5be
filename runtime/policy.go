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

// Role is the relation of a requester to this node.
type Role string

// The roles. A requester that is both granted and a member has the role that allows more. The
// zero Role, an unknown peer, may use no executor.
const (
	Owner   Role = "owner"   // a client of the node's own socket
	Member  Role = "member"  // a member of the cluster
	Granted Role = "granted" // a non-member whose key is admitted
	Open    Role = "open"    // any other peer, if the node is open to all peers
)

// Requester is the peer that requests a run.
type Requester struct {
	DID  job.DID
	Role Role
}

// Policy decides which requesters may use which executors, and with which limits. The zero
// Policy is the default: WebAssembly for every admitted requester, all other executors for the
// owner only, and no network for any guest. A Policy does not decide which peers are admitted.
//
// A provider checks it before it bids, when it knows only the requester, the Task's ABI and the
// limits: a *DeniedError is a refusal with its reason. It checks again before it runs an award,
// and passes Grant.Network to the executor (Env.Network).
type Policy struct {
	Rules []Rule `json:"rules"` // the first match decides; without a match, the default
}

// Rule allows or denies some requesters some executors.
type Rule struct {
	// Who holds roles and did:keys; the rule matches a requester that has one of them.
	Who []string `json:"who"`
	// Engines holds ABIs ("docker", "x_sql"), "wasm" for both ABIs of WebAssembly, or "*".
	Engines []string `json:"engines"`
	Deny    bool     `json:"deny,omitempty"` // a match is refused; later rules are not tried
	// Ceiling holds the highest limits that a request may have; a zero field sets no limit.
	Ceiling job.Limits `json:"ceiling,omitzero"`
	Network bool       `json:"network,omitempty"` // guests may use the network, if their engine supports it
}

// EngineWasm stands for the ABIs of WebAssembly in a Rule.
const EngineWasm = "wasm"

// Grant is what a Policy allows.
type Grant struct {
	Network bool
}

// DeniedError is a refusal, with a reason that is shown to the requester.
type DeniedError struct{ Reason string }

func (e *DeniedError) Error() string { return e.Reason }

// Check decides about a run of abi that requests lim, whose zero fields are the defaults.
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

// Allows reports whether r may run abi at all, with any limits.
func (p Policy) Allows(r Requester, abi string) bool {
	_, err := p.Check(r, abi, job.Limits{Fuel: 1, Pages: 1, Out: 1, Tmp: 1, Log: 1})
	return err == nil
}

func denied(r Requester, abi string) error {
	who := string(r.Role) + " peers"
	switch r.Role {
	case Member:
		who = "members of the cluster"
	case "":
		who = "unknown peers"
	}
	return &DeniedError{fmt.Sprintf("policy does not allow %s for %s", engineOf(abi), who)}
}

// engineOf returns the name of an ABI's executor in a Policy.
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
			return &DeniedError{fmt.Sprintf("policy allows %d %s, the request has %d", f.is, f.what, f.asked)}
		}
	}
	return nil
}

// maxRules bounds a Policy.
const maxRules = 10_000

// ParsePolicy reads a Policy as JSON. Unknown fields are an error: a misspelt rule could
// otherwise allow what it should not.
func ParsePolicy(b []byte) (Policy, error) {
	var p Policy
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Policy{}, errors.New("policy: data after the JSON object")
	}
	if len(p.Rules) > maxRules {
		return Policy{}, fmt.Errorf("policy: got %d rules, want at most %d", len(p.Rules), maxRules)
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
		return errors.New("rule without a requester or without an engine")
	}
	for _, w := range r.Who {
		if slices.Contains([]Role{Owner, Member, Granted, Open}, Role(w)) {
			continue
		}
		if _, err := job.DID(w).Key(); err != nil {
			return fmt.Errorf("invalid requester in rule %q: want owner, member, granted, open or a did:key", w)
		}
	}
	for _, e := range r.Engines {
		if e != "*" && e != EngineWasm && !job.Foreign(e) {
			return fmt.Errorf("invalid engine in rule %q: want wasm, docker, x_NAME or *", e)
		}
	}
	if r.Deny && (r.Ceiling != job.Limits{} || r.Network) {
		return errors.New("a rule with deny must not set a ceiling or network")
	}
	return nil
}

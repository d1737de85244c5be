package runtime

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ipfs-liftoff/liftoff/job"
)

const ann = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"

func TestDefaultPolicy(t *testing.T) {
	var p Policy
	for _, c := range []struct {
		role Role
		abi  string
		ok   bool
	}{
		{Owner, job.ABIWASI, true},
		{Owner, job.ABIDocker, true},
		{Owner, "x_sql", true},
		{Member, job.ABIWASI, true},
		{Member, job.ABILiftoff, true},
		{Member, job.ABIDocker, false},
		{Member, "x_sql", false},
		{Granted, job.ABIWASI, true},
		{Granted, job.ABIDocker, false},
		{Open, job.ABIWASI, true},
		{Open, job.ABIDocker, false},
		{"", job.ABIDocker, false},
		{"", job.ABIWASI, false},
		{"listed", job.ABIWASI, false},
	} {
		g, err := p.Check(Requester{ann, c.role}, c.abi, job.Limits{})
		var denied *DeniedError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &denied) || g.Network {
			t.Errorf("%s for %q: %+v, %v", c.abi, c.role, g, err)
		}
		if p.Allows(Requester{ann, c.role}, c.abi) != c.ok {
			t.Errorf("%s for %q is allowed: %v", c.abi, c.role, !c.ok)
		}
	}
}

// TestNoRole has a policy that names a key: without a role, a requester with that key is
// refused.
func TestNoRole(t *testing.T) {
	p := Policy{Rules: []Rule{{Who: []string{ann, "member", "granted", "open", "owner"}, Engines: []string{"*"}}}}
	for _, abi := range []string{job.ABIWASI, job.ABIDocker, "x_sql"} {
		if p.Allows(Requester{DID: ann}, abi) || p.Allows(Requester{}, abi) {
			t.Errorf("%s runs for a requester without a role", abi)
		}
		if !p.Allows(Requester{DID: ann, Role: Open}, abi) {
			t.Errorf("%s does not run for the key that the policy names", abi)
		}
	}
}

func TestPolicy(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"rules": [
		{"who": ["` + ann + `"], "engines": ["docker"], "ceiling": {"pages": 100, "fuel": 1000}, "network": true},
		{"who": ["open"], "engines": ["*"], "deny": true},
		{"who": ["member", "granted"], "engines": ["x_sql", "wasm"], "ceiling": {"Log": 10}}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	small := job.Limits{Fuel: 1000, Pages: 100, Log: 10}
	for _, c := range []struct {
		who  Requester
		abi  string
		lim  job.Limits
		says string // "": allowed
	}{
		{Requester{ann, Member}, job.ABIDocker, small, ""},
		{Requester{ann, Open}, job.ABIDocker, small, ""},
		{Requester{ann, Member}, job.ABIDocker, job.Limits{Fuel: 1000, Pages: 101}, "allows 100 pages of memory, the request has 101"},
		{Requester{ann, Member}, job.ABIDocker, job.Limits{}, "fuel"}, // the defaults are more
		{Requester{"did:key:other", Member}, job.ABIDocker, small, "does not allow docker for members of the cluster"},
		{Requester{"did:key:other", Granted}, "x_sql", small, ""},
		{Requester{"did:key:other", Granted}, job.ABIWASI, job.Limits{Log: 11}, "stdout"},
		{Requester{"did:key:other", Open}, job.ABIWASI, small, "does not allow wasm"},
		{Requester{"", Owner}, job.ABIDocker, job.Limits{}, ""},
	} {
		g, err := p.Check(c.who, c.abi, c.lim)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%v, %s: %v", c.who, c.abi, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%v, %s: error %v, want one that contains %q", c.who, c.abi, err, c.says)
		}
		if want := err == nil && c.who.DID == ann; g.Network != want {
			t.Errorf("%v, %s: network %v", c.who, c.abi, g.Network)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	for text, says := range map[string]string{
		``:                   "EOF",
		`{"rule": []}`:       "unknown field",
		`{"rules": []} more`: "data after",
		`{"rules": [{"who": [], "engines": ["*"]}]}`:                                           "without a requester",
		`{"rules": [{"who": ["member"]}]}`:                                                     "without an engine",
		`{"rules": [{"who": ["all"], "engines": ["*"]}]}`:                                      "rule 1",
		`{"rules": [{"who": ["did:key:x"], "engines": ["*"]}]}`:                                "did:key",
		`{"rules": [{"who": ["open"], "engines": ["dockers"]}]}`:                               "invalid engine",
		`{"rules": [{"who": ["open"], "engines": ["docker"], "deny": true, "network": true}]}`: "rule with deny",
		`{"rules": [{"who": ["open"], "engines": ["docker"], "ceiling": {"pages": -1}}]}`:      "policy",
		`{"rules": [` + strings.Repeat(`{"who":["open"],"engines":["*"]},`, 10_000) + `{}]}`:   "at most",
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.80s: error %v, want one that contains %q", text, err, says)
		}
	}
}

// TestPolicyIsMonotone checks that a request for less is not refused where more is allowed.
func TestPolicyIsMonotone(t *testing.T) {
	limits := rapid.Custom(func(t *rapid.T) job.Limits {
		n := rapid.Uint64Range(1, 5)
		return job.Limits{Fuel: n.Draw(t, "fuel"), Pages: n.Draw(t, "pages"), Out: n.Draw(t, "out"), Tmp: n.Draw(t, "tmp"), Log: n.Draw(t, "log")}
	})
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Rules: []Rule{{Who: []string{"member"}, Engines: []string{"docker"}, Ceiling: limits.Draw(t, "ceiling")}}}
		more, less := limits.Draw(t, "more"), limits.Draw(t, "less")
		less = job.Limits{
			Fuel: min(less.Fuel, more.Fuel), Pages: min(less.Pages, more.Pages), Out: min(less.Out, more.Out),
			Tmp: min(less.Tmp, more.Tmp), Log: min(less.Log, more.Log),
		}
		who := Requester{Role: Member}
		if _, err := p.Check(who, job.ABIDocker, more); err != nil {
			return
		}
		if _, err := p.Check(who, job.ABIDocker, less); err != nil {
			t.Errorf("%+v is allowed and %+v is not: %v", more, less, err)
		}
	})
}

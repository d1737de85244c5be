package host

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// tableOf parses the table of docs/protocol.md: by action and relation, yes or no.
func tableOf(t *testing.T) map[string]map[string]string {
	t.Helper()
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	table := map[string]map[string]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == "action" && slices.Contains(cells, "unknown"):
			columns = cells[1:]
		case columns == nil || strings.HasPrefix(cells[0], "---"):
		case len(cells) == len(columns)+1:
			table[cells[0]] = map[string]string{}
			for i, c := range columns {
				table[cells[0]][c] = cells[i+1]
			}
		default:
			return table
		}
	}
	return table
}

// TestRelationTable compares each cell with docs/protocol.md. Package node tests the effect of the cells between real
// hosts.
func TestRelationTable(t *testing.T) {
	table := tableOf(t)
	if len(table) != len(Actions()) {
		t.Errorf("got %d documented actions, want %d", len(table), len(Actions()))
	}
	for _, a := range Actions() {
		if len(table[a.String()]) != len(Relations())+1 {
			t.Errorf("%s: got %d documented relations, want %d", a, len(table[a.String()]), len(Relations())+1)
		}
		for _, r := range append(Relations(), Unknown) {
			name := string(r)
			if r == Unknown {
				name = "unknown"
			}
			t.Run(name+"/"+a.String(), func(t *testing.T) {
				want := map[bool]string{true: "yes", false: "no"}[Allows(r, a)]
				if got := table[a.String()][name]; got != want {
					t.Errorf("documented: %q, in code: %q", got, want)
				}
			})
		}
	}
}

// TestNoRightsByDefault checks values without a row: the zero relation, unknown names, and values that are not an
// action.
func TestNoRightsByDefault(t *testing.T) {
	var zero Relation
	for _, r := range []Relation{zero, Unknown, "new", "Member", "owner "} {
		for _, a := range Actions() {
			if Allows(r, a) {
				t.Errorf("%q: allowed to %s", r, a)
			}
		}
	}
	for i, a := range Actions() {
		if a != 1<<i || a.String() == "" {
			t.Errorf("action %d is %d, %q", i, a, a)
		}
	}
	for _, r := range Relations() {
		if Allows(r, 0) || Allows(r, 1<<15) {
			t.Errorf("%s: allowed a value that is not an action", r)
		}
	}
}

// TestSeveralRelations gives a peer more than one relation: it has the rights of each, and loses those of the
// relation that ends.
func TestSeveralRelations(t *testing.T) {
	t.Parallel()
	other := newPeer(t, nil)
	p := newPeer(t, func(c *Config) { c.Policy.Open = true })
	if _, err := p.Connect(limited(t), other.Addrs()[0]); err == nil {
		t.Error("an unknown peer may connect")
	}
	all := []Relation{Provider, OpenPeer}
	if got := p.gater.relations(other.id); !slices.Equal(got, all) {
		t.Fatalf("%q, want %q", got, all)
	}
	for _, a := range Actions() {
		if got, want := p.Allows(other.id, a), Allows(Provider, a) || Allows(OpenPeer, a); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	if got := p.RelationFor(other.id, SendJobs); got != OpenPeer {
		t.Errorf("send jobs: got relation %q", got)
	}
	if err := p.SetPolicy(Policy{AllowPeers: []string{other.id.String()}}); err != nil {
		t.Fatal(err)
	}
	if got := p.gater.relations(other.id); !slices.Equal(got, []Relation{Provider, Content}) || p.Allows(other.id, SendJobs) {
		t.Errorf("got relation %q, may send jobs: %v", got, p.Allows(other.id, SendJobs))
	}
	if got := p.RelationFor(other.id, SendJobs); got != Unknown {
		t.Errorf("send jobs: got relation %q", got)
	}
	if p.Allows(p.id, StayConnected) || p.Relation(p.id) != Owner {
		t.Error("the node is a peer of itself")
	}
}

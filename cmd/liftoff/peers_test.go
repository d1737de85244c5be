//go:build !windows

package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// TestRolesExplained: the help of peers and docs/operations.md explain every role that peers prints.
func TestRolesExplained(t *testing.T) {
	var help bytes.Buffer
	none := func(string) string { return "" }
	if code := run(t.Context(), []string{"liftoff", "peers", "--help"}, strings.NewReader(""), &help, &help, none); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &help)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	roles := []string{"self", api.RoleAdmin}
	for _, r := range host.Relations() {
		if r != host.Owner && host.Allows(r, host.StayConnected) { // others are not listed
			roles = append(roles, string(r))
		}
	}
	for _, role := range roles {
		if !regexp.MustCompile(`(?m)^ {4,}` + role + ` +\S`).MatchString(help.String()) {
			t.Errorf("the help does not explain %q", role)
		}
		if !strings.Contains(string(page), "\n| `"+role+"` | ") {
			t.Errorf("docs/operations.md does not explain %q", role)
		}
	}
}

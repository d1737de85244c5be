package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestToken(t *testing.T) {
	want := Token{
		Cluster: didOf(keyOf(1)), Peer: didOf(keyOf(2)), Secret: [16]byte([]byte("0123456789abcdef")),
		Addrs: []string{"/ip4/192.0.2.1/tcp/4017", "/dns4/example.com/udp/4017/quic-v1"},
	}
	line := want.String()
	if strings.ContainsAny(line, " \n\t'\"$&;|<>*") {
		t.Errorf("not a line to copy into a shell: %s", line)
	}
	got, err := ParseToken(" " + line + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i := range line {
		b := []byte(line)
		b[i] ^= 1
		if _, err := ParseToken(string(b)); err == nil {
			t.Errorf("accepted with byte %d changed", i)
		}
		if _, err := ParseToken(line[:i]); err == nil {
			t.Errorf("accepted after %d bytes", i)
		}
	}
	for _, bad := range []Token{
		{want.Cluster, want.Peer, want.Secret, nil},
		{want.Cluster, want.Peer, want.Secret, []string{"example.com"}},
		{want.Cluster, want.Peer, want.Secret, make([]string, maxTokenAddrs+1)},
		{"did:key:z6Mk", want.Peer, want.Secret, want.Addrs},
	} {
		if _, err := ParseToken(bad.String()); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
	if _, err := ParseToken(strings.Repeat("x", maxToken+1)); err == nil {
		t.Error("accepted a long token")
	}
}

func FuzzParseToken(f *testing.F) {
	t := Token{didOf(keyOf(1)), didOf(keyOf(2)), [16]byte{}, []string{"/ip4/192.0.2.1/tcp/4017"}}
	f.Add(t.String())
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseToken(s)
		if err == nil && got.String() != strings.TrimSpace(s) {
			t.Errorf("%q: parsed as %q", s, got)
		}
	})
}

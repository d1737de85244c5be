//go:build !windows

package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func TestParseInput(t *testing.T) {
	for word, want := range map[string]inputSpec{
		"bafy": {"", "bafy"}, "a=bafy/x": {"a", "bafy/x"}, "a=b=c": {"a", "b=c"}, "./a=b": {"", "./a=b"}, "dir/a=b": {"", "dir/a=b"},
		"=a=b": {"", "a=b"}, "text=ipfs://bafy/x": {"text", "ipfs://bafy/x"}, "/tmp/a=b": {"", "/tmp/a=b"},
	} {
		if got, err := parseInput(word); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", word, got, err, want)
		}
	}
	for _, word := range []string{"", "a=", "7=x", "..=x", ".=x"} {
		if got, err := parseInput(word); err == nil {
			t.Errorf("%q: %+v, want an error", word, got)
		}
	}
}

func TestInputSpecs(t *testing.T) {
	for _, inputs := range [][]string{{"a=x", "a=y"}, {"a=x", "b=x", "a=x"}} {
		_, err := runSpec{Inputs: inputs}.inputSpecs()
		var usage *usageError
		if !errors.As(err, &usage) {
			t.Errorf("%q: %v, want a usage error", inputs, err)
		}
	}
	got, err := runSpec{Inputs: []string{"x", "x", "a=x"}}.inputSpecs()
	want := []inputSpec{{"", "x"}, {"", "x"}, {"a", "x"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(inputSpec{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestSecretive(t *testing.T) {
	s := runSpec{Env: map[string]string{"PATH": "", "api_token": "", "MY_PASSWORD": "", "LANG": "", "KEYBOARD": ""}}
	if diff := cmp.Diff([]string{"KEYBOARD", "MY_PASSWORD", "api_token"}, s.secretive()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		spec runSpec
		want job.Limits
	}{
		{runSpec{}, job.Limits{}},
		{runSpec{Memory: "64KiB"}, job.Limits{Pages: 1}},
		{runSpec{Memory: "4GiB"}, job.Limits{Pages: 65536}},
		{runSpec{Memory: "100000"}, job.Limits{Pages: 1}},
		{runSpec{Fuel: "5G", Memory: "512MiB", MaxOut: "10MB"}, job.Limits{Fuel: 5e9, Pages: 8192, Out: 10e6}},
	} {
		if got, err := test.spec.limits(); err != nil || got != test.want {
			t.Errorf("%+v: %+v, %v; want %+v", test.spec, got, err, test.want)
		}
	}
	for _, spec := range []runSpec{
		{Memory: "0"}, {Memory: "1KiB"}, {Memory: "5GiB"}, {Memory: "lots"}, {Fuel: "0"}, {Fuel: "lots"}, {MaxOut: "0"}, {MaxOut: "lots"},
	} {
		if got, err := spec.limits(); err == nil {
			t.Errorf("%+v: %+v, want an error", spec, got)
		}
	}
}

// TestReadLine formats inputs with a complete count and with an incomplete one.
func TestReadLine(t *testing.T) {
	for _, test := range []struct {
		read api.Read
		of   total
		want string
	}{
		{api.Read{Blocks: 1, Bytes: 5}, total{3, 2048, true}, "1 of 3 blocks (5 B of 2 KiB)"},
		{api.Read{Blocks: 1, Bytes: 5}, total{1, 5, true}, "1 of 1 block (5 B of 5 B)"},
		{api.Read{Blocks: 1, Bytes: 5}, total{3, 2048, false}, "1 of 3 blocks or more (5 B of 2 KiB)"},
		{api.Read{Blocks: 4, Bytes: 4096}, total{3, 2048, false}, "4 blocks (4 KiB)"},
		{api.Read{Blocks: 2, Bytes: 4096}, total{3, 2048, false}, "2 blocks (4 KiB)"},
		{api.Read{Blocks: 3, Bytes: 2048}, total{3, 2048, false}, "3 blocks (2 KiB)"},
	} {
		if got := readLine(test.read, test.of); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

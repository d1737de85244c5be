//go:build !windows

package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
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
	for memory, pages := range map[string]uint64{"": 0, "64KiB": 1, "512MiB": 8192, "4GiB": 65536, "100000": 1} {
		if got, err := (runSpec{Memory: memory}).limits(); err != nil || got.Pages != pages {
			t.Errorf("%q: %d pages, %v; want %d", memory, got.Pages, err, pages)
		}
	}
	for _, memory := range []string{"0", "1KiB", "5GiB", "lots"} {
		if got, err := (runSpec{Memory: memory}).limits(); err == nil {
			t.Errorf("%q: %d pages, want an error", memory, got.Pages)
		}
	}
}

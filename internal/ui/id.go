package ui

import (
	"slices"
	"strings"
)

// The parts of an id that are left when it is shortened: enough at its beginning to tell what
// it is, enough at its end to tell two of them apart.
const (
	idHead = 6
	idTail = 6
)

// wholeCID is the length of a CID of version 1 with a SHA-256, in base 32.
const wholeCID = 59

const methodOfKeys = "did:key:"

// shorten returns the two ends of an id: bafybe…q3x7ka, did:key:z6Mkhe…1pQz8f.
func shorten(id string, tail int) string {
	head := idHead
	if strings.HasPrefix(id, methodOfKeys) {
		head += len(methodOfKeys)
	}
	if id == "" || id[0] == '"' || len(id) <= head+tail+1 {
		return id
	}
	return id[:head] + "…" + id[len(id)-tail:]
}

// tailOf returns how much of the end of each id has to be shown so that no two different ones
// look the same.
func tailOf(ids []string) int {
	for tail := idTail; ; tail += 4 {
		seen, ok := map[string]string{}, true
		for _, id := range ids {
			s := shorten(id, tail)
			if other, found := seen[s]; found && other != id {
				ok = false
				break
			}
			seen[s] = id
		}
		if ok {
			return tail
		}
	}
}

// Prefixes returns a function that gives of each of the ids the shortest beginning that no other
// of them has, of at least least bytes. All of them must be there: what is unambiguous among a
// part of them is not among all.
func Prefixes(ids []string, least int) func(id string) string {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	n := least
	for i := 1; i < len(sorted); i++ {
		n = max(n, common(sorted[i-1], sorted[i])+1)
	}
	return func(id string) string { return id[:min(n, len(id))] }
}

// common returns the length of what a and b begin with.
func common(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

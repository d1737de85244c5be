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

// shorten returns the two ends of an id: bafybe…q3x7ka, z6Mkhe…1pQz8f for a did:key.
func shorten(id string, tail int) string {
	key := strings.TrimPrefix(id, methodOfKeys)
	if id == "" || id[0] == '"' || len(key) <= idHead+tail+1 {
		return id
	}
	return key[:idHead] + "…" + key[len(key)-tail:]
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

// Prefixes returns a function that shortens each of ids to its first n bytes. n is the smallest
// number, at least least, for which all of ids differ. ids must be complete: a prefix that is
// unambiguous in a part of a list may not be in all of it.
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

package api

import "strings"

// Short names of peers: the beginning of a did:key of at least minShortPeer characters, or both of its ends with "…" or
// ".." between them, as tables and events show them. Each may have the prefix did:key:.

const (
	didMethod    = "did:key:"
	ed25519Keys  = "z6Mk" // the beginning of every did:key of an Ed25519 key
	minShortPeer = 6
	didKeyLen    = 48 // of a complete key, without the method
)

// IsShortPeer reports whether name may be the short name of a peer, and is not a complete did:key.
func IsShortPeer(name string) bool {
	key := strings.TrimPrefix(name, didMethod)
	return strings.HasPrefix(key, ed25519Keys) && len(key) >= minShortPeer && len(key) < didKeyLen
}

// MatchesPeer reports whether name is a short name of did.
func MatchesPeer(name, did string) bool {
	name, key := strings.TrimPrefix(name, didMethod), strings.TrimPrefix(did, didMethod)
	head, tail, cut := strings.Cut(strings.ReplaceAll(name, "…", ".."), "..")
	tail = strings.TrimLeft(tail, ".")
	return strings.HasPrefix(key, head) && (!cut || len(head)+len(tail) <= len(key) && strings.HasSuffix(key, tail))
}

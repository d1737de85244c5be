package host

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/smallfile"
)

// addressBook keeps the addresses at which cluster members were reached, across restarts, and the earliest time at
// which each may be dialed again.
type addressBook struct {
	path string

	mu    sync.Mutex
	known map[peer.ID]*knownPeer
	dirty bool
}

type knownPeer struct {
	addrs  []string // multiaddrs without the peer id
	signed []byte   // the same addresses, signed by the member; nil after a restart
	seq    uint64   // sequence number of signed
	seen   time.Time
	next   time.Time // earliest time of the next dial
	fails  int
	err    error // result of the last dial; nil: not tried, or connected
}

// addressEntry is an entry of the file.
type addressEntry struct {
	Peer  string    `json:"peer"`
	Addrs []string  `json:"addrs"`
	Seen  time.Time `json:"seen"`
}

const (
	addressFile    = "peers.json"
	maxAddressFile = 1 << 20
	maxKnown       = 512
	maxKnownAddrs  = 12
	firstBackoff   = 5 * time.Second
	lastBackoff    = 10 * time.Minute
)

// openAddressBook reads the address book in dir. A damaged file is an error.
func openAddressBook(dir string) (*addressBook, error) {
	b := &addressBook{path: filepath.Join(dir, addressFile), known: map[peer.ID]*knownPeer{}}
	content, err := smallfile.Read(b.path, maxAddressFile)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read address book: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	var entries []addressEntry
	if err = d.Decode(&entries); err == nil {
		if _, e := d.Token(); e != io.EOF {
			err = errors.New("trailing data after the list of peers")
		}
	}
	for _, e := range entries {
		id, bad := ParsePeer(e.Peer)
		if _, badAddr := parseAddrs(e.Addrs); bad != nil || badAddr != nil {
			err = cmp.Or(err, bad, badAddr)
			break
		}
		b.known[id] = &knownPeer{addrs: e.Addrs, seen: e.Seen}
	}
	if err != nil {
		return nil, fmt.Errorf("address book %s is damaged: %w; delete it to start with an empty one", b.path, err)
	}
	return b, nil
}

// save writes the file if an entry has changed.
func (b *addressBook) save() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.dirty {
		return nil
	}
	entries := make([]addressEntry, 0, len(b.known))
	for id, k := range b.known {
		if len(k.addrs) > 0 && !k.seen.IsZero() {
			entries = append(entries, addressEntry{id.String(), k.addrs, k.seen.UTC().Truncate(time.Second)})
		}
	}
	slices.SortFunc(entries, func(x, y addressEntry) int { return cmp.Compare(x.Peer, y.Peer) })
	content, err := json.MarshalIndent(entries, "", "\t")
	if err == nil {
		err = smallfile.Replace(b.path, append(content, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write address book: %w", err)
	}
	b.dirty = false
	return nil
}

// recordSeen records that a member was reached at addrs; addresses signed by the member take precedence. The next dial
// waits for firstBackoff, so that a member that disconnects at once is not redialed at once.
func (b *addressBook) recordSeen(id peer.ID, addrs []string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entry(id)
	if k.signed == nil && len(addrs) > 0 {
		k.addrs = addrs[:min(len(addrs), maxKnownAddrs)]
	}
	k.seen, k.next, k.fails, k.err, b.dirty = now, now.Add(firstBackoff), 0, nil, true
}

// recordSigned records addresses that the member has signed, and reports whether they are new. A later record has a
// larger seq.
func (b *addressBook) recordSigned(id peer.ID, addrs []string, signed []byte, seq uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entry(id)
	if len(addrs) == 0 || seq <= k.seq {
		return false
	}
	k.signed, k.seq = bytes.Clone(signed), seq
	if slices.Equal(k.addrs, addrs) {
		return false
	}
	k.addrs, k.next, k.fails, k.err, b.dirty = addrs, time.Time{}, 0, nil, true
	return true
}

// record returns the signed addresses of a member, or nil without a signed record.
func (b *addressBook) record(id peer.ID) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.known[id]; k != nil {
		return k.signed
	}
	return nil
}

// entry returns the entry of id. A new entry evicts the one with the oldest seen time when the book is full.
func (b *addressBook) entry(id peer.ID) *knownPeer {
	k := b.known[id]
	if k != nil {
		return k
	}
	if len(b.known) >= maxKnown {
		var oldest peer.ID
		for other, o := range b.known {
			if oldest == "" || o.seen.Before(b.known[oldest].seen) {
				oldest = other
			}
		}
		delete(b.known, oldest)
	}
	k = &knownPeer{}
	b.known[id] = k
	return k
}

// recordFailure records a failed dial of a member and its error. The time to the next dial doubles with each failure.
func (b *addressBook) recordFailure(id peer.ID, now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.known[id]; k != nil {
		k.err = err
		k.next = now.Add(min(firstBackoff<<min(k.fails, 10), lastBackoff))
		k.fails++
	}
}

// resetBackoff makes every member due for a dial now.
func (b *addressBook) resetBackoff() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.known {
		k.next, k.fails = time.Time{}, 0
	}
}

// unreachable reports whether the last dial of id failed, or the book has no address of it.
func (b *addressBook) unreachable(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.known[id]
	return k == nil || k.fails > 0 || len(k.addrs) == 0
}

// due returns up to n members that are due for a dial.
func (b *addressBook) due(n int, now time.Time, skip func(peer.ID) bool) []peer.AddrInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []peer.AddrInfo
	for id, k := range b.known {
		if len(list) == n {
			break
		}
		if len(k.addrs) == 0 || now.Before(k.next) || skip(id) {
			continue
		}
		addrs, err := parseAddrs(k.addrs)
		if err == nil {
			list = append(list, peer.AddrInfo{ID: id, Addrs: addrs})
		}
	}
	return list
}

// lookup returns the known addresses of id and the error of the last dial.
func (b *addressBook) lookup(id peer.ID) (addrs []string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.known[id]; k != nil {
		return slices.Clone(k.addrs), k.err
	}
	return nil, nil
}

// members returns the peers in the book.
func (b *addressBook) members() []peer.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]peer.ID, 0, len(b.known))
	for id := range b.known {
		list = append(list, id)
	}
	return list
}

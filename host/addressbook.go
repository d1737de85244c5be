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

// book remembers where members of the cluster were reached, over restarts, and when each
// may be dialed again.
type addressBook struct {
	path string

	mu    sync.Mutex
	known map[peer.ID]*known
	dirty bool
}

type known struct {
	addrs  []string // multiaddrs without the peer id
	signed []byte   // the same, signed by the member; nil after a restart
	seq    uint64   // of signed
	seen   time.Time
	next   time.Time // not to be dialed before
	fails  int
	err    error // of the last try to dial it; nil: it was not tried, or reached
}

// bookEntry is a row of the file.
type bookEntry struct {
	Peer  string    `json:"peer"`
	Addrs []string  `json:"addrs"`
	Seen  time.Time `json:"seen"`
}

const (
	bookFile      = "peers.json"
	maxBook       = 1 << 20
	maxKnown      = 512
	maxKnownAddrs = 12
	firstBackoff  = 5 * time.Second
	lastBackoff   = 10 * time.Minute
)

// openBook reads the file in dir. One that is damaged is an error.
func openBook(dir string) (*addressBook, error) {
	b := &addressBook{path: filepath.Join(dir, bookFile), known: map[peer.ID]*known{}}
	content, err := smallfile.Read(b.path, maxBook)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read known peers: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	var entries []bookEntry
	if err = d.Decode(&entries); err == nil {
		if _, e := d.Token(); e != io.EOF {
			err = errors.New("more after the list")
		}
	}
	for _, e := range entries {
		id, bad := ParsePeer(e.Peer)
		if _, badAddr := parseAddrs(e.Addrs); bad != nil || badAddr != nil {
			err = cmp.Or(err, bad, badAddr)
			break
		}
		b.known[id] = &known{addrs: e.Addrs, seen: e.Seen}
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not list peers: %w; it may be removed", b.path, err)
	}
	return b, nil
}

// save writes the file if something has changed.
func (b *addressBook) save() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.dirty {
		return nil
	}
	entries := make([]bookEntry, 0, len(b.known))
	for id, k := range b.known {
		if len(k.addrs) > 0 && !k.seen.IsZero() {
			entries = append(entries, bookEntry{id.String(), k.addrs, k.seen.UTC().Truncate(time.Second)})
		}
	}
	slices.SortFunc(entries, func(x, y bookEntry) int { return cmp.Compare(x.Peer, y.Peer) })
	content, err := json.MarshalIndent(entries, "", "\t")
	if err == nil {
		err = smallfile.Replace(b.path, append(content, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep known peers: %w", err)
	}
	b.dirty = false
	return nil
}

// seen notes that a member was reached at addrs; what it signed itself counts more. One that
// goes away at once is not dialed at once.
func (b *addressBook) seen(id peer.ID, addrs []string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entry(id)
	if k.signed == nil && len(addrs) > 0 {
		k.addrs = addrs[:min(len(addrs), maxKnownAddrs)]
	}
	k.seen, k.next, k.fails, k.err, b.dirty = now, now.Add(firstBackoff), 0, nil, true
}

// learn notes addresses that the member itself has signed, and reports whether they are
// new. A later record has the larger seq.
func (b *addressBook) learn(id peer.ID, addrs []string, signed []byte, seq uint64) bool {
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

// record returns the addresses of a member, signed by it, nil if there are none.
func (b *addressBook) record(id peer.ID) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.known[id]; k != nil {
		return k.signed
	}
	return nil
}

// entry returns the row of id, and makes room for it by forgetting whom was not seen
// for longest.
func (b *addressBook) entry(id peer.ID) *known {
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
	k = &known{}
	b.known[id] = k
	return k
}

// failed notes that a member could not be dialed, and why: it is left alone for twice as
// long each time.
func (b *addressBook) failed(id peer.ID, now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.known[id]; k != nil {
		k.err = err
		k.next = now.Add(min(firstBackoff<<min(k.fails, 10), lastBackoff))
		k.fails++
	}
}

// retry lets every member be dialed now.
func (b *addressBook) retry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.known {
		k.next, k.fails = time.Time{}, 0
	}
}

// unreached reports whether id could not be dialed, or has no address.
func (b *addressBook) unreached(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.known[id]
	return k == nil || k.fails > 0 || len(k.addrs) == 0
}

// due returns up to n members that may be dialed now.
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

// look returns where id is, as far as is known, and why it could not be dialed there.
func (b *addressBook) look(id peer.ID) (addrs []string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.known[id]; k != nil {
		return slices.Clone(k.addrs), k.err
	}
	return nil, nil
}

// members returns whom the book knows.
func (b *addressBook) members() []peer.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]peer.ID, 0, len(b.known))
	for id := range b.known {
		list = append(list, id)
	}
	return list
}

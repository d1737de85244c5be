package ledger

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// record is the state of a key in one source.
type record struct {
	deleted bool
	size    int
	value   []byte // in memory; nil in a table
	table   *table // nil: in memory
	at      int64  // offset in table
	sum     uint32 // checksum of key and value
}

// load returns a copy of the value.
func (r record) load(key string) ([]byte, error) {
	if r.table != nil {
		return r.table.value(key, r)
	}
	return bytes.Clone(r.value[:r.size]), nil
}

// memory is the content of the logs in memory, by key.
type memory struct{ entries map[string]record }

func newMemory() *memory { return &memory{map[string]record{}} }

func (m *memory) set(e Entry) {
	r := record{deleted: e.Delete}
	if !e.Delete {
		r.size = len(e.Value)
		r.value = append(make([]byte, 0, len(e.Value)), e.Value...)
	}
	m.entries[e.Key] = r
}

// share is set without a copy: the value must never change.
func (m *memory) share(e Entry) {
	m.entries[e.Key] = record{deleted: e.Delete, size: len(e.Value), value: e.Value}
}

// add adds the entries of o, which is newer.
func (m *memory) add(o *memory) { maps.Copy(m.entries, o.entries) }

func (m *memory) get(key string) (record, bool) {
	r, ok := m.entries[key]
	return r, ok
}

// keys returns the keys with the given prefix, sorted.
func (m *memory) keys(prefix string) []string {
	all := make([]string, 0, len(m.entries))
	for k := range maps.Keys(m.entries) {
		if strings.HasPrefix(k, prefix) {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	return all
}

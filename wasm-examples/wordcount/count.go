package main

import (
	"cmp"
	"io"
	"slices"
)

// Count is what wc counts. A word is a run of letters; bytes outside of ASCII are
// taken for letters.
type Count struct {
	Lines int64 `json:"lines"`
	Words int64 `json:"words"`
	Bytes int64 `json:"bytes"`
}

func (n *Count) add(m Count) {
	n.Lines += m.Lines
	n.Words += m.Words
	n.Bytes += m.Bytes
}

// Rank is a word and how often it was seen.
type Rank struct {
	Word  string `json:"word"`
	Count int64  `json:"count"`
}

// maxWord is the length of the longest word that is ranked: more than that is data.
const maxWord = 40

// lower maps a letter to its lower case, and every other byte to 0.
var lower = func() (t [256]byte) {
	for b := range t {
		switch {
		case b >= 'a' && b <= 'z', b >= 0x80:
			t[b] = byte(b)
		case b >= 'A' && b <= 'Z':
			t[b] = byte(b) + 'a' - 'A'
		}
	}
	return t
}()

// counter reads files and remembers their words.
type counter struct {
	seen map[string]*int64
	word []byte // the word being read, in lower case; cut above maxWord
	buf  []byte
}

func newCounter() *counter {
	return &counter{seen: map[string]*int64{}, buf: make([]byte, 256<<10)}
}

// read counts all of r.
func (c *counter) read(r io.Reader) (Count, error) {
	var n Count
	for {
		k, err := r.Read(c.buf)
		n.Bytes += int64(k)
		for _, b := range c.buf[:k] {
			if b == '\n' {
				n.Lines++
			}
			if l := lower[b]; l == 0 {
				n.Words += c.endWord()
			} else if len(c.word) <= maxWord {
				c.word = append(c.word, l)
			}
		}
		if err == io.EOF {
			n.Words += c.endWord()
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// endWord remembers the word that was being read and returns how many there were.
func (c *counter) endWord() int64 {
	if len(c.word) == 0 {
		return 0
	}
	if len(c.word) <= maxWord {
		if n := c.seen[string(c.word)]; n != nil { // a lookup that allocates nothing
			*n++
		} else {
			one := int64(1)
			c.seen[string(c.word)] = &one
		}
	}
	c.word = c.word[:0]
	return 1
}

// top returns the most frequent words; equally frequent ones in their own order.
func (c *counter) top(n int) []Rank {
	ranks := make([]Rank, 0, len(c.seen))
	for w, k := range c.seen {
		ranks = append(ranks, Rank{w, *k})
	}
	slices.SortFunc(ranks, func(a, b Rank) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Word, b.Word))
	})
	return ranks[:min(n, len(ranks))]
}

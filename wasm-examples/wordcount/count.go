package main

import (
	"bytes"
	"cmp"
	"io"
	"slices"
)

// Count holds the counts of wc. A word is a sequence of letters and digits; bytes
// outside of ASCII count as letters.
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

// Rank is a word and the number of its occurrences.
type Rank struct {
	Word  string `json:"word"`
	Count int64  `json:"count"`
}

// maxWord is the length of the longest word that is ranked: longer ones are data,
// and so are words that begin with a digit.
const maxWord = 40

// lower maps a letter to its lower case, a digit to itself, every other byte to 0.
var lower = func() (t [256]byte) {
	for b := range t {
		switch {
		case b >= 'a' && b <= 'z', digit(byte(b)), b >= 0x80:
			t[b] = byte(b)
		case b >= 'A' && b <= 'Z':
			t[b] = byte(b) + 'a' - 'A'
		}
	}
	return t
}()

func digit(b byte) bool { return b >= '0' && b <= '9' }

// counter reads files and counts their words.
type counter struct {
	seen map[string]*int64
	word [maxWord]byte // the word being read, in lower case
	len  int           // its length, which may exceed what is stored
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
		n.Lines += int64(bytes.Count(c.buf[:k], []byte{'\n'}))
		n.Words += c.split(c.buf[:k])
		if err == io.EOF {
			return Count{n.Lines, n.Words + c.endWord(), n.Bytes}, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// split splits p into words and returns how many ended in it.
func (c *counter) split(p []byte) (ended int64) {
	for _, b := range p {
		l := lower[b]
		if l == 0 {
			ended += c.endWord()
			continue
		}
		if c.len < maxWord {
			c.word[c.len] = l
		}
		c.len++
	}
	return ended
}

// endWord counts the current word and returns how many there were.
func (c *counter) endWord() int64 {
	n := c.len
	if n == 0 {
		return 0
	}
	c.len = 0
	if n > maxWord || digit(c.word[0]) {
		return 1
	}
	word := c.word[:n]
	if count := c.seen[string(word)]; count != nil { // a lookup without allocation
		*count++
	} else {
		one := int64(1)
		c.seen[string(word)] = &one
	}
	return 1
}

// top returns the n most frequent words; equally frequent ones in their own order.
func (c *counter) top(n int) []Rank {
	ranks := []Rank{}
	for w, count := range c.seen {
		r := Rank{w, *count}
		if len(ranks) == n && (n == 0 || r.compare(ranks[n-1]) > 0) {
			continue // most words end here: sorting them all is not needed
		}
		i, _ := slices.BinarySearchFunc(ranks, r, Rank.compare)
		ranks = slices.Insert(ranks, i, r)
		ranks = ranks[:min(n, len(ranks))]
	}
	return ranks
}

func (r Rank) compare(s Rank) int {
	return cmp.Or(cmp.Compare(s.Count, r.Count), cmp.Compare(r.Word, s.Word))
}

// Package words holds the test that keeps the vocabulary of this repository standard: it
// fails on the words that docs/glossary.md and the style of the project replace. A word
// that is right in one place is an exception, with a reason.
package words

// Package ui prints answers: a table for a terminal, one line for each item for a pipe.
//
// Both forms come from the same cells. A Cell has a text for each of them, so that a pipe gets
// exact bytes, whole ids and RFC 3339 times, and a terminal gets 1.2 GiB, short ids and "3m ago".
// Screen is the only place that finds out what a stream is: a terminal or not, its width, and
// whether colour is wanted.
//
// Every text of a cell is escaped when the cell is made: neither form lets a control character
// through. The package reads neither the environment nor the clock; its caller passes both.
package ui

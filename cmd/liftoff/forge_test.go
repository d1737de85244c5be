//go:build !windows

package main

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ipfs-liftoff/liftoff/job"
)

// liar signs what is not so.
var liar = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{13}, ed25519.SeedSize))

// flips is a command of the scripts: it writes a file with one bit of a byte turned.
func flips(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: flips FILE OFFSET TARGET")
	}
	b := []byte(ts.ReadFile(args[0]))
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
}

// lies is a command of the scripts: it reads the block of an Outcome and writes that of
// another one for the same Task, and the receipt in which another key swears to it.
func lies(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: lies OUTCOME LIE RECEIPT")
	}
	o, err := job.DecodeOutcome([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	o.Fuel++
	lie, err := o.Encode()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), lie, 0o600))
	r := job.Receipt{
		Task: o.Task, Outcome: job.CIDOf(lie), Issued: 1_900_000_000_000,
		Meta: job.Meta{Arch: "pdp11", Engine: "wazero", Version: "0"},
	}
	envelope, err := r.Sign(liar)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), envelope, 0o600))
}

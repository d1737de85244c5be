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

// rogue is the key that signs wrong outcomes.
var rogue = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{13}, ed25519.SeedSize))

// flips is a command of the scripts: it writes a copy of a file with one bit flipped.
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

// forges is a command of the scripts: it reads the block of an outcome and writes another
// outcome for the same task, with a receipt of another key.
func forges(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: forges OUTCOME FORGED RECEIPT")
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
	envelope, err := r.Sign(rogue)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), envelope, 0o600))
}

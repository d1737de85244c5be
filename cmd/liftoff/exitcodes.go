//go:build !windows

package main

import (
	"fmt"
	"slices"
	"strings"
)

// The exit codes of the commands. `liftoff run` passes the exit code of a guest through.
const (
	exitInvalid     = 2
	exitMismatch    = 3
	exitUndecided   = 4
	exitTrap        = 120
	exitFuel        = 121
	exitLimit       = 122
	exitDisagree    = 123
	exitTimeout     = 124
	exitFault       = 125
	exitRefused     = 126
	exitNotFound    = 127
	exitUsage       = 129
	exitInterrupted = 130
	exitClosed      = 141 // what a shell reports for a process that SIGPIPE ended
)

// exitCode is a row of the table of exit codes.
type exitCode struct {
	code    int
	meaning string
}

// exitCodes is the table of exit codes. The help of each command shows the rows that it can end with.
var exitCodes = []exitCode{
	{0, "success"},
	{exitInvalid, "invalid receipt: bad signature or encoding"},
	{exitMismatch, "wrong receipt: another outcome, or the outcome of another task"},
	{exitUndecided, "undecided: data is missing, or the task is nondeterministic"},
	{exitTrap, "the guest trapped"},
	{exitFuel, "the guest ran out of fuel"},
	{exitLimit, "the guest reached its memory or output limit"},
	{exitDisagree, "peers disagree: outcomes differ, or printed output differs from the outcome"},
	{exitTimeout, "the run took longer than --timeout"},
	{exitFault, "the command could not be carried out: machine, repo, network, or missing data"},
	{exitRefused, "the module was refused"},
	{exitNotFound, "not found: a path, content, or a name"},
	{exitUsage, "invalid command line or setting"},
	{exitInterrupted, "interrupted"},
	{exitClosed, "stdout, or an output FIFO, was closed (broken pipe)"},
}

// guestCodes stands, in commandExits, for every exit code that a guest can choose: 1 to 255.
const guestCodes = -1

const guestCodesNote = `   1-255  exit code of the guest; --json tells a guest's 120 from a trap
`

var (
	commonExits = []int{0, exitFault, exitUsage, exitInterrupted, exitClosed}
	runExits    = []int{exitTrap, exitFuel, exitLimit, exitDisagree, exitTimeout, exitRefused, exitNotFound, guestCodes}
	nameExits   = []int{exitNotFound} // of a command that takes a path, content or a name
)

// commandExits lists, by command, the exit codes that it can end with besides commonExits. Every command without
// subcommands has an entry.
var commandExits = map[string][]int{
	"run":          runExits,
	"job ls":       nil,
	"job describe": nameExits,
	"job logs":     runExits, // with --follow
	"job get":      nameExits,
	"job cancel":   nameExits,
	"job rerun":    runExits,
	"inspect":      {exitRefused, exitNotFound},
	"plugins":      nil,

	"add":         nameExits,
	"get":         nameExits,
	"cat":         nameExits,
	"ls":          nameExits,
	"stat":        nameExits,
	"pin add":     nameExits,
	"pin ls":      nameExits,
	"pin rm":      nameExits,
	"attach add":  nameExits,
	"attach ls":   nil,
	"attach rm":   nameExits,
	"car export":  nameExits,
	"car import":  nameExits,
	"block get":   nameExits,
	"block put":   nameExits,
	"block stat":  nameExits,
	"dag get":     nameExits,
	"publish":     nameExits,
	"unpublish":   nameExits,
	"store check": nil, "store migrate": nil, "gc": nil,
	"stats": nameExits, // --blocks

	"verify":         {exitInvalid, exitMismatch, exitUndecided, exitNotFound},
	"receipt ls":     nameExits, // --task
	"receipt show":   nameExits,
	"receipt export": nameExits,
	"receipt add":    {exitInvalid, exitUndecided, exitNotFound}, // of a CAR
	"cache ls":       nil,
	"cache rm":       nameExits,
	"trust add":      nil,
	"trust ls":       nil,
	"trust rm":       nameExits,

	"serve":          nil,
	"cluster init":   nil,
	"cluster invite": nameExits, // no cluster
	"cluster join":   nil,
	"cluster ls":     nameExits,
	"cluster revoke": nameExits,
	"peers":          nil,
	"id":             nil,

	"config": nil, "completion": nil, "version": nil,
}

// exitHelp is the part of a command's help about its exit codes.
func exitHelp(command string) string {
	own := commandExits[command]
	text := exitRows(func(code int) bool { return slices.Contains(commonExits, code) || slices.Contains(own, code) })
	if slices.Contains(own, guestCodes) {
		text += guestCodesNote
	}
	return "EXIT CODES:\n" + text
}

// exitRows writes the rows of the table that shown selects.
func exitRows(shown func(code int) bool) string {
	var b strings.Builder
	for _, e := range exitCodes {
		if shown(e.code) {
			fmt.Fprintf(&b, "   %-5d  %s\n", e.code, e.meaning)
		}
	}
	return b.String()
}

// exitTopic is the help topic exit-codes.
func exitTopic() string {
	return `The help of each command lists the codes that it can end with. 120 to 124 and 126 are
about the guest and its module, 125 and 127 to 141 about the command.

` + exitRows(func(int) bool { return true }) + guestCodesNote + `
run, job rerun and job logs --follow end with the exit code of the guest. 2, 3 and 4
are about receipts. run --each ends with the most severe code of its runs.
`
}

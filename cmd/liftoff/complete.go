//go:build !windows

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// completeCommand is the hidden command that the completion scripts call with the words
// typed so far, the last of which is being completed. It prints one candidate per line,
// and nothing where a file name is expected.
const completeCommand = "__complete"

// Bounds of one completion: a shell that waits for it is frozen.
const (
	completionTime = 2 * time.Second
	maxCandidates  = 1000
)

// A source lists the values that can stand for one argument or flag.
type source func(ctx context.Context, s *node.Session) ([]string, error)

// argumentSources are the sources of a command's arguments.
var argumentSources = map[string]source{
	"job describe": jobIDs, "job logs": jobIDs, "job get": jobIDs, "job cancel": runningJobIDs, "job rerun": jobIDs,
	"pin ls": pinNames, "pin rm": pinNames, "pin add": pinnedCIDs,
	"receipt show": receiptCIDs, "receipt export": receiptCIDs, "verify": receiptCIDs,
	"cache rm":  cachedTasks,
	"trust add": peerDIDs, "trust rm": trustedDIDs,
	"cluster revoke": memberDIDs,
	"publish":        pinnedCIDs, "unpublish": publishedCIDs,
	"attach rm": attachedPaths,
	"get":       pinnedCIDs, "cat": pinnedCIDs, "ls": pinnedCIDs, "stat": pinnedCIDs,
	"car export": pinnedCIDs, "dag get": pinnedCIDs, "block get": pinnedCIDs, "block stat": pinnedCIDs,
}

// flagSources are the sources of flag values, for every command that has the flag.
var flagSources = map[string]source{
	"where": placeNames, "need": peerLabels, "prefer": peerLabels, "label": jobLabels, "input": pinnedCIDs,
	"allow-did": peerDIDs,
}

// fixedValues are the values of flags that take a few words, for every command that has the flag.
var fixedValues = map[string][]string{
	"log-level": {"debug", "info", "warn", "error"}, "log-format": {"text", "json"}, "reachability": {"public", "private"},
	"codec": {"raw", "dag-pb", "dag-cbor", "dag-json"}, "car-version": {"1", "2"},
	"mhtype": {"sha2-256", "sha2-512", "blake2b-256", "blake3", "identity"},
}

// complete prints the candidates for the last word.
func (p *process) complete(ctx context.Context, app *cli.App, words []string) error {
	words, done := joinBroken(words)
	last := words[len(words)-1]
	if len(words) == 2 && words[0] == "help" {
		return printCandidates(p.stdout, append(commandNames(app.Commands), topicNames()...), "", last, done)
	}
	path, cmd, rest, err := findCommand(app, words[:len(words)-1])
	if err != nil || slices.Contains(rest, "--") {
		return nil // an unknown command, or the arguments of a guest
	}
	flagName, flagPrefix, typed := valueFlag(cmd, rest, last)
	var candidates []string
	switch {
	case fixedValues[flagName] != nil:
		candidates = fixedValues[flagName]
	case flagName != "":
		candidates = p.listed(ctx, app, cmd, rest, flagSources[flagName])
	case strings.HasPrefix(last, "-") && len(path) == 0:
		candidates = append(flagWords(globalFlags), "--version")
	case strings.HasPrefix(last, "-"):
		candidates = flagWords(cmd.Flags)
	case len(rest) == 0 && len(cmd.Subcommands) > 0:
		candidates = commandNames(cmd.Subcommands)
		if cmd.Action != nil {
			candidates = append(candidates, p.listed(ctx, app, cmd, rest, argumentSources[strings.Join(path, " ")])...)
		}
	case cmd.Name == "completion" && len(rest) == 0:
		candidates = slices.Sorted(maps.Keys(completions))
	default:
		line, err := permute(slices.Concat(cmd.Flags, remoteFlags), rest)
		if err != nil || len(line.args) > 0 && !strings.Contains(cmd.ArgsUsage, "…") {
			return nil
		}
		candidates = p.listed(ctx, app, cmd, rest, argumentSources[strings.Join(path, " ")])
		candidates = slices.DeleteFunc(candidates, func(s string) bool { return slices.Contains(line.args, s) })
	}
	return printCandidates(p.stdout, candidates, flagPrefix, typed, done)
}

// printCandidates prints prefix and the candidate for those that begin with typed, without
// done in front. A candidate with control characters is not offered.
func printCandidates(w io.Writer, candidates []string, prefix, typed, done string) error {
	printed := 0
	for _, word := range candidates {
		if !strings.HasPrefix(word, typed) || word != clean(word) {
			continue
		}
		if printed++; printed > maxCandidates {
			return nil
		}
		if _, err := fmt.Fprintln(w, strings.TrimPrefix(prefix+word, done)); err != nil {
			return err
		}
	}
	return nil
}

// joinBroken joins the words that bash has split at "=" and ":", as in "--flag=value" and
// "did:key:z6Mk". done is the part of the last word that bash does not replace.
func joinBroken(words []string) (joined []string, done string) {
	isBreak := func(word string) bool { return word != "" && strings.Trim(word, "=:") == "" }
	for i, word := range words {
		n := len(joined)
		switch {
		case isBreak(word) && n > 0:
			joined[n-1] += word
			done = joined[n-1]
		case i > 1 && isBreak(words[i-1]):
			joined[n-1] += word
		default:
			joined = append(joined, word)
			done = ""
		}
	}
	if len(joined) == 0 {
		return []string{""}, ""
	}
	return joined, done
}

// valueFlag returns the name of the flag whose value is being completed, "" when last is
// not a value. typed is the part of the value that is there, and prefix what a candidate
// has in front of it in last.
func valueFlag(cmd *cli.Command, rest []string, last string) (name, prefix, typed string) {
	takesValue := func(word string) string {
		f := flagNamed(cmd.Flags, strings.TrimLeft(word, "-"))
		if _, isBool := f.(*cli.BoolFlag); f == nil || isBool || !strings.HasPrefix(word, "-") {
			return ""
		}
		return f.Names()[0]
	}
	if word, value, assigned := strings.Cut(last, "="); assigned && strings.HasPrefix(word, "-") {
		return takesValue(word), word + "=", value
	}
	if len(rest) > 0 && rest[len(rest)-1] != "-" {
		return takesValue(rest[len(rest)-1]), "", last
	}
	return "", "", last
}

func flagWords(flags []cli.Flag) []string {
	words := []string{"--help"}
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				words = append(words, "--"+name)
			}
		}
	}
	return words
}

// listed returns what list gives for the repo, or for the node that --api names. A repo
// that does not exist, or cannot be opened in time, gives nothing: completion creates no
// repo and prints no error. It serves no other process, so that it need not wait for one: the
// shell would wait, too.
func (p *process) listed(ctx context.Context, app *cli.App, cmd *cli.Command, rest []string, list source) []string {
	if list == nil {
		return nil
	}
	dir, err := p.repo()
	if err != nil {
		return nil
	}
	if _, err := os.Stat(dir); err != nil && p.getenv("LIFTOFF_API") == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	c := cli.NewContext(app, parsedFlags(cmd, rest), nil)
	c.Context = ctx
	s, err := p.joinAs(c, node.Config{NoSocket: true, Wait: completionTime})
	if err != nil {
		return nil
	}
	found, err := list(ctx, s)
	if cerr := s.Close(); err != nil || cerr != nil {
		return nil
	}
	return found
}

// parsedFlags returns the flags in rest, as far as they can be read.
func parsedFlags(cmd *cli.Command, rest []string) *flag.FlagSet {
	set := flag.NewFlagSet(cmd.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	all := slices.Concat(cmd.Flags, remoteFlags)
	for _, f := range all {
		if set.Lookup(f.Names()[0]) == nil {
			_ = f.Apply(set) // a default that cannot be read is a bug, and found by every other command
		}
	}
	if line, err := permute(all, rest); err == nil {
		_ = set.Parse(line.flags)
	}
	return set
}

func jobIDs(ctx context.Context, s *node.Session) ([]string, error) {
	jobs, err := s.Jobs.List(ctx)
	return texts(jobs, func(j api.Job) string { return j.ID }), err
}

func runningJobIDs(ctx context.Context, s *node.Session) ([]string, error) {
	jobs, err := s.Jobs.List(ctx)
	jobs = slices.DeleteFunc(jobs, func(j api.Job) bool { return j.State != api.JobRunning })
	return texts(jobs, func(j api.Job) string { return j.ID }), err
}

func jobLabels(ctx context.Context, s *node.Session) ([]string, error) {
	jobs, err := s.Jobs.List(ctx)
	var all []string
	for _, j := range jobs {
		all = append(all, assignments(j.Labels)...)
	}
	return distinct(all), err
}

func pinNames(ctx context.Context, s *node.Session) ([]string, error) {
	pins, err := s.Pins.Pins(ctx)
	return texts(pins, func(p api.Pin) string { return p.Name }), err
}

func pinnedCIDs(ctx context.Context, s *node.Session) ([]string, error) {
	pins, err := s.Pins.Pins(ctx)
	var all []string
	for _, p := range pins {
		all = append(all, texts(p.Roots, func(r api.Root) string { return r.CID.String() })...)
	}
	return distinct(all), err
}

func receiptCIDs(ctx context.Context, s *node.Session) ([]string, error) {
	all, err := s.Receipts.Receipts(ctx)
	return texts(all, func(r api.ReceiptInfo) string { return r.CID.String() }), err
}

func cachedTasks(ctx context.Context, s *node.Session) ([]string, error) {
	all, err := s.Cache.CachedResults(ctx)
	return texts(all, func(m api.CachedResult) string { return m.Task.String() }), err
}

func trustedDIDs(ctx context.Context, s *node.Session) ([]string, error) {
	all, err := s.Trust.Trusted(ctx)
	return texts(all, func(k api.TrustedKey) string { return k.DID }), err
}

func memberDIDs(ctx context.Context, s *node.Session) ([]string, error) {
	all, err := s.Cluster.Members(ctx)
	return texts(all, func(m api.Member) string { return m.DID }), err
}

func peerDIDs(ctx context.Context, s *node.Session) ([]string, error) {
	all, err := s.Peers.Peers(ctx)
	return texts(all, func(p api.Peer) string { return p.DID }), err
}

// placeNames are the values of --where.
func placeNames(ctx context.Context, s *node.Session) ([]string, error) {
	dids, _ := peerDIDs(ctx, s) // without a network there are none
	return append([]string{api.WhereLocal, api.WhereNetwork}, dids...), nil
}

func peerLabels(ctx context.Context, s *node.Session) ([]string, error) {
	all, err := s.Peers.Peers(ctx)
	var labels []string
	for _, p := range all {
		if p.Capacity != nil {
			labels = append(labels, assignments(p.Capacity.Labels)...)
		}
	}
	return distinct(labels), err
}

func publishedCIDs(ctx context.Context, s *node.Session) ([]string, error) {
	all, err := s.Publishing.Published(ctx)
	return texts(all, func(p api.Publication) string { return p.Root.String() }), err
}

func attachedPaths(ctx context.Context, s *node.Session) ([]string, error) {
	all, err := s.Storage.Sources(ctx)
	all = slices.DeleteFunc(all, func(s api.Source) bool { return s.Kind == api.SourceRepo })
	return texts(all, func(s api.Source) string { return s.Path }), err
}

// assignments returns labels as NAME=VALUE.
func assignments(labels map[string]string) []string {
	var all []string
	for k, v := range labels {
		all = append(all, k+"="+v)
	}
	return all
}

// texts returns text of each item.
func texts[T any](items []T, text func(T) string) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = text(item)
	}
	return all
}

// distinct sorts words and drops what is there twice.
func distinct(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}

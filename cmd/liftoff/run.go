//go:build !windows

package main

import (
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// runFlags are the flags of run.
var runFlags = append([]cli.Flag{
	&cli.StringSliceFlag{Name: "input", Aliases: []string{"i"}, Usage: "`[NAME=]REF` input: a CID, a local path or a CAR file; repeatable"},
	&cli.StringFlag{Name: "stdin", Usage: "`REF` stdin of the guest: a CID, a local path, or - for stdin (default: empty)"},
	&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "`NAME=VALUE` environment variable of the guest; repeatable"},
	&cli.StringFlag{Name: "fuel", Usage: "`AMOUNT` fuel limit of the guest, about one per instruction: 1e9, 5G (default: 10T)"},
	&cli.StringFlag{Name: "memory", Usage: "`SIZE` memory limit of the guest, up to 4GiB (default: 1GiB)"},
	&cli.StringFlag{Name: "max-output", Usage: "`SIZE` output limit of the guest (default: 16GiB)"},
	&cli.StringFlag{Name: "timeout", Usage: "`DURATION` time limit of the run (default: none)"},
	&cli.BoolFlag{Name: "nondet", Usage: "give the guest a real clock and real randomness; the outcome is never cached"},
	&cli.BoolFlag{Name: "no-cache", Usage: "run even if the result is cached"},
	&cli.PathFlag{Name: "output", Aliases: []string{"o"}, Usage: "`PATH` output file or folder"},
	&cli.PathFlag{Name: "car", Usage: "`FILE` output file for the result, as a CAR"},
	&cli.BoolFlag{Name: "force", Usage: "replace existing files"},
	&cli.StringSliceFlag{Name: "label", Usage: "`NAME=VALUE` label of the job; repeatable"},
	&cli.StringFlag{Name: "keep", Usage: "`DURATION` lifetime of the pin of module, local inputs and output, or forever (default: 30d)"},
	&cli.StringFlag{Name: "file", Usage: "`FILE` task file; - is stdin"},
	&cli.StringFlag{Name: "each", Usage: "`NAME` directory input: one run for each of its entries"},
	&cli.UintFlag{Name: "parallel", Usage: "`N` concurrent runs of --each (default: one per processor and per slot of a peer)"},
	&cli.BoolFlag{Name: "dry-run", Usage: "print the task and its CID; run and store nothing"},
	&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the CID of the outcome, not the stdout of the guest"},
	&cli.BoolFlag{Name: "print-after-check", Usage: "print stdout and stderr of the guest only after they were compared with the outcome"},
	&cli.BoolFlag{Name: "json", Usage: "print JSON, one object, instead of the stdout of the guest"},
}, placementFlags...)

func runCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      guestArgsCommand,
		Usage:     "run a WebAssembly module on data",
		ArgsUsage: "MODULE [-- ARGUMENTS]",
		Description: `Runs a module: a WASI command, or a guest of the liftoff_v1 ABI. A WASI command reads its
inputs in /in and writes its output to /out. Module, inputs and stdin are CIDs or local
paths, see liftoff help references.

The stdout of the guest is stdout. Its stderr goes to stderr, followed by the CIDs of the
outcome and the output. The CID of the outcome depends on the module, inputs, stdin,
arguments and environment only. All of these can be read in the task: do not put secrets
there.

A task has the same outcome on every machine, so a cached result is printed instead of
computed again. Every run makes a signed receipt, see liftoff verify. With --nondet the
guest has a real clock and real randomness, and the result is never cached.

In a network (liftoff serve) the task runs where it is done first: here, if all inputs are
here and a slot is free, else at the peer with the best bid, usually one that holds the
inputs. Events are then printed to stderr. A peer that is lost is replaced; an error of
the guest is final. --detach leaves the job to the liftoff serve on this repo, see liftoff
job.

The output of another peer is printed as it arrives and compared with the outcome at the
end. A peer whose output differs loses the job; if the output was already printed, the exit
code is 123 even if another peer finishes the job. With --print-after-check nothing is
printed before the comparison: use it when a program reads stdout. With --runs, only the
output of this node is printed before the runs agree.

A module NAME://MODULE is run by the plugin NAME, see liftoff plugins. docker://IMAGE is a
container image: a reference, or the path or CID of an OCI archive. It reads /in/NAME and
writes /out, has no network, and is always --nondet. Its fuel is nanoseconds of CPU time.

A task file (--file) is YAML or JSON with the keys module, inputs, args, env, stdin, nondet,
fuel, memory, max-output, timeout, keep, labels, output, car, where, need, prefer, runs and
publish, as the flags. Flags replace its values; --input, --env, --label, --need and
--prefer add to them. Its paths are relative to the current folder.`,
		Flags:  runFlags,
		Before: takes("a module", 0, 1),
		CustomHelpTemplate: help(`$ liftoff run hello.wasm
hello
a note
liftoff: outcome bafyreic… ok
liftoff: output  bafybeia… (save it: liftoff get bafybeia… -o DIR)
liftoff: fuel    6606
liftoff: receipt bafyreig…
$ liftoff run grep.wasm --input src=bafybeih… --timeout 1m --output found -- TODO /in/src
$ liftoff run resize.wasm --input pic=photos --each pic --parallel 4
$ liftoff run train.wasm --input bafybeih… --need gpu=yes --detach
j-0d9q…`),
		Action: func(c *cli.Context) error {
			spec, err := p.readSpec(c)
			if err != nil {
				return err
			}
			return p.with(func(c *cli.Context, s *node.Session) error { return p.run(c, s, spec) })(c)
		},
	}
}

func (p *process) run(c *cli.Context, s *node.Session, spec runSpec) error {
	r, err := p.prepareRun(c, s, spec)
	if err != nil {
		return err
	}
	switch {
	case c.Bool("dry-run"):
		return p.dryRun(r.request.Task)
	case c.IsSet("each"):
		return p.runEach(c, r)
	}
	if r.detach {
		return p.submit(c.Context, r)
	}
	return p.evaluate(c.Context, r)
}

// submit hands the job to the liftoff serve on this repo.
func (p *process) submit(ctx context.Context, r prepared) error {
	j, err := r.session.Jobs.Submit(ctx, r.request)
	if err != nil {
		return err
	}
	if r.json {
		report, err := reportOf(j)
		if err != nil {
			return err
		}
		return p.objects().put(report)
	}
	if !r.quiet {
		p.say("liftoff: hint: liftoff job logs -f %s", j.ID)
	}
	return p.words(j.ID)
}

// evaluate runs the job and prints its result.
func (p *process) evaluate(ctx context.Context, r prepared) error {
	w := api.Watch{Stderr: forTerminal(p.stderr), Event: (&eventPrinter{p: p, all: r.verbose}).print}
	if !r.quiet && !r.json {
		w.Stdout = forTerminal(p.stdout)
	}
	j, err := r.session.Jobs.Run(ctx, r.request, w)
	if err != nil && r.json && j.ID != "" && !hasOutcome(j, err) { // the object holds the error, too
		if jerr := p.summary(ctx, r, j, false); jerr != nil {
			return jerr
		}
	}
	if err != nil && !hasOutcome(j, err) {
		p.printRuns(j)
		return err
	}
	mismatch := err
	undelivered := r.deliver(ctx, j) // the summary is printed even so
	if err := p.summary(ctx, r, j, undelivered == nil); err != nil {
		return err
	}
	switch {
	case mismatch != nil:
		return errors.Join(mismatch, undelivered)
	case undelivered != nil:
		return undelivered
	}
	return exitOf(j)
}

// hasOutcome reports whether a job has an outcome, and err is only about output that was printed.
func hasOutcome(j api.Job, err error) bool {
	var e *api.Error
	return j.Outcome != nil && errors.As(err, &e) && e.Code == api.CodeMismatch
}

// prepared is a run that is ready to start.
type prepared struct {
	session     *node.Session
	request     api.Request
	output, car string
	force       bool
	quiet, json bool
	detach      bool
	verbose     bool
}

// prepareRun makes the request, and checks everything that can be checked without a run.
func (p *process) prepareRun(c *cli.Context, s *node.Session, spec runSpec) (prepared, error) {
	r, err := prepareHow(c, s, spec)
	if err != nil {
		return r, err
	}
	r.request.NoCache = c.Bool("no-cache")
	if names := spec.secretive(); len(names) > 0 {
		p.warn("%s can be read by every peer that sees the task: the environment is part of it", strings.Join(names, ", "))
	}
	b := p.taskBuilder(s)
	if c.Bool("dry-run") {
		b = p.dryTaskBuilder(s)
	}
	if r.request.Task, err = b.build(c.Context, spec); err != nil {
		return r, err
	}
	r.request.Local, r.request.Trusted = b.local, b.trusted
	return r, nil
}

// prepareHow makes a request without its task.
func prepareHow(c *cli.Context, s *node.Session, spec runSpec) (prepared, error) {
	r := prepared{
		session: s, output: spec.Output, car: spec.CAR, force: c.Bool("force"), quiet: c.Bool("quiet"), json: c.Bool("json"),
		detach: c.Bool("detach"), verbose: c.Bool("verbose"),
	}
	if r.quiet && r.json {
		return r, usagef("--quiet and --json exclude each other")
	}
	if r.detach && (r.output != "" || r.car != "" || c.IsSet("each")) {
		return r, usagef("--detach excludes --output, --car and --each: they wait for the result")
	}
	if err := r.checkTargets(); err != nil {
		return r, err
	}
	if err := spec.placementSpec.apply(&r.request); err != nil {
		return r, err
	}
	var err error
	if r.request.Limits, err = spec.limits(); err != nil {
		return r, err
	}
	if r.request.Timeout, err = spec.timeout(); err != nil {
		return r, err
	}
	if r.request.Keep, err = parseKeep(spec.Keep); err != nil {
		return r, err
	}
	r.request.Labels, r.request.PrintAfterCheck = spec.Labels, c.Bool("print-after-check")
	return r, nil
}

func (r prepared) checkTargets() error {
	if r.output != "" {
		if err := checkTarget(r.output, r.force); err != nil {
			return err
		}
	}
	if r.car != "" {
		t, err := findTarget(r.car)
		if err != nil {
			return err
		}
		return t.takesFile(r.force)
	}
	return nil
}

// dryRun prints the task and its CID.
func (p *process) dryRun(t job.Task) error {
	c, err := t.CID()
	if err != nil {
		return usagef("%s", err)
	}
	text, err := taskJSON(t)
	if err != nil {
		return err
	}
	return p.objects().put(taskReport{c.String(), text})
}

var trapNames = map[int]string{
	job.TrapUnreachable: "unreachable", job.TrapMemory: "out of bounds memory access", job.TrapTable: "out of bounds table access",
	job.TrapIndirectType: "indirect call with a wrong type", job.TrapDivide: "integer division by zero or overflow",
	job.TrapConversion: "invalid conversion of a float to an integer", job.TrapStack: "stack overflow",
}

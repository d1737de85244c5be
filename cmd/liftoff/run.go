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

// runFlags are those of run.
var runFlags = append([]cli.Flag{
	&cli.StringSliceFlag{Name: "input", Aliases: []string{"i"}, Usage: "`[NAME=]REFERENCE` of an input: a path, a CID or a CAR file; may be repeated"},
	&cli.StringFlag{Name: "stdin", Usage: "`REFERENCE` of what the guest reads as stdin: a path, a CID, or - for stdin itself"},
	&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME=VALUE` in the guest's environment; may be repeated"},
	&cli.StringFlag{Name: "fuel", Usage: "`AMOUNT` of fuel that the guest may spend, about one for each instruction: 1e9, 5G; 10T when left out"},
	&cli.StringFlag{Name: "memory", Usage: "`SIZE` of the most memory that the guest may have; 1GiB when left out"},
	&cli.StringFlag{Name: "max-output", Usage: "`SIZE` of the most output that the guest may leave; 16GiB when left out"},
	&cli.StringFlag{Name: "timeout", Usage: "end the run after `DURATION`"},
	&cli.BoolFlag{Name: "nondet", Usage: "give the guest a real clock and real randomness; the outcome is never cached"},
	&cli.BoolFlag{Name: "no-cache", Usage: "run it, even if the outcome is known"},
	&cli.PathFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the output to `PATH`"},
	&cli.PathFlag{Name: "car", Usage: "write the result as a CAR to `FILE`"},
	&cli.BoolFlag{Name: "force", Usage: "let --output and --car write over files and into folders that are there"},
	&cli.StringSliceFlag{Name: "label", Usage: "note `NAME=VALUE` in the job's history; may be repeated"},
	&cli.StringFlag{Name: "keep", Usage: "`DURATION` for which module, local inputs and output are kept, or forever; 30d when left out"},
	&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the task from `FILE`, or from stdin for -"},
	&cli.StringFlag{Name: "each", Usage: "run once for each entry of the directory input `NAME`, and print a table"},
	&cli.UintFlag{Name: "parallel", Usage: "with --each, `N` runs at once; one for each processor and each slot of a peer when left out"},
	&cli.BoolFlag{Name: "dry-run", Usage: "print the task and its CID; run nothing, and add nothing to the repo"},
	&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the outcome's CID alone, not the guest's stdout"},
	&cli.BoolFlag{Name: "print-after-check", Usage: "print the guest's stdout and stderr only when they were compared with the outcome"},
	&cli.BoolFlag{Name: "json", Usage: "print one object about the run, not the guest's stdout"},
}, placementFlags...)

func runCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      guestArgsCommand,
		Usage:     "run a module over content",
		ArgsUsage: "MODULE [-- ARGUMENTS]",
		Description: `Runs a WebAssembly module: a liftoff_v1 guest, or an unmodified WASI command, which
finds its inputs under /in and leaves its output in /out. The module, the inputs and
stdin are local paths or CIDs, with a path below them where one is wanted; a local path
wins when it exists, and is added first. A local input that ends in .car is imported,
and its root is the input.

The guest's stdout is stdout. Its stderr, and then the CIDs of the outcome and of the
output, go to stderr. The outcome's CID depends on the module, the inputs, stdin, the
arguments and the environment, and on nothing else. All of these are part of the task:
whoever sees it can read them, so put no secrets there.

A task has one outcome, on every machine: one that is known is not computed again, but
printed with its stdout and stderr, marked as cached. Every run leaves a signed receipt,
see liftoff verify. With --nondet the guest has a real clock and real randomness: its
outcome says nothing of the next one, and is never cached.

In a network (liftoff serve) it runs where it is done first: here, if all inputs are
here and there is room, else at the peer that bids best, mostly one that holds the
inputs. Then a line on stderr tells each change of its state. A peer that is lost is
replaced; what a guest does wrong is final. --where, --need and --prefer choose; --detach
leaves the job to the liftoff serve on this repo: see liftoff job.

What another peer prints is shown as it comes, and compared with its outcome at the end. A
peer that printed something else is named and loses the job; if that was shown, the command
ends with exit code 123, though another peer ends the job. With --print-after-check nothing
is shown before it was compared: use it where a program reads stdout. With --runs only
what this node itself runs is shown before the runs agree.

A module NAME://MODULE is for the plugin NAME, see liftoff plugins. docker://IMAGE runs
a container image, named by a reference, with or without a digest, or by the path or the
CID of an OCI archive. It finds its inputs in /in/NAME and leaves its output in /out; it
has no network, and is always --nondet. Its fuel is nanoseconds of processor time.

A task file (-f) is YAML or JSON with the keys module, inputs, args, env, stdin, nondet,
fuel, memory, max-output, timeout, keep, labels, output, car, where, need, prefer,
runs and publish, which mean what the flags mean. Flags replace them; --input, --env,
--label, --need and --prefer add to them. Its paths are seen from the current folder.`,
		Flags:  runFlags,
		Before: takes("a module", 0, 1),
		CustomHelpTemplate: help(`$ liftoff run wc.wasm --input text=book.txt -- /in/text
  1290  21333 124000 /in/text
liftoff: outcome bafyrei… ok
liftoff: output  bafybei…, empty
liftoff: fuel    3201877
liftoff: receipt bafyrei…
liftoff: read    1 of 1 block (121.1 KiB of 121.1 KiB)
$ liftoff run grep.wasm --input src=bafybeid… --timeout 1m --output found -- TODO /in/src
$ liftoff run resize.wasm --input pic=photos/ --each pic --parallel 4
$ liftoff run train.wasm --input bafybeid… --need gpu=yes --detach
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

// submit leaves the job to the process that stays.
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

// evaluate runs the job and tells what came of it.
func (p *process) evaluate(ctx context.Context, r prepared) error {
	w := api.Watch{Stderr: forTerminal(p.stderr), Event: (&story{p: p, all: r.verbose}).tell}
	if !r.quiet && !r.json {
		w.Stdout = forTerminal(p.stdout)
	}
	j, err := r.session.Jobs.Run(ctx, r.request, w)
	if err != nil && r.json && j.ID != "" && !hasOutcome(j, err) { // the object says what went wrong, too
		if jerr := p.summary(ctx, r, j); jerr != nil {
			return jerr
		}
	}
	if err != nil && !hasOutcome(j, err) {
		p.printRuns(j)
		return err
	}
	misled := err
	undelivered := r.deliver(ctx, j) // the outcome is there all the same
	if err := p.summary(ctx, r, j); err != nil {
		return err
	}
	switch {
	case misled != nil:
		return errors.Join(misled, undelivered)
	case undelivered != nil:
		return undelivered
	}
	return exitOf(j)
}

// hasOutcome reports that a job came to its end, and err is only about what was shown.
func hasOutcome(j api.Job, err error) bool {
	var e *api.Error
	return j.Outcome != nil && errors.As(err, &e) && e.Code == api.CodeMismatch
}

// prepared is a run that is ready to go.
type prepared struct {
	session     *node.Session
	request     api.Request
	output, car string
	force       bool
	quiet, json bool
	detach      bool
	verbose     bool
}

// prepareRun checks all that can be checked without running and makes the request.
func (p *process) prepareRun(c *cli.Context, s *node.Session, spec runSpec) (prepared, error) {
	r, err := prepareHow(c, s, spec)
	if err != nil {
		return r, err
	}
	r.request.NoCache = c.Bool("no-cache")
	if names := spec.secretive(); len(names) > 0 {
		p.warn("the environment is part of the task, and whoever sees the task can read %s", strings.Join(names, ", "))
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

// prepareHow makes all of a request but its Task and what belongs to that.
func prepareHow(c *cli.Context, s *node.Session, spec runSpec) (prepared, error) {
	r := prepared{
		session: s, output: spec.Output, car: spec.CAR, force: c.Bool("force"), quiet: c.Bool("quiet"), json: c.Bool("json"),
		detach: c.Bool("detach"), verbose: c.Bool("verbose"),
	}
	if r.quiet && r.json {
		return r, usagef("--quiet and --json exclude each other")
	}
	if r.detach && (r.output != "" || r.car != "" || c.IsSet("each")) {
		return r, usagef("--detach does not wait for a result: --output, --car and --each do")
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

// dryRun prints the Task with its CID.
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
	job.TrapIndirectType: "indirect call of another type", job.TrapDivide: "integer division by zero, or overflow of it",
	job.TrapConversion: "float that is no integer", job.TrapStack: "stack overflow",
}

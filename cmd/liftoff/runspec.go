//go:build !windows

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"github.com/ipfs-liftoff/liftoff/job"
)

// runSpec is what one run is to be, as flags or a task file say it.
type runSpec struct {
	Module  string            `yaml:"module"`
	Inputs  []string          `yaml:"inputs"` // [name=]reference
	Args    []string          `yaml:"args"`
	Env     map[string]string `yaml:"env"`
	Stdin   string            `yaml:"stdin"`
	Nondet  bool              `yaml:"nondet"`
	Fuel    string            `yaml:"fuel"`
	Memory  string            `yaml:"memory"`
	MaxOut  string            `yaml:"max-output"`
	Timeout string            `yaml:"timeout"`
	Keep    string            `yaml:"keep"`
	Labels  map[string]string `yaml:"labels"`
	Output  string            `yaml:"output"`
	CAR     string            `yaml:"car"`

	placementSpec `yaml:",inline"`
}

// maxTaskFile bounds a task file, in bytes.
const maxTaskFile = 4 << 20

// readSpec gathers the task file, the flags and the arguments: a flag replaces what
// the file says, or adds to it where a flag may be repeated.
func (p *process) readSpec(c *cli.Context) (runSpec, error) {
	args := c.Args().Slice()
	var s runSpec
	if name := c.String("file"); name != "" {
		var err error
		if s, err = p.readTaskFile(c, name); err != nil {
			return runSpec{}, err
		}
	}
	if len(args) == 1 {
		s.Module = args[0]
	}
	if s.Module == "" {
		return runSpec{}, hinted(usagef("run needs a module"), "liftoff run --help")
	}
	if p.dashes {
		s.Args = p.rest
	}
	if c.IsSet("nondet") {
		s.Nondet = c.Bool("nondet")
	}
	s.Inputs = append(s.Inputs, c.StringSlice("input")...)
	var err error
	if s.Env, err = addPairs(s.Env, "env", c.StringSlice("env")); err != nil {
		return runSpec{}, err
	}
	if err := s.readFlags(c); err != nil {
		return runSpec{}, err
	}
	if s.Stdin == "-" && c.String("file") == "-" {
		return runSpec{}, usagef("the task file and the guest's stdin cannot both be stdin")
	}
	return s, nil
}

// readFlags lets the flags that run and job rerun have replace what the file says.
func (s *runSpec) readFlags(c *cli.Context) (err error) {
	for flag, field := range map[string]*string{
		"stdin": &s.Stdin, "fuel": &s.Fuel, "memory": &s.Memory, "max-output": &s.MaxOut, "timeout": &s.Timeout,
		"keep": &s.Keep, "output": &s.Output, "car": &s.CAR,
	} {
		if c.IsSet(flag) {
			*field = c.String(flag)
		}
	}
	if s.Labels, err = addPairs(s.Labels, "label", c.StringSlice("label")); err != nil {
		return err
	}
	return s.placementSpec.readFlags(c)
}

// readTaskFile reads a runSpec as YAML, of which JSON is a part. A key that it does
// not know is an error.
func (p *process) readTaskFile(c *cli.Context, name string) (runSpec, error) {
	r, err := p.open(c.Context, name)
	if err != nil {
		return runSpec{}, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxTaskFile+1))
	if err != nil {
		return runSpec{}, fmt.Errorf("read %s: %w", quote(name), err)
	}
	if len(b) > maxTaskFile {
		return runSpec{}, usagef("%s is longer than %s", quote(name), size(maxTaskFile))
	}
	var s runSpec
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil && err != io.EOF {
		return runSpec{}, usagef("%s: %s", quote(name), yamlMessage(err))
	}
	if err := d.Decode(new(yaml.Node)); err != io.EOF {
		return runSpec{}, usagef("%s holds more than one document", quote(name))
	}
	return s, nil
}

// yamlMessage says in words of ours what yaml says of Go's types.
func yamlMessage(err error) string {
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		message := strings.Join(typed.Errors, "; ")
		return strings.ReplaceAll(strings.ReplaceAll(message, " not found in type main.runSpec", " is not known"), "field ", "key ")
	}
	return strings.TrimPrefix(err.Error(), "yaml: ")
}

// addPairs adds words of the form K=V to m.
func addPairs(m map[string]string, flag string, words []string) (map[string]string, error) {
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, usagef("--%s %s: write it as NAME=VALUE", flag, quote(w))
		}
		if m == nil {
			m = make(map[string]string)
		}
		m[k] = v
	}
	return m, nil
}

// inputSpec is one --input: a name, which may be "", and what it refers to.
type inputSpec struct{ name, ref string }

// parseInput takes [name=]reference apart. What stands in front of the first "=" is a
// name unless it holds a slash: a path with a "=" in its first part is written ./a=b.
func parseInput(word string) (inputSpec, error) {
	name, ref, ok := strings.Cut(word, "=")
	if !ok || strings.Contains(name, "/") {
		name, ref = "", word
	}
	if name != "" {
		if err := job.CheckInputName(name); err != nil {
			return inputSpec{}, usagef("--input %s: %s", quote(word), err)
		}
	}
	if ref == "" {
		return inputSpec{}, usagef("--input %s: write it as NAME=REFERENCE or REFERENCE", quote(word))
	}
	return inputSpec{name, ref}, nil
}

// inputSpecs takes all inputs apart; a name that comes twice is an error.
func (s runSpec) inputSpecs() ([]inputSpec, error) {
	if len(s.Inputs) > job.MaxInputs {
		return nil, usagef("%d inputs, at most %d", len(s.Inputs), job.MaxInputs)
	}
	seen := make(map[string]bool)
	var ins []inputSpec
	for _, word := range s.Inputs {
		in, err := parseInput(word)
		if err != nil {
			return nil, err
		}
		if in.name != "" && seen[in.name] {
			return nil, usagef("two inputs are named %s", quote(in.name))
		}
		seen[in.name] = true
		ins = append(ins, in)
	}
	return ins, nil
}

// limits reads the bounds of the run; a zero one is its default.
func (s runSpec) limits() (job.Limits, error) {
	var (
		l   job.Limits
		err error
	)
	if s.Fuel != "" {
		if l.Fuel, err = parseFuel(s.Fuel); err != nil {
			return l, err
		}
	}
	if s.Memory != "" {
		if l.Pages, err = parsePages(s.Memory); err != nil {
			return l, err
		}
	}
	if s.MaxOut != "" {
		if l.Out, err = parseSize(s.MaxOut); err != nil {
			return l, err
		}
		if l.Out == 0 {
			return l, usagef("--max-output %s: 1 byte is the least", quote(s.MaxOut))
		}
	}
	return l, nil
}

// parsePages reads a size of memory and returns its whole pages.
func parsePages(s string) (uint64, error) {
	bytes, err := parseSize(s)
	if err != nil {
		return 0, err
	}
	const page = 64 << 10
	if pages := bytes / page; pages >= 1 && pages <= job.MaxPages {
		return pages, nil
	}
	return 0, usagef("%s of memory: between 64KiB and 4GiB", quote(s))
}

func (s runSpec) timeout() (time.Duration, error) {
	if s.Timeout == "" {
		return 0, nil
	}
	return parseDuration(s.Timeout)
}

// secretive returns the names in env that look as if their values were secret.
func (s runSpec) secretive() []string {
	var names []string
	for k := range s.Env {
		for _, word := range []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL"} {
			if strings.Contains(strings.ToUpper(k), word) {
				names = append(names, quote(k))
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

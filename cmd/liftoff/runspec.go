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

// runSpec describes a run, from flags or a task file.
type runSpec struct {
	Module  string            `yaml:"module"`
	Inputs  inputList         `yaml:"inputs"`
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

// inputList is a list of [NAME=]REF.
type inputList []string

// UnmarshalYAML implements yaml.Unmarshaler: an error says which form is expected.
func (l *inputList) UnmarshalYAML(n *yaml.Node) error {
	if err := n.Decode((*[]string)(l)); err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: inputs: want a list of [NAME=]REF", n.Line)}}
	}
	return nil
}

// maxTaskFile bounds a task file, in bytes.
const maxTaskFile = 4 << 20

// readSpec merges the task file, the flags and the arguments: a flag replaces a value of the
// file, or adds to it if the flag is repeatable.
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
		return runSpec{}, hinted(usagef("liftoff run needs a module"), "liftoff run --help")
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
		return runSpec{}, usagef("--file and --stdin: got - for both, and there is one stdin")
	}
	return s, nil
}

// readFlags replaces values of the task file by those of the flags that run and job rerun share.
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

// readTaskFile reads a runSpec as YAML, which includes JSON. An unknown key is an error.
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
		return runSpec{}, usagef("%s is too large: more than %s", quote(name), size(maxTaskFile))
	}
	var s runSpec
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil && err != io.EOF {
		return runSpec{}, usagef("%s: %s", quote(name), yamlMessage(err))
	}
	if err := d.Decode(new(yaml.Node)); err != io.EOF {
		return runSpec{}, usagef("%s: more than one YAML document", quote(name))
	}
	return s, nil
}

// yamlMessage replaces names of Go types in an error of yaml.
func yamlMessage(err error) string {
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		message := strings.Join(typed.Errors, "; ")
		return strings.ReplaceAll(strings.ReplaceAll(message, " not found in type main.runSpec", " is unknown"), "field ", "key ")
	}
	return strings.TrimPrefix(err.Error(), "yaml: ")
}

// addPairs adds words of the form NAME=VALUE to m.
func addPairs(m map[string]string, flag string, words []string) (map[string]string, error) {
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, usagef("--%s %s: want NAME=VALUE", flag, quote(w))
		}
		if m == nil {
			m = make(map[string]string)
		}
		m[k] = v
	}
	return m, nil
}

// inputSpec is one --input: a name, which may be "", and a reference.
type inputSpec struct{ name, ref string }

// parseInput splits [NAME=]REF. The part before the first "=" is a name unless it holds a
// slash: a path with a "=" in its first part is written ./a=b.
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
		return inputSpec{}, usagef("--input %s: want NAME=REF or REF", quote(word))
	}
	return inputSpec{name, ref}, nil
}

// inputSpecs splits all inputs. A duplicate name is an error.
func (s runSpec) inputSpecs() ([]inputSpec, error) {
	if len(s.Inputs) > job.MaxInputs {
		return nil, usagef("inputs: got %d, want at most %d", len(s.Inputs), job.MaxInputs)
	}
	seen := make(map[string]bool)
	var ins []inputSpec
	for _, word := range s.Inputs {
		in, err := parseInput(word)
		if err != nil {
			return nil, err
		}
		if in.name != "" && seen[in.name] {
			return nil, usagef("duplicate input name %s", quote(in.name))
		}
		seen[in.name] = true
		ins = append(ins, in)
	}
	return ins, nil
}

// limits reads the limits of the run; zero stands for the default.
func (s runSpec) limits() (job.Limits, error) {
	var (
		l   job.Limits
		err error
	)
	if s.Fuel != "" {
		if l.Fuel, err = parseFuel(s.Fuel); err != nil {
			return l, usagef("--fuel: %s", err)
		}
	}
	if s.Memory != "" {
		if l.Pages, err = parsePages(s.Memory); err != nil {
			return l, usagef("--memory: %s", err)
		}
	}
	if s.MaxOut != "" {
		if l.Out, err = parseSize(s.MaxOut); err != nil {
			return l, usagef("--max-output: %s", err)
		}
		if l.Out == 0 {
			return l, usagef("--max-output %s: want at least 1 byte", quote(s.MaxOut))
		}
	}
	return l, nil
}

// parsePages reads a size of memory and returns the number of whole pages.
func parsePages(s string) (uint64, error) {
	bytes, err := parseSize(s)
	if err != nil {
		return 0, err
	}
	const page = 64 << 10
	if pages := bytes / page; pages >= 1 && pages <= job.MaxPages {
		return pages, nil
	}
	return 0, usagef("got %s, want 64KiB to 4GiB", quote(s))
}

func (s runSpec) timeout() (time.Duration, error) {
	if s.Timeout == "" {
		return 0, nil
	}
	d, err := parseDuration(s.Timeout)
	if err != nil {
		return 0, usagef("--timeout: %s", err)
	}
	return d, nil
}

// secretive returns the variables in env whose values may be secrets, by their names.
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

//go:build !windows

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
)

// The flags that decide the form of answers. jsonFlag is in app.go.
var (
	noTruncFlag = &cli.BoolFlag{Name: "no-trunc", Usage: "do not shorten ids and texts on a terminal"}
	noColorFlag = &cli.BoolFlag{Name: "no-color", Hidden: true}
)

// globalFlags are the flags that may stand before a command.
var globalFlags = append(remoteFlags[:len(remoteFlags):len(remoteFlags)], noColorFlag)

// jsonOnly are the commands whose one --json comes from here: they print little besides.
var jsonOnly = []string{
	"get", "job get", "pin add", "block put", "cluster init", "cluster invite", "cluster join", "receipt add", "version",
}

// withTables are the commands that print a table on a terminal.
var withTables = []string{
	"run", "job ls", "receipt ls", "cache ls", "trust ls", "ls", "add", "pin ls", "attach add", "attach ls", "plugins",
	"block stat", "cluster ls", "peers", "publish", "config", "verify", "store check",
}

// offerOutput gives the commands the flags that decide the form of their answers.
func offerOutput(cmds []*cli.Command) { offerOutputBelow("", cmds) }

func offerOutputBelow(above string, cmds []*cli.Command) {
	for _, c := range cmds {
		name := above + c.Name
		offerOutputBelow(name+" ", c.Subcommands)
		if len(c.Subcommands) > 0 {
			continue
		}
		flags := slices.Clone(c.Flags)
		if slices.Contains(jsonOnly, name) {
			flags = append(flags, jsonFlag)
		}
		if slices.Contains(withTables, name) {
			flags = append(flags, noTruncFlag)
		}
		c.Flags = append(flags, noColorFlag)
	}
}

// sink is where a command's answer goes: a screen, or with --json an encoder.
type sink struct {
	*ui.Screen
	json *objects // nil without --json
}

func (p *process) output(c *cli.Context) sink {
	if c.Bool(jsonFlag.Name) {
		return sink{json: p.objects()}
	}
	return sink{Screen: p.screen(c)}
}

// screen returns standard output for people and for scripts that read lines.
func (p *process) screen(c *cli.Context) *ui.Screen {
	return ui.NewScreen(p.stdout, ui.Options{
		Getenv: p.getenv, NoColor: c.Bool(noColorFlag.Name), Whole: c.Bool(noTruncFlag.Name), Now: time.Now(),
	})
}

// objects writes JSON, one object in each line.
type objects struct {
	out *bufio.Writer
	enc *json.Encoder
}

func (p *process) objects() *objects { return newObjects(p.stdout) }

func newObjects(w io.Writer) *objects {
	o := &objects{out: bufio.NewWriterSize(w, 64<<10)}
	o.enc = json.NewEncoder(o.out)
	o.enc.SetEscapeHTML(false)
	return o
}

// put writes objects.
func (o *objects) put(all ...any) error {
	for _, v := range all {
		if err := o.enc.Encode(v); err != nil {
			return err
		}
	}
	return o.out.Flush()
}

// listing is how the items of a list are printed.
type listing[T any] struct {
	columns []ui.Column
	// row returns a cell for each column.
	row func(s *ui.Screen, v T) []ui.Cell
	// object returns what --json prints of an item; nil: the item.
	object func(v T) (any, error)
	// items names what is listed; a terminal without any gets "no items" on stderr. "": it gets nothing.
	items string
}

// rows prints a list of which the items come one by one.
type rows[T any] struct {
	listing[T]
	p     *process
	to    sink
	table *ui.Table
	any   bool // there was an item
}

func newRows[T any](p *process, c *cli.Context, l listing[T]) *rows[T] {
	r := &rows[T]{listing: l, p: p, to: p.output(c)}
	if r.to.json == nil {
		r.table = r.to.Table(l.columns...)
	}
	return r
}

// put prints an item; Flush has to follow.
func (r *rows[T]) put(v T) error {
	r.any = true
	if r.to.json == nil {
		return r.table.Row(r.row(r.to.Screen, v)...)
	}
	if r.object == nil {
		return r.to.json.enc.Encode(v)
	}
	o, err := r.object(v)
	if err != nil {
		return err
	}
	return r.to.json.enc.Encode(o)
}

func (r *rows[T]) Flush() error {
	if r.to.json != nil {
		return r.to.json.out.Flush()
	}
	if !r.any && r.items != "" && r.to.Terminal() {
		r.p.say("liftoff: no %s", r.items)
	}
	return r.table.Flush()
}

// printList prints all items of a list.
func printList[T any](p *process, c *cli.Context, l listing[T], all ...T) error {
	r := newRows(p, c, l)
	for _, v := range all {
		if err := r.put(v); err != nil {
			return err
		}
	}
	return r.Flush()
}

// fact prints one answer: with --json the object, else what add adds.
func (p *process) fact(c *cli.Context, object any, add func(s *ui.Screen, f *ui.Facts)) error {
	to := p.output(c)
	if to.json != nil {
		return to.json.put(object)
	}
	f := to.Facts()
	add(to.Screen, f)
	return f.Flush()
}

// words prints a line for each of the words: ids and names that are a whole answer.
func (p *process) words(all ...string) error {
	out := bufio.NewWriter(p.stdout)
	for _, w := range all {
		out.WriteString(ui.Quote(w) + "\n")
	}
	return out.Flush()
}

// word prints one answer of one word: with --json the object.
func (p *process) word(c *cli.Context, object any, word string) error {
	if c.Bool(jsonFlag.Name) {
		return p.objects().put(object)
	}
	return p.words(word)
}

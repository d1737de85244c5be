//go:build !windows

package main

import (
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// newApp lists the commands.
func newApp(p *process) *cli.App {
	app := &cli.App{
		Name:                      "liftoff",
		HelpName:                  "liftoff",
		Usage:                     "run WebAssembly over content-addressed data",
		CustomAppHelpTemplate:     appHelp,
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		HideVersion:               true,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		Compiled:                  epoch,
		ExitErrHandler:            func(*cli.Context, error) {}, // process.fail does it
		Commands: []*cli.Command{
			runCommand(p), jobCommand(p),
			addCommand(p), getCommand(p), catCommand(p), lsCommand(p), statCommand(p),
			pinCommand(p), gcCommand(p), storeCommand(p),
			carCommand(p), blockCommand(p), dagCommand(p),
			versionCommand(p), completionCommand(p),
		},
	}
	prepare(app.Commands)
	return app
}

// prepare gives every command what they have in common.
func prepare(cmds []*cli.Command) {
	for _, c := range cmds {
		c.HideHelpCommand = true
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usagef("%s", err) }
		prepare(c.Subcommands)
	}
}

const appHelp = `liftoff runs WebAssembly over content-addressed data, with no daemon and no server.

USAGE:
   liftoff COMMAND [flags] [arguments]

   Flags may stand before or behind arguments; "--" ends them.

COMMANDS:{{range .VisibleCommands}}
   {{.Name}}{{"\t"}}{{.Usage}}{{end}}

   liftoff COMMAND --help says more of each.

EXAMPLE:
   $ liftoff add --quiet books/
   bafybeid…
   $ liftoff run wc.wasm --input books=bafybeid… -- /in/books

ENVIRONMENT:
   LIFTOFF_PATH   the folder of the repo (~/.liftoff)

` + exitCodes

// help makes the help of one command: its description is the command's own field,
// example shows a session.
func help(example string) string {
	return `{{.HelpName}}: {{.Usage}}

USAGE:
   {{.HelpName}}{{if .VisibleCommands}} COMMAND{{end}} [flags]{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}
{{if .Description}}
{{trim .Description | indent 3}}
{{end}}{{if .VisibleCommands}}
COMMANDS:{{range .VisibleCommands}}
   {{.Name}}{{"\t"}}{{.Usage}}{{end}}
{{end}}
FLAGS:{{range .VisibleFlags}}
   {{.}}{{end}}

EXAMPLE:
` + indentExample(example) + `
` + exitCodes
}

func indentExample(s string) string {
	s = strings.ReplaceAll(strings.Trim(s, "\n"), "{{", `{{"{{"}}`)
	return "   " + strings.ReplaceAll(s, "\n", "\n   ") + "\n"
}

// epoch stands for the time of compilation, for which the parser would else stat a file.
var epoch = time.Unix(0, 0)

// arguments returns the command's arguments when there are at least least and at
// most most of them; what names them in the error.
func arguments(c *cli.Context, what string, least, most int) ([]string, error) {
	args := c.Args().Slice()
	switch {
	case len(args) < least:
		return nil, hinted(usagef("%s needs %s", c.Command.HelpName, what), "%s --help", c.Command.HelpName)
	case len(args) > most:
		return nil, hinted(usagef("%s is one argument too many", quote(args[most])), "%s --help", c.Command.HelpName)
	}
	return args, nil
}

// unbounded is the most arguments of a command that takes any number.
const unbounded = 1 << 30

// The flags that several commands have.
var (
	jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print JSON, one object for each line"}
)

//go:build !windows

package main

import (
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// newApp lists the commands.
func newApp(p *process) *cli.App {
	cli.FlagStringer = flagText
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
			runCommand(p), jobCommand(p), inspectCommand(p),
			verifyCommand(p), receiptCommand(p), cacheCommand(p), trustCommand(p),
			addCommand(p), getCommand(p), catCommand(p), lsCommand(p), statCommand(p),
			pinCommand(p), gcCommand(p), storeCommand(p), statsCommand(p), attachCommand(p), detachCommand(p), pluginsCommand(p),
			carCommand(p), blockCommand(p), dagCommand(p),
			serveCommand(p), clusterCommand(p), peersCommand(p), publishCommand(p), unpublishCommand(p),
			idCommand(p), configCommand(p), versionCommand(p), completionCommand(p),
		},
	}
	prepare(app.Commands)
	offerBlocks(app.Commands)
	offerOutput(app.Commands)
	return app
}

// prepare gives every command what they have in common.
func prepare(cmds []*cli.Command) {
	for _, c := range cmds {
		c.HideHelpCommand = true
		c.Description = indented(c.Description)
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usagef("%s", err) }
		prepare(c.Subcommands)
		if len(c.Subcommands) == 0 && !slices.Contains(withoutRepo, c.Name) {
			c.Flags = append(c.Flags[:len(c.Flags):len(c.Flags)], remoteFlags...)
		}
	}
}

// withoutRepo are the commands that a remote node has nothing to do with.
var withoutRepo = []string{"version", "completion", "config", "serve"}

// remoteFlags are the flags of every other command. Its help does not show them: that of
// liftoff does.
var remoteFlags = []cli.Flag{
	&cli.StringFlag{Name: "api", Hidden: true},
	&cli.StringFlag{Name: "token", Hidden: true},
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

EVERYWHERE:
   --api HOST:PORT       use the node whose API listens there; also https://HOST
   --token TOKEN|@FILE   the token that it asks for

ENVIRONMENT:
   LIFTOFF_PATH    the folder of the repo (~/.liftoff)
   LIFTOFF_QUOTA   the room that all blocks may take in it, as 500GiB (all there is)
   LIFTOFF_API     as --api; LIFTOFF_TOKEN as --token
   The others are shown by liftoff config --help.

` + exitCodes

// help makes the help of one command: its description is the command's own field,
// example shows a session.
func help(example string) string { return helpWith(example, exitCodes) }

// helpWith is help for a command with exit codes of its own.
func helpWith(example, codes string) string {
	return `{{.HelpName}}: {{.Usage}}

USAGE:
   {{.HelpName}}{{if .VisibleCommands}} COMMAND{{end}} [flags]{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}
{{if .Description}}
{{.Description}}
{{end}}{{if .VisibleCommands}}
COMMANDS:{{range .VisibleCommands}}
   {{.Name}}{{"\t"}}{{.Usage}}{{end}}
{{end}}
FLAGS:{{range .VisibleFlags}}
   {{.}}{{end}}

EXAMPLE:
` + indented(strings.ReplaceAll(example, "{{", `{{"{{"}}`)) + "\n\n" + codes
}

// indented sets all lines of s but the empty ones three spaces in.
func indented(s string) string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "   " + l
		}
	}
	return strings.Join(lines, "\n")
}

// flagText is a flag's line in the help: its names, its value, what it does. What
// stands in backquotes in its usage is the name of the value.
func flagText(f cli.Flag) string {
	var names []string
	for _, n := range f.Names() {
		names = append(names, strings.Repeat("-", min(len(n), 2))+n)
	}
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return strings.Join(names, ", ")
	}
	value, usage := "", doc.GetUsage()
	if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
		value, usage = " "+parts[1], strings.Join(parts, "")
	}
	return strings.Join(names, ", ") + value + "\t" + usage
}

// epoch stands for the time of compilation, for which the parser would else stat a file.
var epoch = time.Unix(0, 0)

// takes makes the check of a command that takes at least least arguments and at most
// most of them; what names them in the error. It comes before the repo is opened.
func takes(what string, least, most int) cli.BeforeFunc {
	return func(c *cli.Context) error {
		var err error
		switch args := c.Args().Slice(); {
		case len(args) < least:
			err = usagef("%s needs %s", c.Command.HelpName, what)
		case len(args) > most && c.Command.Name == guestArgsCommand:
			err = usagef("%s is one argument too many: the guest's own stand behind --", quote(args[most]))
		case len(args) > most:
			err = usagef("%s is one argument too many", quote(args[most]))
		default:
			return nil
		}
		return hinted(err, "%s --help", c.Command.HelpName)
	}
}

// unbounded is the most arguments of a command that takes any number.
const unbounded = 1 << 30

// The flags that several commands have.
var (
	jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print JSON, one object for each line"}
)

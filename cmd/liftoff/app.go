//go:build !windows

package main

import (
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// group is a heading of the root help and the commands below it.
type group struct {
	Name     string
	Commands []*cli.Command
}

// Title is the heading.
func (g group) Title() string { return strings.ToUpper(g.Name) }

// newApp lists the commands, grouped by topic.
func newApp(p *process) *cli.App {
	cli.FlagStringer = flagText
	groups := []group{
		{"Run jobs", []*cli.Command{runCommand(p), jobCommand(p), inspectCommand(p), pluginsCommand(p)}},
		{"Data", []*cli.Command{
			addCommand(p), getCommand(p), catCommand(p), lsCommand(p), statCommand(p), pinCommand(p),
			attachCommand(p), carCommand(p), blockCommand(p), dagCommand(p),
		}},
		{"Results and trust", []*cli.Command{verifyCommand(p), receiptCommand(p), cacheCommand(p), trustCommand(p)}},
		{"Network", []*cli.Command{
			serveCommand(p), clusterCommand(p), peersCommand(p), publishCommand(p), unpublishCommand(p), idCommand(p),
		}},
		{"Repo", []*cli.Command{gcCommand(p), storeCommand(p), statsCommand(p), configCommand(p)}},
		{"Other", []*cli.Command{completionCommand(p), versionCommand(p)}},
	}
	app := &cli.App{
		Name:                      "liftoff",
		HelpName:                  "liftoff",
		Usage:                     "run WebAssembly where the data is",
		CustomAppHelpTemplate:     appHelp,
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		HideVersion:               true,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		Compiled:                  epoch,
		ExitErrHandler:            func(*cli.Context, error) {}, // process.fail does it
		Metadata:                  map[string]any{"groups": groups},
	}
	for _, g := range groups {
		for _, c := range g.Commands {
			c.Category = g.Name
		}
		app.Commands = append(app.Commands, g.Commands...)
	}
	prepare(app.Commands, "")
	offerBlocks(app.Commands)
	offerOutput(app.Commands)
	return app
}

// prepare sets what all commands have in common. above is the name of the parent command and a space, or "".
func prepare(cmds []*cli.Command, above string) {
	for _, c := range cmds {
		c.HideHelpCommand = true
		c.Description = indented(c.Description)
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usagef("%s", err) }
		prepare(c.Subcommands, above+c.Name+" ")
		if len(c.Subcommands) > 0 {
			c.CustomHelpTemplate += "\n"
			continue
		}
		c.CustomHelpTemplate += "\n\n" + exitHelp(above+c.Name)
		if !slices.Contains(withoutRepo, c.Name) {
			c.Flags = append(c.Flags[:len(c.Flags):len(c.Flags)], remoteFlags...)
		}
	}
}

// withoutRepo lists the commands that never use the API of another node.
var withoutRepo = []string{"version", "completion", "config", "serve"}

// remoteFlags are the flags of all other commands. The root help shows them, the help of a command does not.
var remoteFlags = []cli.Flag{
	&cli.StringFlag{Name: "api", Hidden: true},
	&cli.StringFlag{Name: "token", Hidden: true},
}

const appHelp = `liftoff runs WebAssembly where the data is and returns CIDs that can be checked.

USAGE:
   liftoff COMMAND [flags] [arguments]

   Flags may stand before or after arguments; "--" ends them.
   Help on a command or a topic: liftoff help COMMAND, liftoff help TOPIC
{{range .Metadata.groups}}
{{.Title}}:{{range .Commands}}
   {{printf "%-10s" .Name}}  {{.Usage}}{{end}}
{{end}}
EXAMPLE:
   $ liftoff add --quiet photos
   bafybeih…
   $ liftoff run cat.wasm --stdin bafybeih…/a.txt
   hello
   liftoff: outcome bafyreia… ok
   …

GLOBAL FLAGS:
   --api HOST:PORT       address of a node to use instead of the local repo; also https://HOST
   --token TOKEN|@FILE   token of that node
   --no-color            no colour on a terminal

TOPICS:
   references            how commands name content
   output                tables, pipes and JSON
   environment           environment variables; LIFTOFF_PATH is the repo (default: ~/.liftoff)
   exit-codes            exit codes of all commands
`

// help makes the template of a command's help. example is a session in a shell. prepare adds the exit codes.
func help(example string) string {
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
` + indented(strings.ReplaceAll(example, "{{", `{{"{{"}}`))
}

// indented indents all lines of s, except empty ones, by three spaces.
func indented(s string) string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "   " + l
		}
	}
	return strings.Join(lines, "\n")
}

// flagText returns a flag's line in the help: its names, the name of its value, and its usage.
func flagText(f cli.Flag) string {
	var names []string
	for _, n := range f.Names() {
		names = append(names, strings.Repeat("-", min(len(n), 2))+n)
	}
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return strings.Join(names, ", ")
	}
	value, usage := flagValue(doc.GetUsage())
	if value != "" {
		value = " " + value
	}
	return strings.Join(names, ", ") + value + "\t" + usage
}

// flagValue splits the usage of a flag that takes a value: it begins with the name of the value in backquotes.
func flagValue(usage string) (value, text string) {
	if rest, ok := strings.CutPrefix(usage, "`"); ok {
		if value, text, ok = strings.Cut(rest, "` "); ok {
			return value, text
		}
	}
	return "", usage
}

// epoch is the time of compilation for the parser, which would stat the executable without it.
var epoch = time.Unix(0, 0)

// takes returns the check of a command that takes at least least and at most most arguments; what names them in the
// error. It runs before the repo is opened.
func takes(what string, least, most int) cli.BeforeFunc {
	return func(c *cli.Context) error {
		var err error
		switch args := c.Args().Slice(); {
		case len(args) < least:
			err = usagef("%s needs %s", c.Command.HelpName, what)
		case len(args) > most && c.Command.Name == guestArgsCommand:
			err = usagef("unexpected argument %s; arguments for the guest go after --", quote(args[most]))
		case len(args) > most:
			err = usagef("unexpected argument %s", quote(args[most]))
		default:
			return nil
		}
		return hinted(err, "%s --help", c.Command.HelpName)
	}
}

// unbounded is the maximum for takes of a command that takes any number of arguments.
const unbounded = 1 << 30

// Flags of several commands.
var (
	jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print JSON, one object per line"}
)

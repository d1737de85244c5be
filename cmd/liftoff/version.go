//go:build !windows

package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the linker in a release.
var version = ""

func versionCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:               "version",
		Usage:              "show the version",
		Description:        "Prints the version, the commit if it is known, the platform, and the version of Go.",
		Before:             takes("nothing", 0, 0),
		CustomHelpTemplate: help("$ liftoff version\nliftoff 0.1.0 linux/amd64 go1.26.0"),
		Action: func(c *cli.Context) error {
			v := versionReport{versionName(), runtime.GOOS, runtime.GOARCH, runtime.Version()}
			return p.word(c, v, fmt.Sprintf("liftoff %s %s/%s %s", v.Version, v.OS, v.Arch, v.Go))
		},
	}
}

// versionName returns the name of the release, else the build information of the Go tool.
func versionName() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			commit = "-" + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v // a pseudo-version includes the commit
	}
	return "devel" + commit + dirty
}

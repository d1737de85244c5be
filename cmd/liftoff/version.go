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
		Usage:              "print the version",
		Description:        "Prints the version, the commit where it is known, and the platform.",
		Before:             takes("nothing", 0, 0),
		CustomHelpTemplate: help("$ liftoff version\nliftoff 0.1.0 linux/amd64 go1.26.0"),
		Action: func(c *cli.Context) error {
			v := versionReport{versionName(), runtime.GOOS, runtime.GOARCH, runtime.Version()}
			return p.word(c, v, fmt.Sprintf("liftoff %s %s/%s %s", v.Version, v.OS, v.Arch, v.Go))
		},
	}
}

// versionName is the release's name, else what the Go tool has noted of the build.
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
		return v // a pseudo-version holds the commit already
	}
	return "devel" + commit + dirty
}

//go:build !windows

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// setting is a key that can be configured. Its effective value comes from the last of
// these that sets it: the default, config.yaml in the repo, the environment, a flag.
type setting struct {
	key      string // in the file, a dot for each level; its last part is the flag
	kind     settingKind
	fallback string // the default; "": none
	// found returns the default if it depends on the machine, or on settings that are before it in allSettings or
	// have a fallback; nil: fallback.
	found  func(settings) []string
	secret bool               // never shown
	usage  string             // of the flag
	check  func(string) error // of one value; nil: any
}

type settingKind int

const (
	oneText settingKind = iota
	manyTexts
	yesNo
)

// flag is the setting's flag, without its dashes.
func (s setting) flag() string { return s.key[strings.LastIndexByte(s.key, '.')+1:] }

// env is the setting's variable in the environment.
func (s setting) env() string {
	return "LIFTOFF_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(s.key))
}

// value is the effective value of a setting and its source.
type value struct {
	texts  []string // of a yesNo: "true" or "false"; empty: not set, and no default
	source string
}

func (v value) text() string {
	if len(v.texts) == 0 {
		return ""
	}
	return v.texts[0]
}

func (v value) yes() bool { return v.text() == "true" }

// settings are all effective values, by key.
type settings map[string]value

// count is the value of a setting whose check is isCount.
func (s settings) count(key string) int {
	n, _ := strconv.Atoi(s[key].text())
	return n
}

// settle returns the effective settings of the repo at dir. The flags of the command belong
// to the settings below the key below, or to the top-level ones for "".
func (p *process) settle(c *cli.Context, dir, below string) (settings, error) {
	file, err := readSettings(filepath.Join(dir, settingsFile))
	if err != nil {
		return nil, err
	}
	if err := p.checkVariables(); err != nil {
		return nil, err
	}
	all := make(settings, len(allSettings))
	for _, s := range allSettings {
		v := value{source: fromDefault}
		if s.fallback != "" {
			v.texts = []string{s.fallback}
		}
		if texts, ok := file[s.key]; ok {
			v = value{texts, settingsFile}
		}
		if text := p.getenv(s.env()); text != "" {
			v = value{[]string{text}, s.env()}
			if s.kind == manyTexts {
				v.texts = strings.Split(text, ",")
			}
		}
		if s.isBelow(below) && c.IsSet(s.flag()) {
			v = value{s.flagTexts(c), "--" + s.flag()}
		}
		if err := s.checkAll(v); err != nil {
			return nil, err
		}
		all[s.key] = v
	}
	for _, s := range allSettings {
		if s.found != nil && all[s.key].source == fromDefault {
			all[s.key] = value{s.found(all), fromDefault}
		}
	}
	return all, nil
}

// fromDefault is the source of a value that nothing sets.
const fromDefault = "default"

// serveVariables is what the variables of the settings of serve begin with.
const serveVariables = "LIFTOFF_SERVE_"

// checkVariables returns an error when the environment has a variable of serve that no setting has.
func (p *process) checkVariables() error {
	var known []string
	for _, s := range allSettings {
		known = append(known, s.env())
	}
	for _, variable := range p.environ() {
		name, text, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, serveVariables) || text == "" || slices.Contains(known, name) {
			continue
		}
		err := usagef("unknown environment variable %s", quote(name))
		if near := nearest(name, known); near != "" {
			err = usagef("unknown environment variable %s: did you mean %s?", quote(name), near)
		}
		return hinted(err, "liftoff help environment")
	}
	return nil
}

// isBelow reports whether the setting's key is one level below another one.
func (s setting) isBelow(key string) bool {
	above, _, found := strings.Cut(s.key, "."+s.flag())
	return found && above == key || !found && key == ""
}

func (s setting) flagTexts(c *cli.Context) []string {
	switch s.kind {
	case manyTexts:
		return c.StringSlice(s.flag())
	case yesNo:
		return []string{fmt.Sprint(c.Bool(s.flag()))}
	}
	return []string{c.String(s.flag())}
}

func (s setting) checkAll(v value) error {
	for _, text := range v.texts {
		err := error(nil)
		switch {
		case s.kind == yesNo && text != "true" && text != "false":
			err = usagef("got %s, want true or false", quote(text))
		case s.check != nil:
			err = s.check(text)
		}
		if err != nil {
			return usagef("%s (%s): %s", s.key, v.source, err)
		}
	}
	return nil
}

// cliFlag returns the flag of the setting. The flag has no default, so that the other
// sources apply when it is not set.
func (s setting) cliFlag() cli.Flag {
	switch s.kind {
	case manyTexts:
		return &cli.StringSliceFlag{Name: s.flag(), Usage: s.usage}
	case yesNo:
		return &cli.BoolFlag{Name: s.flag(), Usage: s.usage}
	}
	return &cli.StringFlag{Name: s.flag(), Usage: s.usage}
}

// flagsOf returns the flags of the settings below a key.
func flagsOf(above string) []cli.Flag {
	var flags []cli.Flag
	for _, s := range allSettings {
		if s.isBelow(above) {
			flags = append(flags, s.cliFlag())
		}
	}
	return flags
}

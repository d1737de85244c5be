//go:build !windows

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"gopkg.in/yaml.v3"
)

// settingsFile is the name of the file of settings in a repo.
const settingsFile = "config.yaml"

// maxSettingsFile bounds it, in bytes.
const maxSettingsFile = 1 << 20

// readSettings reads a settings file, YAML with the keys of allSettings. Unknown and
// duplicate keys are errors. A missing file is an empty one.
func readSettings(path string) (map[string][]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, pathError(path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSettingsFile+1))
	if err != nil {
		return nil, pathError(path, err)
	}
	if len(b) > maxSettingsFile {
		return nil, usagef("%s is too large: more than %s", quote(path), size(maxSettingsFile))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, usagef("%s: %s", quote(path), err)
	}
	values := map[string][]string{}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return values, nil
	}
	if err := gather(doc.Content[0], "", values); err != nil {
		return nil, hinted(usagef("%s: %s", quote(path), err), "liftoff config --help")
	}
	return values, nil
}

// gather adds the settings below node, whose keys begin with above, to values.
func gather(node *yaml.Node, above string, values map[string][]string) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s: got a value, want keys", node.Line, quote(above))
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, of := node.Content[i], node.Content[i+1]
		key := name.Value
		if above != "" {
			key = above + "." + key
		}
		s, level := settingNamed(key)
		switch _, twice := values[key]; {
		case level:
			if err := gather(of, key, values); err != nil {
				return err
			}
		case s == nil:
			return fmt.Errorf("line %d: unknown key %s%s", name.Line, quote(key), meant(key))
		case twice:
			return fmt.Errorf("line %d: duplicate key %s", name.Line, key)
		default:
			texts, err := s.fromYAML(of)
			if err != nil {
				return err
			}
			values[key] = texts
		}
	}
	return nil
}

// settingNamed returns the setting with that key; level reports whether other keys are below it.
func settingNamed(key string) (s *setting, level bool) {
	for i := range allSettings {
		k := allSettings[i].key
		if k == key {
			return &allSettings[i], false
		}
		level = level || len(k) > len(key) && k[:len(key)+1] == key+"."
	}
	return nil, level
}

func meant(key string) string {
	keys := make([]string, len(allSettings))
	for i, s := range allSettings {
		keys[i] = s.key
	}
	if near := nearest(key, keys); near != "" {
		return ": did you mean " + near + "?"
	}
	return ""
}

// fromYAML reads a scalar, or for a setting with several values a list or a map of scalars.
func (s setting) fromYAML(n *yaml.Node) ([]string, error) {
	scalar := func(n *yaml.Node) (string, error) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return "", fmt.Errorf("line %d: %s has no value", n.Line, s.key)
		}
		return n.Value, nil
	}
	if s.kind != manyTexts || n.Kind == yaml.ScalarNode {
		text, err := scalar(n)
		return []string{text}, err
	}
	texts := []string{}
	for i := 0; i < len(n.Content); i++ {
		text, err := scalar(n.Content[i])
		if err != nil {
			return nil, err
		}
		if n.Kind == yaml.MappingNode {
			i++
			of, err := scalar(n.Content[i])
			if err != nil {
				return nil, err
			}
			text += "=" + of
		}
		texts = append(texts, text)
	}
	return texts, nil
}

//go:build !windows

package main

import "github.com/ipfs-liftoff/liftoff/internal/ui"

// settingListing is that of config.
var settingListing = listing[settingReport]{
	columns: []ui.Column{{Name: "KEY"}, {Name: "VALUE", Give: 1}, {Name: "SOURCE"}},
	row: func(_ *ui.Screen, s settingReport) []ui.Cell {
		return []ui.Cell{ui.Text(s.Key), ui.List(s.Value), ui.Text(s.Source)}
	},
}

// settingReports returns all settings with their values; a secret's value is not among them.
func settingReports(all settings) []settingReport {
	var reports []settingReport
	for _, s := range allSettings {
		v := all[s.key]
		texts := append([]string{}, v.texts...)
		if s.secret && len(texts) > 0 {
			texts = []string{"(secret)"}
		}
		reports = append(reports, settingReport{s.key, texts, v.source})
	}
	return reports
}

// settingReport is a setting with its value and the source of that.
type settingReport struct {
	Key    string   `json:"key"`
	Value  []string `json:"value"`
	Source string   `json:"source"`
}

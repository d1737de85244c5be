//go:build !windows

package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
)

// stepListing is that of the steps of verify.
var stepListing = listing[node.Step]{
	columns: []ui.Column{{Name: "STEP"}, {Name: "ANSWER"}, {Name: "DETAIL", Give: 1}},
	row: func(_ *ui.Screen, s node.Step) []ui.Cell {
		return []ui.Cell{ui.Text(s.Name), answerCell(s.Answer), ui.TextOr(clean(s.Detail))}
	},
}

func answerCell(a node.Answer) ui.Cell {
	c := ui.Text(string(a))
	switch a {
	case node.Verified:
		return c.In(ui.Green)
	case node.Invalid, node.Mismatch:
		return c.In(ui.Red)
	case node.Undecided:
		return c.In(ui.Yellow)
	}
	return c.In(ui.Dim)
}

// verdict prints the answer of each step and the level that was reached, which is the last line.
func (p *process) verdict(c *cli.Context, v node.Verdict) error {
	if c.Bool(jsonFlag.Name) {
		return p.objects().put(verdictReport(v))
	}
	if err := printList(p, c, stepListing, v.Steps...); err != nil {
		return err
	}
	f := p.screen(c).Facts()
	if v.Answer == node.Mismatch {
		f.Add("claimed", ui.Text(v.Claimed.String()))
		if v.Found.Defined() {
			f.Add("found", ui.Text(v.Found.String()))
		}
		for _, c := range v.Proof {
			f.Add("proof", ui.Text(c.String()))
		}
	}
	level, agreed, _ := strings.Cut(levelOf(v)+" ", " ")
	f.Add(levelOf(v), ui.Shown(v.CID.String()))
	f.Add(level, ui.Text(agreed+v.CID.String()).Piped())
	return f.Flush()
}

func levelOf(v node.Verdict) string {
	switch v.Level {
	case node.Attested:
		return "attested"
	case node.Agreed:
		return fmt.Sprintf("agreed %d/%d", v.Agreed, v.Keys)
	case node.Reexecuted:
		return "reexecuted"
	}
	return "unverified"
}

// verdictLine is a verdict as JSON.
type verdictLine struct {
	Receipt string      `json:"receipt"`
	Answer  node.Answer `json:"answer"`
	Level   string      `json:"level"`  // unverified, attested, agreed or reexecuted
	Agreed  int         `json:"agreed"` // keys that name this outcome, the issuer among them
	Keys    int         `json:"keys"`   // keys with a receipt here for the task
	Steps   []node.Step `json:"steps"`
	Issuer  job.DID     `json:"issuer,omitempty"`
	Task    string      `json:"task,omitempty"`
	Claimed string      `json:"claimed,omitempty"` // the receipt's outcome
	Found   string      `json:"found,omitempty"`   // the other one, on a mismatch
	Proof   []string    `json:"proof,omitempty"`   // on a mismatch, both receipts
}

func verdictReport(v node.Verdict) verdictLine {
	level, _, _ := strings.Cut(levelOf(v), " ")
	line := verdictLine{
		Receipt: v.CID.String(), Answer: v.Answer, Level: level, Agreed: v.Agreed, Keys: v.Keys, Steps: v.Steps,
		Issuer: v.Receipt.Issuer, Task: text(v.Receipt.Task), Claimed: text(v.Claimed), Found: text(v.Found),
	}
	for _, c := range v.Proof {
		line.Proof = append(line.Proof, c.String())
	}
	return line
}

//go:build !windows

package main

import (
	"fmt"
	"slices"
)

// topic is a page of help that belongs to no single command: liftoff help NAME.
type topic struct {
	name  string
	usage string
	text  func() string
}

// topics lists the help topics in the order in which they are shown.
var topics = []topic{
	{"references", "how commands name content", func() string { return referenceTopic }},
	{"output", "tables, pipes and JSON", func() string { return outputTopic }},
	{"environment", "environment variables", func() string { return environmentTopic }},
	{"exit-codes", "exit codes of all commands", exitTopic},
}

func topicNames() []string {
	var names []string
	for _, t := range topics {
		names = append(names, t.name)
	}
	return names
}

// printTopic prints the help topic that words ask for, as in help exit-codes. found is false when they ask for
// something else.
func (p *process) printTopic(words []string) (found bool, err error) {
	if len(words) != 2 || words[0] != "help" {
		return false, nil
	}
	i := slices.IndexFunc(topics, func(t topic) bool { return t.name == words[1] })
	if i < 0 {
		return false, nil
	}
	_, err = fmt.Fprint(p.stdout, topics[i].text())
	return true, err
}

const referenceTopic = `Content is named by its CID, in one of these forms; a path may follow each of them:

   CID               bafybeih…, Qm…
   /ipfs/CID         as IPFS writes it
   ipfs://CID        as a URL

   CID/photos/a.jpg  a file below a directory, by name
   CID/task/args/0   a value in a DAG-CBOR block, by key and index
   OUTCOME/root      the output of a run

run and inspect also accept a local path wherever they accept a CID. A local path that
exists wins over a CID; it is added to the repo first. A file whose name ends in .car
is imported, and its root is used.

   --input text=book.txt    input named text: /in/text
   --input bafybeih…/sub    input without a name: /in/0
   --input ./a=b            path with "=" in its name: write it with a slash

Other names:

   job       its id, j-…, or the beginning of it
   receipt   its CID or the beginning of it, the id of its job, or a local file
   task      its CID, or the id of a job that ran it
   pin       the name that was given to it; without one, the CID
   plugin    NAME://MODULE, as in docker://alpine
   peer      its did:key, or its libp2p peer id
`

const outputTopic = `On a terminal, listings are tables with a header, short ids, and relative times. In a
pipe or a file they have one item per line, no header and exact values: complete ids,
sizes in bytes, times in RFC 3339, durations in nanoseconds, and "-" for no value.

   --json       JSON, one object per line; docs/json.md has the fields
   --no-trunc   complete ids and texts in the tables of a terminal
   --no-color   no colour, as with NO_COLOR
   --quiet      CIDs only (add, run)

A list without items is empty on stdout; on a terminal, a line on stderr says so.

stdout holds the answer. Errors, hints, warnings and progress go to stderr. Progress and
colour are for terminals only.
`

const environmentTopic = `   LIFTOFF_PATH     folder of the repo (default: ~/.liftoff)
   LIFTOFF_API      address of a node to use instead of the local repo, as --api
   LIFTOFF_TOKEN    token of that node, or @FILE, as --token
   LIFTOFF_QUOTA    disk space that all blocks of the repo may use (default: no limit)

   LIFTOFF_SERVE_*  a setting of serve: the name of its flag in capitals, with "_" for
                    "-": LIFTOFF_SERVE_SLOTS=4 is --slots 4. A setting that has several
                    values takes a list with commas.

   PATH             where plugins are searched: programs named liftoff-executor-NAME
   HOME             location of the default repo
   NO_COLOR         when set, nothing is printed in colour
   NOTIFY_SOCKET    set by systemd: serve reports when it is ready

A flag wins over the environment, the environment over config.yaml in the repo. To see
all settings: liftoff config
`

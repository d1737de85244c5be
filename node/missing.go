package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Bounds of the search for the incomplete input.
const (
	searchBlocks = 100_000
	searchTime   = 2 * time.Second
)

// explainMissing finds the DAG of the Task that the missing block belongs to.
func (e *evaluation) explainMissing(ctx context.Context, c cid.Cid) error {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	for _, r := range e.roots() {
		if e.reaches(ctx, r.cid, c) {
			return &api.Error{
				Code:    api.CodeFault,
				Message: fmt.Sprintf("block %s of %s is not in this repo", c, r.what),
				Hint:    fmt.Sprintf("%s is incomplete: bring all of %s into this repo with `liftoff car import FILE` or `liftoff add PATH`", r.what, r.cid),
			}
		}
	}
	return &api.Error{
		Code:    api.CodeFault,
		Message: fmt.Sprintf("block %s is not in this repo", c),
		Hint:    "an input is incomplete: bring all of it into this repo with `liftoff car import FILE` or `liftoff add PATH`",
	}
}

// reaches reports whether want is found below from, among the local blocks and within the bounds of the search.
func (e *evaluation) reaches(ctx context.Context, from, want cid.Cid) bool {
	var here dag.Blocks = e.session
	if e.local != nil {
		here = e.local
	}
	seen := map[string]bool{key(from): true}
	for queue := []cid.Cid{from}; len(queue) > 0 && len(seen) < searchBlocks; queue = queue[1:] {
		c := queue[0]
		if key(c) == key(want) {
			return true
		}
		if c.Type() == cid.Raw {
			continue
		}
		b, err := dag.Load(ctx, here, c)
		if ctx.Err() != nil {
			return false
		}
		var other *dag.NotFoundError
		if errors.As(err, &other) {
			continue
		}
		links, lerr := dag.Links(b)
		if err != nil || lerr != nil {
			continue
		}
		for _, l := range links {
			if !seen[key(l)] {
				seen[key(l)] = true
				queue = append(queue, l)
			}
		}
	}
	return false
}

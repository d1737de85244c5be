package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// policyName is the file, in the repo, that says who may use which executors. Without it
// the zero runtime.Policy holds.
const policyName = "policy.json"

// maxPolicy bounds it, in bytes.
const maxPolicy = 4 << 20

// readPolicy reads the repo's policy. It is read anew for each decision, so that a change
// holds from the next job on.
func readPolicy(dir string) (runtime.Policy, error) {
	f, err := os.Open(filepath.Join(dir, policyName))
	if errors.Is(err, fs.ErrNotExist) {
		return runtime.Policy{}, nil
	}
	if err != nil {
		return runtime.Policy{}, fmt.Errorf("read the policy: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return runtime.Policy{}, fmt.Errorf("read the policy: %w", err)
	}
	if len(b) > maxPolicy {
		return runtime.Policy{}, fmt.Errorf("read the policy: more than %d bytes", maxPolicy)
	}
	p, err := runtime.ParsePolicy(b)
	if err != nil {
		return runtime.Policy{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return p, nil
}

// Allow decides about a run for r, as the repo's policy says now. A *runtime.DeniedError is
// a refusal; any other error is a policy that cannot be read, and no reason to allow
// anything.
func (n *Node) Allow(r runtime.Requester, abi string, lim job.Limits) (runtime.Grant, error) {
	p, err := readPolicy(n.store.Dir())
	if err != nil {
		return runtime.Grant{}, err
	}
	return p.Check(r, abi, lim)
}

// allow decides as Allow does about a run of t for r. The owner's WebAssembly needs no
// policy's leave: it can do nothing.
func (n *Node) allow(r runtime.Requester, t job.Task, lim job.Limits) (runtime.Grant, error) {
	if r.Role == runtime.Owner && !job.Foreign(t.ABI) {
		return runtime.Grant{}, nil
	}
	return n.Allow(r, t.ABI, lim)
}

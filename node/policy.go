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

// policyName is the file, in the repo, that defines which peers may use which executors. Without it the zero
// runtime.Policy applies.
const policyName = "policy.json"

// maxPolicy is the largest policy file, in bytes.
const maxPolicy = 4 << 20

// readPolicy reads the repo's policy. It is read for each decision, so that a change applies from the next job.
func readPolicy(dir string) (runtime.Policy, error) {
	f, err := os.Open(filepath.Join(dir, policyName))
	if errors.Is(err, fs.ErrNotExist) {
		return runtime.Policy{}, nil
	}
	if err != nil {
		return runtime.Policy{}, fmt.Errorf("read policy file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return runtime.Policy{}, fmt.Errorf("read policy file: %w", err)
	}
	if len(b) > maxPolicy {
		return runtime.Policy{}, fmt.Errorf("read policy file: more than %d bytes", maxPolicy)
	}
	p, err := runtime.ParsePolicy(b)
	if err != nil {
		return runtime.Policy{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return p, nil
}

// Allow decides about a run for r by the repo's current policy. A *runtime.DeniedError is a refusal; any other
// error means that the policy cannot be read, and nothing is allowed.
func (n *Node) Allow(r runtime.Requester, abi string, lim job.Limits) (runtime.Grant, error) {
	p, err := readPolicy(n.store.Dir())
	if err != nil {
		return runtime.Grant{}, err
	}
	return p.Check(r, abi, lim)
}

// allow decides like Allow about a run of t for r. The owner's WebAssembly is always allowed: it has no access
// to the machine.
func (n *Node) allow(r runtime.Requester, t job.Task, lim job.Limits) (runtime.Grant, error) {
	if r.Role == runtime.Owner && !job.Foreign(t.ABI) {
		return runtime.Grant{}, nil
	}
	return n.Allow(r, t.ABI, lim)
}

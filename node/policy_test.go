package node_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// foreignScript runs the Tasks of a plugin's ABI like a script does, and records the Env of each.
type foreignScript struct{ seen *[]runtime.Env }

func (s foreignScript) Traits() runtime.Traits {
	return runtime.Traits{Engine: "docker", Version: "docker 1", ABIs: []string{job.ABIDocker}}
}

func (s foreignScript) Check(context.Context, job.Task, job.Limits, runtime.Env) error { return nil }

func (s foreignScript) Run(ctx context.Context, t job.Task, _ job.Limits, env runtime.Env) (runtime.Result, error) {
	*s.seen = append(*s.seen, env)
	return result(ctx, t, env, "done")
}

// TestPolicy runs Tasks of another engine under the repo's policy, which changes between them. Each has a
// Receipt, and none is cached.
func TestPolicy(t *testing.T) {
	dir := t.TempDir()
	var seen []runtime.Env
	cfg := config(dir)
	cfg.Executors = runtime.Executors{foreignScript{&seen}}
	n, err := node.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	image := dag.NewBlock(cid.Raw, []byte("image"))
	if err := n.Put(t.Context(), api.Block{CID: image.CID(), Data: image.Data()}); err != nil {
		t.Fatal(err)
	}
	r := api.Request{Task: task(image.CID(), job.FnRun)}
	r.Task.ABI, r.Task.Det, r.Task.Nonce = job.ABIDocker, job.DetNone, []byte("nonce")
	run := func(policy string) (api.Job, error) {
		t.Helper()
		if policy != "" {
			if err := os.WriteFile(filepath.Join(dir, "policy.json"), []byte(policy), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return n.Run(t.Context(), r, api.Watch{})
	}
	for range 2 {
		j, err := run("")
		if err != nil || j.Cached || !j.Receipt.Defined() {
			t.Errorf("without a policy: %+v, %v", j, err)
		}
	}
	if _, err := run(`{"rules": [{"who": ["owner"], "engines": ["docker"], "network": true}]}`); err != nil {
		t.Error(err)
	}
	if len(seen) != 3 || seen[0].Network || seen[1].Network || !seen[2].Network {
		t.Errorf("guest environments: %+v", seen)
	}
	if _, err := run(`{"rules": [{"who": ["owner"], "engines": ["*"], "deny": true}]}`); codeOf(err) != api.CodeRefused {
		t.Errorf("a policy that denies: %v", err)
	}
	if _, err := run(`{"rules": [{"who": ["owner"]`); codeOf(err) != api.CodeFault || !strings.Contains(err.Error(), "policy.json") {
		t.Errorf("a broken policy: %v", err)
	}
	member := runtime.Requester{Role: runtime.Member}
	if _, err := n.Allow(member, job.ABIWASI, job.Limits{}); err == nil {
		t.Error("a broken policy allows something")
	}
	if err := os.Remove(filepath.Join(dir, "policy.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Allow(member, job.ABIWASI, job.Limits{}); err != nil {
		t.Errorf("wasm is denied to members: %v", err)
	}
	if _, err := n.Allow(member, job.ABIDocker, job.Limits{}); err == nil {
		t.Error("docker is allowed to members")
	}
	if len(seen) != 3 {
		t.Errorf("%d guests ran", len(seen))
	}
}

// TestPluginsOfANode lists the plugins in the repo's own folder.
func TestPluginsOfANode(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Executors = nil
	n, err := node.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	program := filepath.Join(dir, "plugins", "liftoff-executor-broken")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no way >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	all, err := n.Plugins(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "broken" || !strings.Contains(all[0].Problem, "no way") {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := n.ResolveImage(t.Context(), "docker", "alpine"); codeOf(err) != api.CodeRefused {
		t.Errorf("resolve without a plugin: %v", err)
	}
	if _, err := n.ResolveImage(t.Context(), "broken", "alpine"); codeOf(err) != api.CodeFault {
		t.Errorf("resolve with a broken plugin: %v", err)
	}
}

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/docker/dockertest"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// guestProgram is built once for all tests.
var guestProgram = struct {
	once sync.Once
	b    []byte
}{}

func guest(t testing.TB) []byte {
	guestProgram.once.Do(func() { guestProgram.b = dockertest.Guest(t) })
	return guestProgram.b
}

// archive returns the test image as an OCI archive, the same bytes each time.
func archive(t testing.TB) []byte {
	return dockertest.Tar(t, dockertest.Image{Program: guest(t)}.Layout(t)...)
}

// dockerTask returns a Task of the image at root.
func dockerTask(root cid.Cid, args ...string) job.Task {
	return job.Task{
		ABI: job.ABIDocker, Mod: root, Fn: job.FnRun, Args: args,
		Det: job.DetNone, Nonce: []byte("nonce"), Out: job.OutProfile,
	}
}

// archiveTask returns a Task whose image is stored as blocks.
func archiveTask(t testing.TB, w *runtimetest.Harness, args ...string) job.Task {
	return dockerTask(w.Add(t, archive(t)), args...)
}

// left lists the containers of owner.
func left(t testing.TB, e *dockertest.Engine, owner string) []string {
	t.Helper()
	return strings.Fields(dockerCLI(t, e, "ps", "-aq", "--filter", "label=org.ipfs-liftoff.owner="+owner))
}

// dockerCLI runs Docker's own client.
func dockerCLI(t testing.TB, e *dockertest.Engine, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// wantNothingLeft waits until owner has no containers: they are removed after their runs are
// answered.
func wantNothingLeft(t testing.TB, e *dockertest.Engine, owner string) {
	t.Helper()
	var ids []string
	for range 100 {
		if ids = left(t, e, owner); len(ids) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("containers left: %v", ids)
}

func TestSuite(t *testing.T) {
	e := engine(t)
	runtimetest.Foreign(t, start(t, e, "suite"), archiveTask)
	wantNothingLeft(t, e, "suite")
}

// printed runs a guest that must end with state ok, and returns its stdout.
func printed(t *testing.T, w *runtimetest.Harness, task job.Task) string {
	t.Helper()
	o := w.Run(t, task).Outcome
	if o.State != job.OK {
		t.Errorf("%s %d: %s", o.State, o.Code, w.File(t, o.Stderr))
	}
	return w.File(t, o.Stdout)
}

func TestGuestIsUnprivileged(t *testing.T) {
	e := engine(t)
	w := runtimetest.NewHarness(start(t, e, "unprivileged"))
	got := printed(t, w, archiveTask(t, w, "who"))
	for _, line := range []string{"Uid: 65534", "Gid: 65534", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1"} {
		if os.Geteuid() == 0 && !strings.Contains(got, line+"\n") {
			t.Errorf("missing %s in:\n%s", line, got)
		}
	}
	if strings.Contains(got, "Uid: 0") {
		t.Errorf("the guest is root:\n%s", got)
	}
	task := archiveTask(t, w, "write", "/x", "/guest", "/etc/x", "/in/x", "/in/file", "/in/dir/x", "/proc/sys/kernel/x", "/out/x", "/tmp/x")
	dir := dag.NewDirWriter(&w.Blocks, dag.UnixFSv1)
	empty, err := dir.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	task.In = []job.Input{{Name: "file", CID: w.Add(t, []byte("x"))}, {Name: "dir", CID: empty.CID}}
	if got := printed(t, w, task); got != "/out/x\n/tmp/x\n" {
		t.Errorf("guest can write to\n%s", got)
	}
}

func TestNetwork(t *testing.T) {
	e := engine(t)
	w := runtimetest.NewHarness(start(t, e, "network", "LIFTOFF_DOCKER_NETWORK=host"))
	res := w.Run(t, archiveTask(t, w, "dial", "127.0.0.1:9"))
	if got := w.File(t, res.Outcome.Stdout); got != "lo\n" || res.Outcome.State != job.Exit {
		t.Errorf("without a network: got\n%s", got)
	}
	env := w.Env(t)
	env.Network = true
	res, err := w.Executor.Run(t.Context(), archiveTask(t, w, "dial", "127.0.0.1:9"), w.Limits, env)
	if err != nil {
		t.Fatal(err)
	}
	interfaces, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Skip(err)
	}
	if got := strings.Fields(w.File(t, res.Outcome.Stdout)); len(got) != len(interfaces) {
		t.Errorf("with the host's network: got %v of %d interfaces", got, len(interfaces))
	}
}

func TestLimits(t *testing.T) {
	e := engine(t)
	w := runtimetest.NewHarness(start(t, e, "limits", "LIFTOFF_DOCKER_PIDS=16"))
	w.Limits = job.Limits{Pages: 32 << 4}
	switch o := w.Run(t, archiveTask(t, w, "memory", "100")).Outcome; {
	case o.State == job.Quota && o.Code == job.QuotaPages:
	case o.State == job.Exit && o.Code == 137 && !tellsOOM(t, e):
		t.Log("this engine does not report OOM kills")
	default:
		t.Errorf("memory: %s %d: %s", o.State, o.Code, w.File(t, o.Stderr))
	}
	w.Limits = job.Limits{Pages: 512 << 4}
	if got := printed(t, w, archiveTask(t, w, "memory", "100")); got != "100\n" {
		t.Errorf("with enough memory: %q", got)
	}
	w.Limits = job.Limits{Fuel: 200_000_000}
	if o := w.Run(t, archiveTask(t, w, "spin")).Outcome; o.State != job.OutOfFuel || o.Fuel != w.Limits.Fuel {
		t.Errorf("fuel: %s %d, %d fuel", o.State, o.Code, o.Fuel)
	}
	w.Limits = job.Limits{}
	if o := w.Run(t, archiveTask(t, w, "forks", "100")).Outcome; o.State != job.Exit {
		t.Errorf("pids: %s %d: %s", o.State, o.Code, w.File(t, o.Stdout))
	}
	wantNothingLeft(t, e, "limits")
}

// tellsOOM reports whether the engine records that a container was killed for its memory. Not
// every kernel reports it.
func tellsOOM(t *testing.T, e *dockertest.Engine) bool {
	t.Helper()
	tag := strings.Fields(dockerCLI(t, e, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "liftoff-oci"))[0]
	id := strings.TrimSpace(dockerCLI(t, e, "create", "--network", "none", "--memory", "32m", "--memory-swap", "32m", tag, "memory", "100"))
	defer dockerCLI(t, e, "rm", "-f", id)
	cmd := exec.Command("docker", "start", "-a", id)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("a container used more memory than its limit: %s", out)
	}
	return strings.TrimSpace(dockerCLI(t, e, "inspect", "--format", "{{.State.OOMKilled}}", id)) == "true"
}

// TestImageByName runs an image of the engine by its tag, its id and its digest. Images that
// the engine does not have are refused.
func TestImageByName(t *testing.T) {
	e := engine(t)
	x := start(t, e, "names", "LIFTOFF_DOCKER_PULL=never")
	w := runtimetest.NewHarness(x)
	task := archiveTask(t, w, "ok")
	w.Run(t, task) // loads the image
	dockerCLI(t, e, "tag", "liftoff-oci:"+task.Mod.String(), "guest:1")
	id := strings.TrimSpace(dockerCLI(t, e, "image", "inspect", "--format", "{{.Id}}", "guest:1"))
	for _, ref := range []string{"guest:1", "docker.io/library/guest:1", id, "guest@" + id} {
		i, err := x.Resolve(t.Context(), ref)
		if err != nil || "sha256:"+hex.EncodeToString(i.Digest) != id || i.Ref != ref {
			t.Errorf("resolve %s: got %+v, %v, want %s", ref, i, err, id)
			continue
		}
		b, err := i.Encode()
		if err != nil {
			t.Fatal(err)
		}
		block := dag.NewBlock(cid.DagCBOR, b)
		if err := w.Blocks.Put(t.Context(), block); err != nil {
			t.Fatal(err)
		}
		if got := printed(t, w, dockerTask(block.CID(), "words", "x")); got != "\"x\"\n" {
			t.Errorf("%s printed %q", ref, got)
		}
	}
	var refused *runtime.RefusedError
	for _, ref := range []string{"nothing:1", "UPPER", "", "a b", "-", "guest@sha512:" + strings.Repeat("0", 128)} {
		if i, err := x.Resolve(t.Context(), ref); !errors.As(err, &refused) {
			t.Errorf("resolve %q: got %+v, %v, want an error", ref, i, err)
		}
	}
	b, err := job.Image{Ref: "nothing", Digest: make([]byte, 32)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	block := dag.NewBlock(cid.DagCBOR, b)
	other := dag.NewBlock(cid.DagCBOR, []byte{0xa0})
	if err := w.Blocks.Put(t.Context(), block, other); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Run(t.Context(), dockerTask(block.CID()), w.Limits, w.Env(t)); err == nil || !strings.Contains(err.Error(), "pulling is disabled") {
		t.Errorf("missing image: %v", err)
	}
	if _, err := x.Run(t.Context(), dockerTask(other.CID()), w.Limits, w.Env(t)); !errors.As(err, &refused) {
		t.Errorf("block without an image reference: %v", err)
	}
}

// TestImages runs images that declare more than they are given.
func TestImages(t *testing.T) {
	e := engine(t)
	w := runtimetest.NewHarness(start(t, e, "images"))
	greedy := dockertest.Image{Program: guest(t), Volumes: []string{"/data", "/out", "/tmp/"}, User: "root", Health: true}
	root := w.Add(t, dockertest.Tar(t, greedy.Layout(t)...))
	if got := printed(t, w, dockerTask(root, "who")); strings.Contains(got, "Uid: 0") {
		t.Errorf("the image's user made the guest root:\n%s", got)
	}
	if got := printed(t, w, dockerTask(root, "write", "/data/x")); got != "/data/x\n" {
		t.Errorf("write to a volume: got: %q", got)
	}
	if got := dockerCLI(t, e, "volume", "ls", "-q"); e.Started() && got != "" {
		t.Errorf("volumes left: %s", got)
	}
	for _, v := range []string{"/", "/out/x", "/tmp/../in/x"} {
		im := dockertest.Image{Program: guest(t), Volumes: []string{v}}
		task := dockerTask(w.Add(t, dockertest.Tar(t, im.Layout(t)...)))
		var refused *runtime.RefusedError
		if _, err := w.Executor.Run(t.Context(), task, w.Limits, w.Env(t)); !errors.As(err, &refused) {
			t.Errorf("image with the volume %s: %v", v, err)
		}
	}
	saved := filepath.Join(t.TempDir(), "saved.tar")
	dockerCLI(t, e, "tag", "liftoff-oci:"+root.String(), "saved:1")
	dockerCLI(t, e, "save", "-o", saved, "saved:1")
	b, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	if got := printed(t, w, dockerTask(w.Add(t, b), "words", "saved")); got != "\"saved\"\n" {
		t.Errorf("output of docker save: printed %q", got)
	}
	dir := t.TempDir()
	for _, f := range (dockertest.Image{Program: guest(t), User: "x"}).Layout(t) {
		file := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entry, err := dag.AddTree(t.Context(), &w.Blocks, os.DirFS(dir), ".", dag.TreeOptions{Profile: dag.UnixFSv1})
	if err != nil {
		t.Fatal(err)
	}
	if got := printed(t, w, dockerTask(entry.CID, "words", "folder")); got != "\"folder\"\n" {
		t.Errorf("unpacked archive: printed %q", got)
	}
	var refused *runtime.RefusedError
	if _, err := w.Executor.Run(t.Context(), dockerTask(w.Add(t, []byte("no archive"))), w.Limits, w.Env(t)); !errors.As(err, &refused) {
		t.Errorf("not an archive: error %v", err)
	}
	noProgram := dockertest.Image{Program: guest(t), Entry: "/nothing"}
	root = w.Add(t, dockertest.Tar(t, noProgram.Layout(t)...))
	if _, err := w.Executor.Run(t.Context(), dockerTask(root), w.Limits, w.Env(t)); !errors.As(err, &refused) {
		t.Errorf("image without its program: %v", err)
	}
	wantNothingLeft(t, e, "images")
}

// TestEviction keeps only the most recently used images that were loaded from blocks.
func TestEviction(t *testing.T) {
	e := engine(t)
	w := runtimetest.NewHarness(start(t, e, "eviction", "LIFTOFF_DOCKER_IMAGES=2"))
	var roots []cid.Cid
	for i := range 4 {
		im := dockertest.Image{Program: guest(t), User: fmt.Sprint(i)}
		roots = append(roots, w.Add(t, dockertest.Tar(t, im.Layout(t)...)))
		w.Run(t, dockerTask(roots[i], "ok"))
	}
	tags := strings.Fields(dockerCLI(t, e, "image", "ls", "--format", "{{.Tag}}", "liftoff-oci"))
	slices.Sort(tags)
	want := []string{roots[2].String(), roots[3].String()}
	slices.Sort(want)
	if !slices.Equal(tags, want) {
		t.Errorf("kept images: got %v, want %v", tags, want)
	}
	w.Run(t, dockerTask(roots[0], "ok")) // loaded again
}

// running starts a run that never ends and returns once its guest runs.
func running(t *testing.T, w *runtimetest.Harness) (done chan error) {
	t.Helper()
	started := make(chan struct{})
	done = make(chan error, 1)
	env := w.Env(t)
	var once sync.Once
	env.Stdout = writerFunc(func() { once.Do(func() { close(started) }) })
	task := archiveTask(t, w, "spin")
	go func() {
		_, err := w.Executor.Run(t.Context(), task, w.Limits, env)
		done <- err
	}()
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("the run ended at once: %v", err)
	}
	return done
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// TestPluginDies kills the plugin during a run: no container is left when the run is answered.
func TestPluginDies(t *testing.T) {
	e := engine(t)
	w := runtimetest.NewHarness(start(t, e, "plugin dies"))
	done := running(t, w)
	if ids := left(t, e, "plugin dies"); len(ids) != 1 {
		t.Fatalf("containers during a run: %v", ids)
	}
	killPlugin(t, w.Executor.(*plugin.Executor))
	if err := <-done; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v", err)
	}
	if ids := left(t, e, "plugin dies"); len(ids) != 0 {
		t.Errorf("containers left: %v", ids)
	}
	w.Run(t, archiveTask(t, w, "ok"))
}

// killPlugin kills x's process.
func killPlugin(t *testing.T, x *plugin.Executor) {
	t.Helper()
	p, err := os.FindProcess(x.Pid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestEngineDies kills the Docker engine during a run: that is a machine fault, and does not
// end the plugin.
func TestEngineDies(t *testing.T) {
	e := ownEngine(t)
	w := runtimetest.NewHarness(start(t, e, "engine dies"))
	done := running(t, w)
	e.Kill()
	var refused *runtime.RefusedError
	if err := <-done; err == nil || errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
	if _, err := w.Executor.Run(t.Context(), archiveTask(t, w, "ok"), w.Limits, w.Env(t)); err == nil {
		t.Error("run without an engine: want an error")
	}
	if err := e.Restart(""); err != nil {
		t.Fatal(err)
	}
	w.Run(t, archiveTask(t, w, "ok"))
	wantNothingLeft(t, e, "engine dies")
}

// TestNoEngine checks that the plugin reports why it is unavailable.
func TestNoEngine(t *testing.T) {
	x := start(t, &dockertest.Engine{Host: "unix:///nonexistent/docker.sock"}, "none")
	_, err := x.Probe(t.Context())
	var unavailable *plugin.UnavailableError
	if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("error %v", err)
	}
}

// TestCancelTakes logs how long it takes to end a cancelled run.
func TestCancelTakes(t *testing.T) {
	e := engine(t)
	w := runtimetest.NewHarness(start(t, e, "cancel"))
	ctx, cancel := context.WithCancelCause(t.Context())
	env := w.Env(t)
	var begin time.Time
	cause := errors.New("enough")
	env.Stdout = writerFunc(func() {
		begin = time.Now()
		cancel(cause)
	})
	if _, err := w.Executor.Run(ctx, archiveTask(t, w, "spin"), w.Limits, env); !errors.Is(err, cause) {
		t.Fatal(err)
	}
	t.Logf("a cancelled run ended after %v", time.Since(begin))
	if ids := left(t, e, "cancel"); len(ids) != 0 {
		t.Errorf("containers left: %v", ids)
	}
}

// TestInspect compares the configuration of a container with what the engine reports.
func TestInspect(t *testing.T) {
	e := engine(t)
	w := runtimetest.NewHarness(start(t, e, "inspect", "LIFTOFF_DOCKER_CPUS=0.5"))
	w.Limits = job.Limits{Pages: 64 << 4, Out: 1 << 20, Tmp: 1 << 20}
	ctx, cancel := context.WithCancel(t.Context())
	env := w.Env(t)
	var info []struct {
		HostConfig struct {
			ReadonlyRootfs      bool
			Privileged          bool
			CapAdd, CapDrop     []string
			SecurityOpt         []string
			NetworkMode         string
			Memory, MemorySwap  int64
			NanoCpus            int64
			PidsLimit           int64
			PidMode, UsernsMode string
			LogConfig           struct{ Type string }
		}
	}
	env.Stdout = writerFunc(func() {
		if err := json.Unmarshal([]byte(dockerCLI(t, e, append([]string{"inspect"}, left(t, e, "inspect")...)...)), &info); err != nil {
			t.Error(err)
		}
		cancel()
	})
	if _, err := w.Executor.Run(ctx, archiveTask(t, w, "spin"), w.Limits, env); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	h := info[0].HostConfig
	if !h.ReadonlyRootfs || h.Privileged || len(h.CapAdd) > 0 || !slices.Equal(h.CapDrop, []string{"ALL"}) ||
		!slices.Equal(h.SecurityOpt, []string{"no-new-privileges"}) || h.NetworkMode != "none" || h.Memory != 64<<20 ||
		h.MemorySwap != 64<<20 || h.NanoCpus != 500_000_000 || h.PidsLimit != 512 || h.PidMode != "" || h.UsernsMode != "" || h.LogConfig.Type != "none" {
		t.Errorf("%+v", h)
	}
}

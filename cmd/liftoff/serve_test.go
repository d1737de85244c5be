//go:build !windows

package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// buffer is a bytes.Buffer that is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// find waits until re matches and returns its first group.
func (b *buffer) find(t *testing.T, re string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if m := regexp.MustCompile(re).FindStringSubmatch(b.String()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("no %s in:\n%s", re, b.String())
	return ""
}

// startServe runs a liftoff serve until the test ends.
func startServe(t *testing.T, env map[string]string, flags ...string) (stdout, stderr *buffer) {
	t.Helper()
	stdout, stderr = new(buffer), new(buffer)
	p := newProcess(strings.NewReader(""), stdout, stderr, func(k string) string { return env[k] })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	args := append([]string{"liftoff", "serve", "--listen", "/ip4/127.0.0.1/tcp/0", "--mdns=false"}, flags...)
	go func() { done <- p.command(ctx, args) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	return stdout, stderr
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestServeMetrics(t *testing.T) {
	env := map[string]string{"LIFTOFF_PATH": t.TempDir(), "LIFTOFF_SERVE_SLOTS": "3"}
	stdout, stderr := startServe(t, env, "--metrics", "127.0.0.1:0", "--log-format", "json")
	stdout.find(t, `(?m)^liftoff serve --join (\S+)$`)
	url := stderr.find(t, `"msg":"serving metrics","url":"(http://\S+)/metrics"`)
	if status, body := fetch(t, url+"/health"); status != 200 || body != "ok\n" {
		t.Errorf("/health: %d %q", status, body)
	}
	status, body := fetch(t, url+"/metrics")
	for _, want := range []string{
		"liftoff_slots 3\n", "liftoff_slots_free 3\n", "liftoff_jobs_running 0\n", "liftoff_peers_connected 0\n", "liftoff_store_blocks ", "liftoff_fetched_bytes_total 0\n", "go_goroutines ",
	} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("/metrics: %d, no %q", status, want)
		}
	}
	if status, _ := fetch(t, url+"/debug/pprof/"); status != 404 {
		t.Errorf("/debug/pprof/ without --pprof: %d", status)
	}
	if resp, err := http.Post(url+"/health", "text/plain", strings.NewReader("x")); err != nil || resp.StatusCode != 405 {
		t.Errorf("POST /health: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, `{"time":`) {
			t.Errorf("log line is not JSON: %s", line)
		}
	}
}

// TestServeOpenWarns sets --open by each source of settings: serve logs a warning at start.
// Without --open it does not.
func TestServeOpenWarns(t *testing.T) {
	const warning = `level=WARN msg="open access: unknown peers can run jobs here`
	for name, c := range map[string]struct {
		env   map[string]string
		flags []string
		want  bool
	}{
		"flag":        {nil, []string{"--open"}, true},
		"environment": {map[string]string{"LIFTOFF_SERVE_OPEN": "true"}, nil, true},
		"not open":    {nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"LIFTOFF_PATH": t.TempDir()}
			maps.Copy(env, c.env)
			_, stderr := startServe(t, env, c.flags...)
			stderr.find(t, `(msg="node is up")`)
			if got := strings.Contains(stderr.String(), warning); got != c.want {
				t.Errorf("warned: %v, want %v:\n%s", got, c.want, stderr.String())
			}
		})
	}
}

func TestServeProfiles(t *testing.T) {
	_, stderr := startServe(t, map[string]string{"LIFTOFF_PATH": t.TempDir()}, "--metrics", "127.0.0.1:0", "--pprof")
	url := stderr.find(t, `msg="serving metrics" url=(http://\S+)/metrics`)
	stderr.find(t, `(msg="node is up")`)
	if status, body := fetch(t, url+"/debug/pprof/goroutine?debug=1"); status != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("/debug/pprof/goroutine: %d", status)
	}
}

// The service manager is notified when the node is ready and when it stops.
func TestServeNotifies(t *testing.T) {
	path := t.TempDir() + "/notify.sock"
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Run("serve", func(t *testing.T) {
		startServe(t, map[string]string{"LIFTOFF_PATH": t.TempDir(), "NOTIFY_SOCKET": path})
		expect(t, l, "READY=1")
	})
	expect(t, l, "STOPPING=1")
}

func expect(t *testing.T, l *net.UnixConn, want string) {
	t.Helper()
	l.SetReadDeadline(time.Now().Add(30 * time.Second))
	b := make([]byte, 100)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != want {
		t.Errorf("notified of %q, %v; want %q", b[:n], err, want)
	}
}

func TestServeRefuses(t *testing.T) {
	for flags, want := range map[string]string{
		"--pprof":                        "--pprof needs --metrics",
		"--metrics nowhere":              "got nowhere, want HOST:PORT",
		"--api-listen nowhere":           "got nowhere, want HOST:PORT",
		"--grace soon":                   "soon is not a duration",
		"--allow-did did:web:x":          "did:web:x",
		"--compute-only --store-only":    "exclude each other",
		"--label gpu":                    "got gpu, want NAME=VALUE",
		"--log-level loud":               "got loud, want one of debug, info, warn, error",
		"--listen 127.0.0.1:4017":        "is not a multiaddr",
		"--join nonsense":                "",
		"--reachability sometimes":       "got sometimes, want one of public, private",
		"--open-fuel none":               "is not an amount of fuel",
		"--max-memory 5GiB":              "want 64KiB to 4GiB",
		"--memory lots":                  "is not a size",
		"--metrics 127.0.0.1:0 --disk x": "is not a size",
	} {
		var stderr bytes.Buffer
		env := map[string]string{"LIFTOFF_PATH": t.TempDir(), "LIFTOFF_SERVE_MDNS": "false", "LIFTOFF_SERVE_LISTEN": "/ip4/127.0.0.1/tcp/0"}
		p := newProcess(strings.NewReader(""), io.Discard, &stderr, func(k string) string { return env[k] })
		err := p.command(t.Context(), append([]string{"liftoff", "serve"}, strings.Fields(flags)...))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", flags, err, want)
		}
		if code := codeOf(err); code != exitUsage {
			t.Errorf("%s: exit code %d (%v)", flags, code, err)
		}
	}
}

// TestServeTakesTheQuota: the quota of the repo applies to serve, and the scrub can be off.
func TestServeTakesTheQuota(t *testing.T) {
	p := newProcess(strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })
	all := settings{}
	for _, s := range allSettings {
		if s.fallback != "" {
			all[s.key] = value{texts: []string{s.fallback}}
		}
	}
	d, err := p.newDaemon(t.TempDir(), all)
	if err != nil || d.config.Quota != 0 || d.config.Scrub != 30*24*time.Hour {
		t.Fatalf("quota %d, scrub %v, %v", d.config.Quota, d.config.Scrub, err)
	}
	all["quota"], all["serve.scrub"] = value{texts: []string{"5GiB"}}, value{texts: []string{"off"}}
	d, err = p.newDaemon(t.TempDir(), all)
	if err != nil || d.config.Quota != 5<<30 || d.config.Scrub != 0 {
		t.Errorf("quota %d, scrub %v, %v", d.config.Quota, d.config.Scrub, err)
	}
}

package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// hostile is a program that answers a run as the second argument says.
func hostile(string) int {
	l, err := net.FileListener(os.NewFile(3, "socket"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	m := http.NewServeMux()
	m.HandleFunc("GET "+wire.PathTraits, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"protocol":1,"engine":"hostile","version":"1","abis":["x_test"],"more":1}`)
	})
	m.HandleFunc("POST "+wire.PathCheck, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(body), "check floods"):
			for {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		case strings.Contains(string(body), "check fails"):
			http.Error(w, strings.Repeat("very bad ", 1<<20), http.StatusTeapot)
		case strings.Contains(string(body), "check hangs"):
			<-r.Context().Done()
		}
		fmt.Fprintf(w, `{"need_module":false}`)
	})
	m.HandleFunc("POST "+wire.PathCancel, func(http.ResponseWriter, *http.Request) {})
	m.HandleFunc("POST "+wire.PathRun, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name, bad := range badAnswers {
			if strings.Contains(string(body), `"`+name+`"`) {
				bad.tell(w)
				return
			}
		}
	})
	_ = http.Serve(l, m)
	return 0
}

// badAnswers are answers to a run, and the error that each has to cause.
var badAnswers = map[string]struct {
	tell func(w http.ResponseWriter)
	says string
}{
	"nothing":     {func(http.ResponseWriter) {}, "before the run ended"},
	"no json":     {func(w http.ResponseWriter) { fmt.Fprintln(w, "hello") }, "malformed plugin event"},
	"two kinds":   {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"refused":"a","error":"b"}`) }, "got 2 kinds"},
	"no kind":     {func(w http.ResponseWriter) { fmt.Fprintln(w, `{}`) }, "got 0 kinds"},
	"null":        {func(w http.ResponseWriter) { fmt.Fprintln(w, `null`) }, "got 0 kinds"},
	"half a line": {func(w http.ResponseWriter) { fmt.Fprint(w, `{"end":{"exit":0}}`) }, "before the run ended"},
	"exit 256":    {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"end":{"exit":256}}`) }, "exit code 256"},
	"exit -1":     {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"end":{"exit":-1}}`) }, "exit code -1"},
	"bad limit":   {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"end":{"limit":"patience"}}`) }, `"patience"`},
	"long line":   {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"error":"`+strings.Repeat("a", wire.MaxEvent)+`"}`) }, "line longer than"},
	"endless line": {func(w http.ResponseWriter) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("[", 1<<16)); err != nil {
				return
			}
		}
	}, "line longer than"},
	"flood": {func(w http.ResponseWriter) {
		for {
			if _, err := io.WriteString(w, strings.Repeat(`{"progress":{"done":1,"total":2}}`+"\n", 1000)); err != nil {
				return
			}
		}
	}, "flood of plugin events"},
	"control characters": {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"error":"a\u001b[2Jb\nc"}`) }, "a\ufffd[2Jb c"},
}

func TestBadAnswers(t *testing.T) {
	x := open(t, "hostile", Config{Grace: 50 * time.Millisecond})
	w := runtimetest.NewHarness(x)
	for name, bad := range badAnswers {
		_, err := x.Run(t.Context(), testTask(t, w, name), w.Limits, w.Env(t))
		var refused *runtime.RefusedError
		if err == nil || !strings.Contains(err.Error(), bad.says) || errors.As(err, &refused) {
			t.Errorf("%s: error %v, want a machine fault that contains %q", name, err, bad.says)
		}
		if err != nil && len(err.Error()) > 2*maxMessage {
			t.Errorf("%s: error text of %d bytes", name, len(err.Error()))
		}
	}
}

func TestHostileChecks(t *testing.T) {
	for arg, c := range map[string]struct {
		patience time.Duration // 0: the default, long enough for a busy machine
		says     string
	}{
		"check floods": {0, "answer is longer than"},
		"check fails":  {0, "418"},
		"check hangs":  {300 * time.Millisecond, "no answer within"},
	} {
		x := open(t, "hostile", Config{Answer: c.patience})
		w := runtimetest.NewHarness(x)
		err := x.Check(t.Context(), testTask(t, w, arg), w.Limits, w.Env(t))
		if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 2*maxMessage {
			t.Errorf("%s: error %v, want one that contains %q", arg, err, c.says)
		}
	}
}

// TestHang has a run that does not end when it is cancelled: the run ends, others in the same
// program are not affected, and the program ends with the last of them.
func TestHang(t *testing.T) {
	x := open(t, "test", Config{Grace: 100 * time.Millisecond})
	w := runtimetest.NewHarness(x)
	ctx, cancel := context.WithCancelCause(t.Context())
	other, finish := context.WithCancel(t.Context())
	spinning := make(chan struct{})
	done := make(chan error, 1)
	task, env := testTask(t, w, "spin"), w.Env(t)
	env.Stdout = writer(func() { close(spinning) })
	go func() {
		_, err := x.Run(other, task, w.Limits, env)
		done <- err
	}()
	<-spinning
	before := x.process
	cause := errors.New("enough")
	hanging := w.Env(t)
	hanging.Stdout = writer(func() { cancel(cause) })
	if _, err := x.Run(ctx, testTask(t, w, "hang"), w.Limits, hanging); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
	w.Run(t, testTask(t, w, "ok"))
	if x.process != before {
		t.Error("the program ended during a run that had not failed")
	}
	finish()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("other run: %v", err)
	}
	w.Run(t, testTask(t, w, "ok"))
	if x.process == before {
		t.Error("a hanging program still runs")
	}
}

// writer calls f on every write.
func writer(f func()) io.Writer { return writerFunc(f) }

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

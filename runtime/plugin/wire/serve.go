package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxRequest bounds a node's request: a Task has at most 4 MiB, and base64 and JSON escapes
// make it larger.
const maxRequest = 32 << 20

// Listen returns the socket that the node passed to this process. The error is written for a
// user who has started the program by hand.
func Listen(getenv func(string) string) (net.Listener, error) {
	versions := getenv(EnvVersions)
	if versions == "" {
		return nil, errors.New("this program is a plugin, which liftoff starts: see `liftoff plugins`")
	}
	if !slices.Contains(strings.Split(versions, ","), strconv.Itoa(Version)) {
		return nil, fmt.Errorf("plugin protocol: liftoff has %s, this plugin %d: update the older of them", versions, Version)
	}
	f := os.NewFile(listenFD, "socket")
	if f == nil {
		return nil, fmt.Errorf("socket from liftoff is missing (file descriptor %d)", listenFD)
	}
	defer f.Close() // FileListener has its own copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen on the socket from liftoff, file descriptor %d: %w", listenFD, err)
	}
	return l, nil
}

// grace is how long active runs may take to end after the node has gone.
const grace = 5 * time.Second

// Serve answers the node until stdin is closed or ctx is cancelled, then cancels the active
// runs and waits for them. It closes l.
func Serve(ctx context.Context, l net.Listener, stdin io.Reader, e Engine) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &server{engine: e, runs: map[string]context.CancelCauseFunc{}}
	h := &http.Server{
		Handler: s.mux(), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() { // ends when stdin does, at the latest with the process
		_, _ = io.Copy(io.Discard, stdin)
		cancel(errNodeGone)
	}()
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, done := context.WithTimeout(context.Background(), grace)
		defer done()
		if h.Shutdown(late) != nil {
			h.Close()
		}
	})
	err := h.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve liftoff node: %w", err)
}

var (
	errNodeGone  = errors.New("node closed the connection")
	errCancelled = errors.New("run cancelled by the node")
)

type server struct {
	engine Engine

	mu   sync.Mutex
	runs map[string]context.CancelCauseFunc // by ID
}

func (s *server) mux() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET "+PathTraits, func(w http.ResponseWriter, r *http.Request) { answer(w, s.engine.Traits(r.Context())) })
	m.HandleFunc("POST "+PathCheck, s.check)
	m.HandleFunc("POST "+PathRun, s.run)
	m.HandleFunc("POST "+PathCancel, s.cancel)
	if _, ok := s.engine.(Resolver); ok {
		m.HandleFunc("POST "+PathResolve, s.resolve)
	}
	return m
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a node that has gone needs no answer
}

// ask decodes the request's object into v, or answers with an error.
func ask(w http.ResponseWriter, r *http.Request, v any) bool {
	body := http.MaxBytesReader(w, r.Body, maxRequest)
	err := json.NewDecoder(body).Decode(v)
	if err == nil {
		_, err = io.Copy(io.Discard, body) // net/http notices a closed connection only after the body is read
	}
	if err != nil {
		http.Error(w, "bad request to plugin: "+err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

func (s *server) check(w http.ResponseWriter, r *http.Request) {
	var t Task
	if !ask(w, r, &t) {
		return
	}
	need, err := s.engine.Check(r.Context(), t)
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		answer(w, Checked{Refused: refused.Reason})
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		answer(w, Checked{NeedModule: need})
	}
}

func (s *server) resolve(w http.ResponseWriter, r *http.Request) {
	var q Resolve
	if !ask(w, r, &q) {
		return
	}
	digest, err := s.engine.(Resolver).Resolve(r.Context(), q.Ref)
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		answer(w, Resolved{Refused: refused.Reason})
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		answer(w, Resolved{Digest: digest[:]})
	}
}

func (s *server) cancel(w http.ResponseWriter, r *http.Request) {
	var c Cancel
	if !ask(w, r, &c) {
		return
	}
	s.mu.Lock()
	stop := s.runs[c.ID]
	s.mu.Unlock()
	if stop != nil {
		stop(errCancelled)
	}
	answer(w, struct{}{})
}

func (s *server) run(w http.ResponseWriter, r *http.Request) {
	var run Run
	if !ask(w, r, &run) {
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	s.mu.Lock()
	_, twice := s.runs[run.ID]
	if !twice {
		s.runs[run.ID] = cancel
	}
	s.mu.Unlock()
	if twice {
		http.Error(w, "a run with this id is active", http.StatusConflict)
		return
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.runs, run.ID)
	}()
	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusOK)
	stream := newStream(w)
	end, err := s.engine.Run(ctx, run, stream)
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		_ = stream.send(Event{Refused: clip(refused.Reason)}) // a node that has gone needs no end
	case err != nil:
		_ = stream.send(Event{Error: clip(err.Error())})
	default:
		_ = stream.send(Event{End: &end})
	}
}

// clip shortens a message to the size of an event.
func clip(s string) string {
	const most = 8 << 10
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

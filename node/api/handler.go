package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

// Guest is what one attached client is given. Close forgets it: what it has put is
// kept from collection no longer.
type Backend interface {
	Data
	Pins
	Maintenance
	Jobs
	Receipts
	Cache
	Trust
	Identity
	Peers
	Cluster
	Publishing
	Storage
	Plugins
	Close() error
}

// Times of a Handler.
const (
	headerTimeout = 10 * time.Second // for a request's headers to arrive
	heartbeat     = 10 * time.Second // between two bytes to an attached client
	graceTime     = 2 * time.Second  // for a gone client's calls to end; a guest in a tight loop may take longer
)

// maxSessions bounds the clients that are attached at once.
const maxSessions = 1024

// sessionHeader names the attachment that a request belongs to.
const sessionHeader = "Liftoff-Session"

// Handler serves Guests to the clients of a socket. A client first opens an attach
// request, which lasts as long as the client does: all its other requests name it, are
// cancelled when it ends, and its Guest is closed after them. So a client that is
// killed leaves nothing behind.
type Handler struct {
	begin  func() (Backend, error)
	mux    *http.ServeMux
	bodies chan struct{} // a place for each request whose blocks are being read
	stall  time.Duration // see stallTimeout

	mu       sync.Mutex
	closing  bool
	sessions map[string]*session
	left     chan struct{} // closed, and replaced, when a session has gone
}

// session is one attached client.
type session struct {
	guest  Backend
	ctx    context.Context
	cancel context.CancelFunc
	calls  sync.WaitGroup // those that were let in; guarded by Handler.mu against an end
	ended  bool           // guarded by Handler.mu: nothing is let in any more
}

// NewHandler returns a Handler that gives each client what begin returns.
func NewHandler(begin func() (Backend, error)) *Handler {
	h := &Handler{
		begin: begin, mux: http.NewServeMux(), bodies: make(chan struct{}, 8), stall: stallTimeout,
		sessions: map[string]*session{}, left: make(chan struct{}),
	}
	h.mux.HandleFunc("POST /v1/attach", h.attach)
	h.mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, "ok") })
	for pattern, serve := range h.calls() {
		h.mux.HandleFunc(pattern, h.inSession(serve))
	}
	return h
}

// calls are the requests that a client can make: docs/api.md has a line for each.
func (h *Handler) calls() map[string]call {
	return map[string]call{
		"POST /v1/blocks":            h.putBlocks,
		"POST /v1/blocks/{cid}":      fetchBlock,
		"POST /v1/missing":           missing,
		"GET /v1/dags/{cid}":         walk,
		"GET /v1/blocks/{cid}":       getBlock,
		"GET /v1/blocks/{cid}/has":   hasBlock,
		"POST /v1/sync":              syncData,
		"PUT /v1/pins":               putPin,
		"DELETE /v1/pins":            deletePin,
		"GET /v1/pins":               listPins,
		"GET /v1/pin":                findPin,
		"POST /v1/collect":           collect,
		"POST /v1/check":             verify,
		"POST /v1/run":               run,
		"GET /v1/jobs":               listJobs,
		"POST /v1/jobs":              submit,
		"GET /v1/jobs/{prefix}":      findJob,
		"GET /v1/jobs/{id}/events":   followJob,
		"GET /v1/jobs/{id}/logs":     jobLogs,
		"POST /v1/jobs/{id}/cancel":  cancelJob,
		"GET /v1/receipts":           listReceipts,
		"POST /v1/receipts":          addReceipt,
		"GET /v1/receipts/{prefix}":  findReceipt,
		"GET /v1/cache":              listCachedResults,
		"DELETE /v1/cache":           forget,
		"GET /v1/trust":              listTrusted,
		"PUT /v1/trust":              putTrust,
		"DELETE /v1/trust":           deleteTrust,
		"GET /v1/identity":           identity,
		"GET /v1/self":               answer(Backend.Self),
		"GET /v1/peers":              listing(Backend.Peers),
		"POST /v1/peers":             answerTo(Backend.Connect),
		"GET /v1/cluster":            answer(Backend.Cluster),
		"POST /v1/cluster":           answer(Backend.InitCluster),
		"POST /v1/cluster/invite":    answerTo(Backend.Invite),
		"POST /v1/cluster/join":      answerTo(Backend.JoinCluster),
		"GET /v1/cluster/members":    listing(Backend.Members),
		"DELETE /v1/cluster/members": command(Backend.Revoke),
		"GET /v1/published":          listing(Backend.Published),
		"PUT /v1/published":          commandOn(Backend.Publish),
		"DELETE /v1/published":       commandOn(Backend.Unpublish),
		"GET /v1/sources":            listSources,
		"POST /v1/sources":           attachSource,
		"DELETE /v1/sources":         detachSource,
		"POST /v1/migrate":           migrate,
		"POST /v1/coverage/{cid}":    cover,
		"GET /v1/plugins":            listPlugins,
		"POST /v1/images":            resolveImage,
	}
}

// Server returns an http.Server for h with the limits that h counts on.
func (h *Handler) Server(errors *log.Logger) *http.Server {
	return &http.Server{
		Handler: h, ErrorLog: errors,
		ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: 16 << 10,
	}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Drain waits until no client is attached; from that moment on new ones are refused
// with CodeClosing. When ctx ends first, it returns its cause and h goes on.
func (h *Handler) Drain(ctx context.Context) error {
	for {
		h.mu.Lock()
		if len(h.sessions) == 0 {
			h.closing = true
			h.mu.Unlock()
			return nil
		}
		left := h.left
		h.mu.Unlock()
		select {
		case <-left:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close refuses new clients, ends the attached ones and waits until they are gone,
// which takes graceTime at most.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closing = true
	for _, s := range h.sessions {
		s.cancel()
	}
	h.mu.Unlock()
	h.Drain(context.Background())
}

// attach lets a client in and holds its request open until it leaves.
func (h *Handler) attach(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	id, s, err := h.enter(ctx, cancel)
	if err != nil {
		writeError(w, err)
		return
	}
	defer h.leave(id, s)
	if err := writeJSON(w, hello{API: apiVersion, Session: id, PID: os.Getpid()}); err != nil {
		return
	}
	rc := http.NewResponseController(w)
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if err := rc.Flush(); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// A client that has sent more than its request is not seen to leave
			// until something is written to it.
			if _, err := io.WriteString(w, "\n"); err != nil {
				return
			}
		}
	}
}

// hello is the first line of the answer to attach.
type hello struct {
	API     int    `json:"api"`
	Session string `json:"session"`
	PID     int    `json:"pid"`
}

const apiVersion = 1

func (h *Handler) enter(ctx context.Context, cancel context.CancelFunc) (string, *session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return "", nil, Errorf(CodeClosing, "the process that holds the repo is leaving")
	}
	if len(h.sessions) >= maxSessions {
		return "", nil, Errorf(CodeFault, "%d clients are attached: too many", len(h.sessions))
	}
	g, err := h.begin()
	if err != nil {
		return "", nil, fmt.Errorf("attach: %w", err)
	}
	id, s := rand.Text(), &session{guest: g, ctx: ctx, cancel: cancel}
	h.sessions[id] = s
	return id, s, nil
}

// leave cancels the session's calls and gives them a while to end, so that the owner
// can go although a guest that nothing can interrupt still runs.
func (h *Handler) leave(id string, s *session) {
	h.mu.Lock()
	s.ended = true
	h.mu.Unlock()
	s.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.calls.Wait()
		s.guest.Close()
	}()
	select {
	case <-done:
	case <-time.After(graceTime):
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, id)
	close(h.left)
	h.left = make(chan struct{})
}

// call serves one request of an attached client. The error that it returns becomes the
// answer, so it returns none once it has begun to answer.
type call func(w http.ResponseWriter, r *http.Request, g Backend) error

// inSession lets a request in if it names a session, and ties it to that; one that names
// none has a session of its own, which ends with it.
func (h *Handler) inSession(serve call) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(sessionHeader)
		if id == "" {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			own, s, err := h.enter(ctx, cancel)
			if err != nil {
				writeError(w, err)
				return
			}
			defer h.leave(own, s)
			id = own
		}
		h.mu.Lock()
		s := h.sessions[id]
		if s == nil || s.ended {
			h.mu.Unlock()
			writeError(w, Errorf(CodeUsage, "the request belongs to no attached client"))
			return
		}
		s.calls.Add(1)
		h.mu.Unlock()
		defer s.calls.Done()

		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		cut := make(chan struct{})
		stop := context.AfterFunc(s.ctx, func() {
			defer close(cut)
			cancel()
			// An answer that its client does not read must not outlast the session.
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(graceTime / 2))
			limitAbsence(r, graceTime)
		})
		defer func() {
			if !stop() {
				<-cut // what comes next on this connection has its own time
			}
		}()
		if r.Body != http.NoBody {
			r.Body = steady{r.Body, http.NewResponseController(w)}
		}
		if err := serve(w, r.WithContext(ctx), s.guest); err != nil {
			writeError(w, err)
		}
	}
}

var statusOf = map[Code]int{
	CodeMissing: http.StatusNotFound, CodeRefused: http.StatusUnprocessableEntity,
	CodeTimeout: http.StatusGatewayTimeout, CodeInterrupted: 499, CodeUsage: http.StatusBadRequest,
	CodeFault: http.StatusInternalServerError, CodeClosing: http.StatusServiceUnavailable,
	CodeDenied: http.StatusUnauthorized, CodeNoPeer: http.StatusConflict, CodeDisagree: http.StatusConflict, CodeMismatch: http.StatusConflict,
}

func writeError(w http.ResponseWriter, err error) {
	e := AsError(err)
	b, err := json.Marshal(e)
	if err != nil {
		http.Error(w, e.Message, http.StatusInternalServerError)
		return
	}
	status, ok := statusOf[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(b, '\n'))
	return err
}

// readJSON reads a request's whole body into v.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	return decodeJSON(b, v)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJSON))
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return nil, Errorf(CodeUsage, "a request of more than %d bytes", maxJSON)
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return b, nil
}

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

// Backend is what the handler gives to one attached client. Close releases it: what the client has
// put is not protected from collection.
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
	headerTimeout = 10 * time.Second // limit for receiving the headers of a request
	heartbeat     = 10 * time.Second // interval of the bytes that an attached client is sent
	graceTime     = 2 * time.Second  // for the calls of a detached client to end; a guest in a tight loop may take longer
)

// maxSessions is the maximum number of attached clients.
const maxSessions = 1024

// sessionHeader carries the id of the session that a request belongs to.
const sessionHeader = "Liftoff-Session"

// Handler serves a Backend to each client of a socket. A client first opens an attach request,
// which stays open for as long as the client is attached and is called its session. All other
// requests of the client name the session. When it ends, they are cancelled and its Backend is
// closed after them. So a client that is killed leaves nothing behind.
type Handler struct {
	begin  func() (Backend, error)
	mux    *http.ServeMux
	bodies chan struct{} // one element for each request whose blocks are being read
	stall  time.Duration // see stallTimeout

	mu       sync.Mutex
	closing  bool
	sessions map[string]*session
	left     chan struct{} // closed and replaced when a session has ended
}

// session is one attached client.
type session struct {
	backend Backend
	ctx     context.Context
	cancel  context.CancelFunc
	calls   sync.WaitGroup // the running calls; Add only with Handler.mu held and ended false
	ended   bool           // guarded by Handler.mu: no further call is accepted
}

// NewHandler returns a Handler that gives each client the Backend that begin returns.
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

// calls returns the handlers of all requests by pattern. docs/api.md documents each.
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
		"POST /v1/coverage/{cid}":    coverage,
		"GET /v1/plugins":            listPlugins,
		"POST /v1/images":            resolveImage,
	}
}

// Server returns an http.Server for h with the limits that h relies on.
func (h *Handler) Server(errors *log.Logger) *http.Server {
	return &http.Server{
		Handler: h, ErrorLog: errors,
		ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: 16 << 10,
	}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Drain waits until no client is attached and then refuses new ones with CodeClosing. When ctx ends
// first, it returns the cause of ctx, and h continues to accept clients.
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

// Close refuses new clients, ends the attached ones and waits until they have detached, at most
// graceTime.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closing = true
	for _, s := range h.sessions {
		s.cancel()
	}
	h.mu.Unlock()
	h.Drain(context.Background())
}

// attach adds a client and holds its request open until the client detaches.
func (h *Handler) attach(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	id, s, err := h.enter(ctx, cancel)
	if err != nil {
		writeError(w, err)
		return
	}
	defer h.leave(id, s)
	if err := writeJSON(w, attachReply{API: apiVersion, Session: id, PID: os.Getpid()}); err != nil {
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
			// net/http does not detect that a client has closed the connection if the client sent
			// more than its request. Writing detects it.
			if _, err := io.WriteString(w, "\n"); err != nil {
				return
			}
		}
	}
}

// attachReply is the first line of the answer to attach.
type attachReply struct {
	API     int    `json:"api"`
	Session string `json:"session"`
	PID     int    `json:"pid"`
}

const apiVersion = 1

func (h *Handler) enter(ctx context.Context, cancel context.CancelFunc) (string, *session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return "", nil, Errorf(CodeClosing, "node is shutting down")
	}
	if len(h.sessions) >= maxSessions {
		return "", nil, Errorf(CodeFault, "attach API client: %d are attached, want at most %d", len(h.sessions), maxSessions)
	}
	g, err := h.begin()
	if err != nil {
		return "", nil, fmt.Errorf("attach API client: %w", err)
	}
	id, s := rand.Text(), &session{backend: g, ctx: ctx, cancel: cancel}
	h.sessions[id] = s
	return id, s, nil
}

// leave cancels the calls of the session and waits graceTime at most for their end, so that the
// owner process can exit while a guest that cannot be interrupted still runs.
func (h *Handler) leave(id string, s *session) {
	h.mu.Lock()
	s.ended = true
	h.mu.Unlock()
	s.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.calls.Wait()
		s.backend.Close()
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

// call serves one request of an attached client. Its error becomes the answer, so it returns nil
// once it has started to write the answer.
type call func(w http.ResponseWriter, r *http.Request, g Backend) error

// inSession serves a request within the session that it names. A request without a session gets one
// of its own, which ends with the request.
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
			writeError(w, Errorf(CodeUsage, "unknown API session: attach first"))
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
			// An answer that the client does not read must not outlast the session.
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(graceTime / 2))
			setAckLimit(r, graceTime)
		})
		defer func() {
			if !stop() {
				<-cut // so that its deadline does not apply to the next request on this connection
			}
		}()
		if r.Body != http.NoBody {
			r.Body = stallReader{r.Body, http.NewResponseController(w)}
		}
		if err := serve(w, r.WithContext(ctx), s.backend); err != nil {
			writeError(w, err)
		}
	}
}

var statusOf = map[Code]int{
	CodeMissing: http.StatusNotFound, CodeRefused: http.StatusUnprocessableEntity,
	CodeTimeout: http.StatusGatewayTimeout, CodeInterrupted: 499, CodeUsage: http.StatusBadRequest,
	CodeConflict: http.StatusConflict, CodeFault: http.StatusInternalServerError, CodeClosing: http.StatusServiceUnavailable,
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

// readJSON reads the whole body of a request into v.
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
		return nil, Errorf(CodeUsage, "API request: more than %d bytes", maxJSON)
	}
	if err != nil {
		return nil, fmt.Errorf("read API request: %w", err)
	}
	return b, nil
}

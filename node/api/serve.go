package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// How the blocks of one request are read. They are put in batches of at most maxBatch bytes and
// batchBlocks blocks. After an error, up to maxDrain bytes that the client still sends are read and
// dropped, so that the client gets to read the answer.
const (
	maxBatch    = 4 << 20
	batchBlocks = 512
	maxDrain    = 64 << 20
)

func (h *Handler) putBlocks(w http.ResponseWriter, r *http.Request, g Backend) error {
	select {
	case h.bodies <- struct{}{}:
		defer func() { <-h.bodies }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	if err := putAll(r, g); err != nil {
		io.CopyN(io.Discard, r.Body, maxDrain)
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func putAll(r *http.Request, g Backend) error {
	body := bufio.NewReaderSize(r.Body, 64<<10)
	var batch []Block
	size := 0
	put := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := g.Put(r.Context(), batch...)
		batch, size = nil, 0
		return err
	}
	for {
		b, err := readBlock(body)
		if errors.Is(err, io.EOF) {
			return put()
		}
		if err != nil {
			return Errorf(CodeUsage, "read blocks in API request: %v", err)
		}
		batch, size = append(batch, b), size+len(b.Data)
		if size >= maxBatch || len(batch) >= batchBlocks {
			if err := put(); err != nil {
				return err
			}
		}
	}
}

func pathCID(r *http.Request) (cid.Cid, error) {
	c, err := dag.DecodeCID(r.PathValue("cid"))
	if err != nil {
		return c, Errorf(CodeUsage, "invalid CID: %v", err)
	}
	return c, nil
}

func getBlock(w http.ResponseWriter, r *http.Request, g Backend) error {
	c, err := pathCID(r)
	if err != nil {
		return err
	}
	b, err := g.Get(r.Context(), c)
	if err != nil {
		return err
	}
	if len(b) > MaxBlock {
		return Errorf(CodeFault, "block %s: got %d bytes, want at most %d", c, len(b), MaxBlock)
	}
	w.Header().Set("Content-Type", "application/vnd.ipld.raw")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b) // an error means that the client has disconnected
	return nil
}

func hasBlock(w http.ResponseWriter, r *http.Request, g Backend) error {
	c, err := pathCID(r)
	if err != nil {
		return err
	}
	has, err := g.Has(r.Context(), c)
	if err != nil {
		return err
	}
	return writeJSON(w, has)
}

func fetchBlock(w http.ResponseWriter, r *http.Request, g Backend) error {
	c, err := pathCID(r)
	if err != nil {
		return err
	}
	if err := g.Fetch(r.Context(), c); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// missing decodes CIDs as strings and answers with those that are not in the repo.
func missing(w http.ResponseWriter, r *http.Request, g Backend) error {
	var asked []string
	if err := readJSON(w, r, &asked); err != nil {
		return err
	}
	if len(asked) > MaxMissing {
		return Errorf(CodeUsage, "request for missing blocks names %d CIDs, want at most %d", len(asked), MaxMissing)
	}
	cs := make([]cid.Cid, len(asked))
	for i, s := range asked {
		var err error
		if cs[i], err = dag.DecodeCID(s); err != nil {
			return Errorf(CodeUsage, "invalid CID: %v", err)
		}
	}
	absent, err := g.Missing(r.Context(), cs...)
	if err != nil {
		return err
	}
	return writeJSON(w, cidStrings(absent))
}

func cidStrings(cs []cid.Cid) []string {
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = c.String()
	}
	return out
}

func walk(w http.ResponseWriter, r *http.Request, g Backend) error {
	c, err := pathCID(r)
	if err != nil {
		return err
	}
	s := newStream(w)
	s.end(nil, g.Walk(r.Context(), c, s.block))
	return nil
}

func syncData(w http.ResponseWriter, r *http.Request, g Backend) error {
	if err := g.Sync(r.Context()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func putPin(w http.ResponseWriter, r *http.Request, g Backend) error {
	var p Pin
	if err := readJSON(w, r, &p); err != nil {
		return err
	}
	if err := g.Pin(r.Context(), p); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func deletePin(w http.ResponseWriter, r *http.Request, g Backend) error {
	var name string
	if err := readJSON(w, r, &name); err != nil {
		return err
	}
	if err := g.Unpin(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func listPins(w http.ResponseWriter, r *http.Request, g Backend) error {
	pins, err := g.Pins(r.Context())
	if err != nil {
		return err
	}
	return list(w, pins, func(p Pin) ([]byte, error) { return json.Marshal(p) })
}

func findPin(w http.ResponseWriter, r *http.Request, g Backend) error {
	p, err := g.FindPin(r.Context(), r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, p)
}

func listJobs(w http.ResponseWriter, r *http.Request, g Backend) error {
	jobs, err := g.List(r.Context())
	if err != nil {
		return err
	}
	return list(w, jobs, EncodeJob)
}

// list answers with one item frame for each element of vs.
func list[T any](w http.ResponseWriter, vs []T, encode func(T) ([]byte, error)) error {
	s := newStream(w)
	for _, v := range vs {
		b, err := encode(v)
		if err == nil && len(b) > maxJSON {
			err = fmt.Errorf("API list: got an item of %d bytes, want at most %d", len(b), maxJSON)
		}
		if err == nil {
			err = s.item(b)
		}
		if err != nil {
			s.end(nil, err)
			return nil
		}
	}
	s.end(nil, nil)
	return nil
}

func findJob(w http.ResponseWriter, r *http.Request, g Backend) error {
	j, err := g.Find(r.Context(), r.PathValue("prefix"))
	if err != nil {
		return err
	}
	return writeJob(w, j)
}

func collect(w http.ResponseWriter, r *http.Request, g Backend) error {
	c, err := g.Collect(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, c)
}

func verify(w http.ResponseWriter, r *http.Request, g Backend) error {
	s := newStream(w)
	v, err := g.Check(r.Context(), func(d Damage) {
		if b, err := json.Marshal(d); err == nil { // three strings: cannot fail
			s.item(b) // the context ends when the client disconnects
		}
	})
	b, jerr := json.Marshal(v)
	s.end(b, errors.Join(err, jerr))
	return nil
}

func run(w http.ResponseWriter, r *http.Request, g Backend) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	req, watched, err := decodeRequest(body)
	if err != nil {
		return err
	}
	req.Trusted = req.Trusted && !isRemote(r)
	s := newStream(w)
	var watch Watch
	if watched.Stdout {
		watch.Stdout = chunk{s, frameStdout}
	}
	if watched.Stderr {
		watch.Stderr = chunk{s, frameStderr}
	}
	if watched.Progress {
		watch.Progress = s.setProgress
	}
	flush := func() {}
	if watched.Event {
		watch.Event, flush = asyncEvents(s)
	}
	j, err := g.Run(r.Context(), req, watch)
	flush()
	var b []byte
	if j.ID != "" {
		var jerr error
		b, jerr = EncodeJob(j)
		err = errors.Join(err, jerr)
	}
	s.end(b, err)
	return nil
}

// asyncEvents returns functions that send events without waiting for the client: a client that does
// not read delays only the guest's output. Events that do not fit the queue are dropped. flush
// waits until the queued ones are written; later ones are not sent.
func asyncEvents(s *stream) (send func(Event), flush func()) {
	var mu sync.Mutex
	over := false
	queue, done := make(chan Event, MaxEvents), make(chan struct{})
	go func() {
		defer close(done)
		for e := range queue {
			s.event(e) // the context ends when the client disconnects
		}
	}()
	send = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		select {
		case queue <- e:
		default:
		}
	}
	flush = func() {
		mu.Lock()
		over = true
		close(queue)
		mu.Unlock()
		<-done
	}
	return send, flush
}

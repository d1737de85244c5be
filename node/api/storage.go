package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/ipfs/go-cid"
)

// Storage tells where blocks are, and reads some where they lie.
type Storage interface {
	// Sources returns the places in which blocks are looked for, in that order: the repo first.
	Sources(ctx context.Context) ([]Source, error)
	// Attach has a CAR or a folder on the machine of the repo read in place; with keep until Detach, else until
	// the process that has the repo open ends. Its path is absolute.
	Attach(ctx context.Context, kind, path string, keep bool) (Source, error)
	Detach(ctx context.Context, path string) error // CodeMissing when it is not attached
	// Migrate moves blocks that have files of their own, as in repos of the first format, into segments.
	Migrate(ctx context.Context) (Migrated, error)
	// Coverage tells how much of what is below a root is here.
	Coverage(ctx context.Context, root cid.Cid) (Coverage, error)
}

// The kinds of a Source.
const (
	SourceRepo = "repo"
	SourceCAR  = "car"
	SourceDir  = "dir"
)

// Source is a place with blocks.
type Source struct {
	Kind   string    `json:"kind"`
	State  string    `json:"state,omitempty"` // of a CAR or a folder, when it is listed: ok, changed, missing or damaged
	Path   string    `json:"path"`
	Roots  []cid.Cid `json:"roots,omitempty"` // of a CAR or a folder
	Blocks int64     `json:"blocks"`
	Bytes  int64     `json:"bytes"`          // of the blocks
	Disk   int64     `json:"disk,omitempty"` // what the repo's files for large blocks take
	Kept   bool      `json:"kept"`           // the repo knows of it after this process, too
}

// Migrated is what a migration did.
type Migrated struct {
	Blocks  int   `json:"blocks"`
	Bytes   int64 `json:"bytes"`
	Damaged int   `json:"damaged"` // blocks that were left where they are
}

// Coverage is how many bytes of the distinct blocks below a root are here, and how many there are; lower bounds
// unless Exact.
type Coverage struct {
	Have   uint64    `json:"have"`
	Total  uint64    `json:"total"`
	Exact  bool      `json:"exact"`
	Opaque []cid.Cid `json:"opaque,omitempty"` // blocks whose links cannot be read, the first 100 of them: what they lead to is not counted
}

// attachment is the body of a request to attach.
type attachment struct {
	Kind string `json:"kind"`
	Path string `json:"path"`
	Keep bool   `json:"keep"`
}

func listSources(w http.ResponseWriter, r *http.Request, g Backend) error {
	all, err := g.Sources(r.Context())
	if err != nil {
		return err
	}
	return list(w, all, func(v Source) ([]byte, error) { return json.Marshal(v) })
}

func attachSource(w http.ResponseWriter, r *http.Request, g Backend) error {
	if isFar(r) {
		return Errorf(CodeDenied, "files of the node's machine are attached there, not over TCP")
	}
	var a attachment
	if err := readJSON(w, r, &a); err != nil {
		return err
	}
	s := newStream(w) // its first byte goes at once: the reading takes long
	v, err := g.Attach(r.Context(), a.Kind, a.Path, a.Keep)
	return endWith(s, v, err)
}

func detachSource(w http.ResponseWriter, r *http.Request, g Backend) error {
	var path string
	if err := readJSON(w, r, &path); err != nil {
		return err
	}
	if err := g.Detach(r.Context(), path); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func migrate(w http.ResponseWriter, r *http.Request, g Backend) error {
	s := newStream(w)
	v, err := g.Migrate(r.Context())
	return endWith(s, v, err)
}

func cover(w http.ResponseWriter, r *http.Request, g Backend) error {
	c, err := cid.Decode(r.PathValue("cid"))
	if err != nil {
		return Errorf(CodeUsage, "bad CID: %v", err)
	}
	s := newStream(w)
	v, err := g.Coverage(r.Context(), c)
	return endWith(s, v, err)
}

// endWith ends a stream with a value.
func endWith(s *stream, v any, err error) error {
	var b []byte
	if err == nil {
		b, err = json.Marshal(v)
	}
	s.end(b, err)
	return nil
}

func (c *Client) Sources(ctx context.Context) ([]Source, error) {
	return items[Source](ctx, c, "/v1/sources")
}

func (c *Client) Attach(ctx context.Context, kind, path string, keep bool) (v Source, err error) {
	body, err := json.Marshal(attachment{kind, path, keep})
	if err != nil {
		return v, err
	}
	return v, c.last(ctx, "POST", "/v1/sources", body, &v)
}

func (c *Client) Detach(ctx context.Context, path string) error {
	return c.ask(ctx, "DELETE", "/v1/sources", path, nil)
}

func (c *Client) Migrate(ctx context.Context) (v Migrated, err error) {
	return v, c.last(ctx, "POST", "/v1/migrate", nil, &v)
}

func (c *Client) Coverage(ctx context.Context, root cid.Cid) (v Coverage, err error) {
	if !root.Defined() {
		return v, Errorf(CodeUsage, "coverage of nothing")
	}
	return v, c.last(ctx, "POST", "/v1/coverage/"+root.String(), nil, &v)
}

// last sends a request whose answer is a stream, and decodes what it ends with.
func (c *Client) last(ctx context.Context, method, path string, body []byte, out any) error {
	end, err := c.stream(ctx, method, path, body, func(byte, []byte) error { return nil })
	if err != nil {
		return err
	}
	if err := json.Unmarshal(end, out); err != nil {
		return Errorf(CodeFault, "the answer of the process that holds the repo: %v", err)
	}
	return nil
}

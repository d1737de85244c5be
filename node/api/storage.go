package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Storage lists the places that hold blocks, and attaches files whose blocks are read in place.
type Storage interface {
	// Sources returns the places in which blocks are looked up, in that order. The repo is the
	// first.
	Sources(ctx context.Context) ([]Source, error)
	// Attach reads a CAR or a folder on the machine of the repo in place. path is absolute. With
	// keep it stays attached until Detach, else until the process that owns the repo ends.
	Attach(ctx context.Context, kind, path string, keep bool) (Source, error)
	Detach(ctx context.Context, path string) error // CodeMissing when it is not attached
	// Migrate moves blocks that have files of their own, as in repos of the first format, into
	// segments.
	Migrate(ctx context.Context) (Migrated, error)
	// Coverage returns how much of the DAG below root is in the repo.
	Coverage(ctx context.Context, root cid.Cid) (Coverage, error)
}

// The kinds of a Source.
const (
	SourceRepo = "repo"
	SourceCAR  = "car"
	SourceDir  = "dir"
)

// Source is one place that holds blocks.
type Source struct {
	Kind   string    `json:"kind"`            // SourceRepo, SourceCAR or SourceDir
	State  string    `json:"state,omitempty"` // of a CAR or a folder, when it is listed: ok, changed, missing or damaged
	Path   string    `json:"path"`
	Roots  []cid.Cid `json:"roots,omitempty"` // of a CAR or a folder
	Blocks int64     `json:"blocks"`
	Bytes  int64     `json:"bytes"`          // total size of the blocks
	Disk   int64     `json:"disk,omitempty"` // bytes that the repo's files for large blocks take on disk
	Kept   bool      `json:"kept"`           // it stays attached when this process ends
}

// Migrated is the result of a migration.
type Migrated struct {
	Blocks  int   `json:"blocks"`
	Bytes   int64 `json:"bytes"`
	Damaged int   `json:"damaged"` // blocks that were not moved
}

// Coverage counts the bytes of the distinct blocks below a root: those in the repo, and all. They
// are lower bounds unless Exact.
type Coverage struct {
	Have   uint64    `json:"have"`
	Total  uint64    `json:"total"`
	Exact  bool      `json:"exact"`
	Opaque []cid.Cid `json:"opaque,omitempty"` // the first 100 blocks whose links cannot be read: what they link to is not counted
}

// attachment is the body of POST /v1/sources.
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
	if isRemote(r) {
		return Errorf(CodeDenied, "attach CAR or folder: only possible on the machine of the node, not over TCP")
	}
	var a attachment
	if err := readJSON(w, r, &a); err != nil {
		return err
	}
	s := newStream(w) // the headers are sent at once: reading the files takes long
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

func coverage(w http.ResponseWriter, r *http.Request, g Backend) error {
	c, err := dag.DecodeCID(r.PathValue("cid"))
	if err != nil {
		return Errorf(CodeUsage, "invalid CID: %v", err)
	}
	s := newStream(w)
	v, err := g.Coverage(r.Context(), c)
	return endWith(s, v, err)
}

// endWith ends a stream with v as JSON, or with err.
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
		return v, Errorf(CodeUsage, "coverage: the root CID is missing")
	}
	return v, c.last(ctx, "POST", "/v1/coverage/"+root.String(), nil, &v)
}

// last sends a request whose answer is a stream, and decodes the value of its last frame.
func (c *Client) last(ctx context.Context, method, path string, body []byte, out any) error {
	end, err := c.stream(ctx, method, path, body, func(byte, []byte) error { return nil })
	if err != nil {
		return err
	}
	if err := json.Unmarshal(end, out); err != nil {
		return Errorf(CodeFault, "decode answer of the process that owns the repo: %v", err)
	}
	return nil
}

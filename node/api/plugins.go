package api

import (
	"context"
	"net/http"
)

// Plugins lists executors that are separate programs.
type Plugins interface {
	// Plugins starts every plugin and asks for its description. It returns them sorted by name. Of
	// several with one name all but the first have a Problem.
	Plugins(ctx context.Context) ([]Plugin, error)
	// ResolveImage asks the plugin called name for the digest that ref currently names: 32 bytes of
	// sha2-256. CodeRefused when ref names nothing or the plugin does not exist.
	ResolveImage(ctx context.Context, name, ref string) (digest []byte, err error)
}

// Plugin describes one plugin program.
type Plugin struct {
	Name    string   `json:"name"`
	Program string   `json:"program"` // path
	Version string   `json:"version,omitempty"`
	ABIs    []string `json:"abis,omitempty"`    // the values of Task.ABI that it runs
	Problem string   `json:"problem,omitempty"` // why it is not used; empty: it is used
}

func listPlugins(w http.ResponseWriter, r *http.Request, g Backend) error {
	all, err := g.Plugins(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, all)
}

// imageRequest is the body of POST /v1/images.
type imageRequest struct {
	Plugin string `json:"plugin"`
	Ref    string `json:"ref"`
}

func resolveImage(w http.ResponseWriter, r *http.Request, g Backend) error {
	var q imageRequest
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	digest, err := g.ResolveImage(r.Context(), q.Plugin, q.Ref)
	if err != nil {
		return err
	}
	return writeJSON(w, digest)
}

// Plugins implements Plugins.
func (c *Client) Plugins(ctx context.Context) (all []Plugin, err error) {
	err = c.ask(ctx, "GET", "/v1/plugins", nil, &all)
	return all, err
}

// ResolveImage implements Plugins.
func (c *Client) ResolveImage(ctx context.Context, name, ref string) (digest []byte, err error) {
	err = c.ask(ctx, "POST", "/v1/images", imageRequest{name, ref}, &digest)
	return digest, err
}

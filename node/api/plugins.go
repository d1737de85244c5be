package api

import (
	"context"
	"net/http"
)

// Plugins are executors that are programs of their own.
type Plugins interface {
	// Plugins starts and asks all that there are. The order is that of their names; what
	// comes behind another one of the same name has a Problem.
	Plugins(ctx context.Context) ([]Plugin, error)
	// ResolveImage asks the plugin of that name what ref names now: 32 bytes of sha2-256.
	// CodeRefused when it names nothing, or there is no such plugin.
	ResolveImage(ctx context.Context, name, ref string) (digest []byte, err error)
}

// Plugin is a program with a plugin's name.
type Plugin struct {
	Name    string   `json:"name"`
	Program string   `json:"program"`
	Version string   `json:"version,omitempty"`
	ABIs    []string `json:"abis,omitempty"`
	Problem string   `json:"problem,omitempty"` // why it is not taken; empty: it is
}

func listPlugins(w http.ResponseWriter, r *http.Request, g Backend) error {
	all, err := g.Plugins(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, all)
}

// imageRequest asks what a reference names.
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

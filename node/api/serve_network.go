package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/ipfs/go-cid"
)

// answer serves a method without arguments that returns one value.
func answer[T any](ask func(g Backend, ctx context.Context) (T, error)) call {
	return func(w http.ResponseWriter, r *http.Request, g Backend) error {
		v, err := ask(g, r.Context())
		if err != nil {
			return err
		}
		return writeJSON(w, v)
	}
}

// answerTo serves a method that takes one value, the body of the request, and returns one value.
func answerTo[A, T any](ask func(g Backend, ctx context.Context, a A) (T, error)) call {
	return func(w http.ResponseWriter, r *http.Request, g Backend) error {
		var a A
		if err := readJSON(w, r, &a); err != nil {
			return err
		}
		v, err := ask(g, r.Context(), a)
		if err != nil {
			return err
		}
		return writeJSON(w, v)
	}
}

// listing serves a method that returns a list.
func listing[T any](ask func(g Backend, ctx context.Context) ([]T, error)) call {
	return func(w http.ResponseWriter, r *http.Request, g Backend) error {
		all, err := ask(g, r.Context())
		if err != nil {
			return err
		}
		return list(w, all, func(v T) ([]byte, error) { return json.Marshal(v) })
	}
}

// command serves a method that takes one value and returns only an error.
func command[A any](do func(g Backend, ctx context.Context, a A) error) call {
	return func(w http.ResponseWriter, r *http.Request, g Backend) error {
		var a A
		if err := readJSON(w, r, &a); err != nil {
			return err
		}
		if err := do(g, r.Context(), a); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// commandOn makes a call of a method that takes a CID and returns an error alone.
func commandOn(do func(g Backend, ctx context.Context, c cid.Cid) error) call {
	return func(w http.ResponseWriter, r *http.Request, g Backend) error {
		var c link
		if err := readJSON(w, r, &c); err != nil {
			return err
		}
		if c.IsZero() {
			return Errorf(CodeUsage, "API request: no CID")
		}
		if err := do(g, r.Context(), cid.Cid(c)); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

package api

import (
	"encoding/json"
	"net/http"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func listReceipts(w http.ResponseWriter, r *http.Request, g Backend) error {
	var all []ReceiptInfo
	var err error
	if of := r.URL.Query().Get("task"); of != "" {
		task, cerr := dag.DecodeCID(of)
		if cerr != nil {
			return Errorf(CodeUsage, "invalid CID: %v", cerr)
		}
		all, err = g.ReceiptsOf(r.Context(), task)
	} else {
		all, err = g.Receipts(r.Context())
	}
	if err != nil {
		return err
	}
	return list(w, all, func(v ReceiptInfo) ([]byte, error) { return json.Marshal(v) })
}

func findReceipt(w http.ResponseWriter, r *http.Request, g Backend) error {
	v, err := g.FindReceipt(r.Context(), r.PathValue("prefix"))
	if err != nil {
		return err
	}
	return writeJSON(w, v)
}

func addReceipt(w http.ResponseWriter, r *http.Request, g Backend) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	c, err := g.AddReceipt(r.Context(), b)
	if err != nil {
		return err
	}
	return writeJSON(w, link(c))
}

func listCachedResults(w http.ResponseWriter, r *http.Request, g Backend) error {
	all, err := g.CachedResults(r.Context())
	if err != nil {
		return err
	}
	return list(w, all, func(v CachedResult) ([]byte, error) { return json.Marshal(v) })
}

// forget decodes the CID of a task as a string; "" means all.
func forget(w http.ResponseWriter, r *http.Request, g Backend) error {
	var of string
	if err := readJSON(w, r, &of); err != nil {
		return err
	}
	task := cid.Undef
	if of != "" {
		var err error
		if task, err = dag.DecodeCID(of); err != nil {
			return Errorf(CodeUsage, "invalid CID: %v", err)
		}
	}
	if err := g.Forget(r.Context(), task); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func listTrusted(w http.ResponseWriter, r *http.Request, g Backend) error {
	all, err := g.Trusted(r.Context())
	if err != nil {
		return err
	}
	return list(w, all, func(v TrustedKey) ([]byte, error) { return json.Marshal(v) })
}

func putTrust(w http.ResponseWriter, r *http.Request, g Backend) error {
	var k trustRequest
	if err := readJSON(w, r, &k); err != nil {
		return err
	}
	if err := g.Trust(r.Context(), k.DID, k.Note); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// trustRequest is the body of PUT /v1/trust.
type trustRequest struct {
	DID  string `json:"did"`
	Note string `json:"note,omitempty"`
}

func deleteTrust(w http.ResponseWriter, r *http.Request, g Backend) error {
	var did string
	if err := readJSON(w, r, &did); err != nil {
		return err
	}
	if err := g.Distrust(r.Context(), did); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func identity(w http.ResponseWriter, r *http.Request, g Backend) error {
	id, err := g.Identity(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, id)
}

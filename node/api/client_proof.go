package api

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/ipfs/go-cid"
)

func (c *Client) Receipts(ctx context.Context) ([]ReceiptInfo, error) {
	return items[ReceiptInfo](ctx, c, "/v1/receipts")
}

func (c *Client) ReceiptsOf(ctx context.Context, task cid.Cid) ([]ReceiptInfo, error) {
	if !task.Defined() {
		return nil, Errorf(CodeUsage, "list receipts: the CID of the task is missing")
	}
	return items[ReceiptInfo](ctx, c, "/v1/receipts?task="+task.String())
}

func (c *Client) FindReceipt(ctx context.Context, prefix string) (v ReceiptInfo, err error) {
	if prefix == "" || strings.ContainsFunc(prefix, notInCID) {
		return v, Errorf(CodeUsage, "%q is not the prefix of a CID", prefix)
	}
	err = c.ask(ctx, "GET", "/v1/receipts/"+prefix, nil, &v)
	return v, err
}

func notInCID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

func (c *Client) AddReceipt(ctx context.Context, envelope []byte) (cid.Cid, error) {
	if len(envelope) > maxJSON {
		return cid.Undef, Errorf(CodeUsage, "receipt: got %d bytes, want at most %d", len(envelope), maxJSON)
	}
	resp, err := c.do(ctx, "POST", "/v1/receipts", envelope)
	if err != nil {
		return cid.Undef, err
	}
	defer resp.Body.Close()
	b, err := readBounded(resp.Body, maxJSON)
	if err != nil {
		return cid.Undef, c.explain(ctx, err)
	}
	var id link
	if err := json.Unmarshal(b, &id); err != nil {
		return cid.Undef, Errorf(CodeFault, "decode answer of the process that owns the repo: %v", err)
	}
	return cid.Cid(id), nil
}

func (c *Client) CachedResults(ctx context.Context) ([]CachedResult, error) {
	return items[CachedResult](ctx, c, "/v1/cache")
}

func (c *Client) Forget(ctx context.Context, task cid.Cid) error {
	of := ""
	if task.Defined() {
		of = task.String()
	}
	return c.ask(ctx, "DELETE", "/v1/cache", of, nil)
}

func (c *Client) Trust(ctx context.Context, did, note string) error {
	return c.ask(ctx, "PUT", "/v1/trust", trustRequest{did, note}, nil)
}

func (c *Client) Distrust(ctx context.Context, did string) error {
	return c.ask(ctx, "DELETE", "/v1/trust", did, nil)
}

func (c *Client) Trusted(ctx context.Context) ([]TrustedKey, error) {
	return items[TrustedKey](ctx, c, "/v1/trust")
}

func (c *Client) Identity(ctx context.Context) (id ID, err error) {
	err = c.ask(ctx, "GET", "/v1/identity", nil, &id)
	return id, err
}

// items reads a list of JSON values.
func items[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var all []T
	_, err := c.stream(ctx, "GET", path, nil, func(_ byte, b []byte) error {
		var v T
		err := json.Unmarshal(b, &v)
		all = append(all, v)
		return err
	})
	return all, err
}

package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// A receipt is a block with two records. "r/" and its CID as a string has the receipt's fields; "t/", its Task's
// CID as bytes, and its own CID is an index by Task.
const (
	receiptPrefix = "r/"
	taskPrefix    = "t/"
)

func receiptsOf(task cid.Cid) string { return taskPrefix + task.KeyString() + "/" }

// receiptRecords returns the records of a receipt. Field Own is not stored: it follows from the issuer.
func receiptRecords(c cid.Cid, r job.Receipt) ([]store.Record, error) {
	b, err := json.Marshal(api.ReceiptInfo{
		CID: c, Issuer: r.Issuer, Task: r.Task, Outcome: r.Outcome,
		Issued: time.UnixMilli(r.Issued).UTC(), Replayed: r.Meta.Replayed,
	})
	if err != nil {
		return nil, fmt.Errorf("encode record of receipt %s: %w", c, err)
	}
	return []store.Record{
		{Name: receiptPrefix + c.String(), Value: b},
		{Name: receiptsOf(r.Task) + c.String()},
	}, nil
}

// maxReceipt is the size in bytes of the largest envelope that is kept.
const maxReceipt = dag.MaxBlock

// Receipts implements api.Receipts.
func (v *View) Receipts(ctx context.Context) ([]api.ReceiptInfo, error) {
	all, err := v.node.receipts(ctx, "")
	return all, apiError(ctx, err)
}

// receipts returns the receipts whose CID begins with prefix, newest first.
func (n *Node) receipts(ctx context.Context, prefix string) ([]api.ReceiptInfo, error) {
	self, err := n.self.did()
	if err != nil {
		return nil, err
	}
	var all []api.ReceiptInfo
	err = n.store.Records(ctx, receiptPrefix+prefix, func(name string, value func() ([]byte, error)) error {
		b, err := value()
		if b == nil {
			return err
		}
		var r api.ReceiptInfo
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("decode receipt record %q: %w", name, err)
		}
		r.Own = r.Issuer == self
		all = append(all, r)
		return nil
	})
	slices.SortFunc(all, newerFirst)
	return all, err
}

func newerFirst(a, b api.ReceiptInfo) int {
	if c := b.Issued.Compare(a.Issued); c != 0 {
		return c
	}
	return slices.Compare(a.CID.Bytes(), b.CID.Bytes())
}

// ReceiptsOf implements api.Receipts.
func (v *View) ReceiptsOf(ctx context.Context, task cid.Cid) ([]api.ReceiptInfo, error) {
	if !task.Defined() {
		return nil, api.Errorf(api.CodeUsage, "list receipts: no task CID")
	}
	var names []string
	prefix := receiptsOf(job.V1(task))
	err := v.node.store.Records(ctx, prefix, func(name string, _ func() ([]byte, error)) error {
		names = append(names, name[len(prefix):])
		return nil
	})
	var all []api.ReceiptInfo
	for _, name := range names {
		some, rerr := v.node.receipts(ctx, name)
		if rerr != nil {
			return nil, apiError(ctx, rerr)
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, newerFirst)
	return all, apiError(ctx, err)
}

// FindReceipt implements api.Receipts.
func (v *View) FindReceipt(ctx context.Context, prefix string) (api.ReceiptInfo, error) {
	if prefix == "" {
		return api.ReceiptInfo{}, api.Errorf(api.CodeUsage, "find receipt: no CID or prefix")
	}
	var other *dag.NotCanonicalError
	if c, err := dag.DecodeCID(prefix); err == nil {
		prefix = c.String() // normalize the multibase encoding
	} else if errors.As(err, &other) {
		return api.ReceiptInfo{}, api.Errorf(api.CodeUsage, "receipt: %v", err)
	}
	all, err := v.node.receipts(ctx, prefix)
	switch {
	case err != nil:
		return api.ReceiptInfo{}, apiError(ctx, err)
	case len(all) == 0:
		return api.ReceiptInfo{}, &api.Error{
			Code: api.CodeMissing, Message: fmt.Sprintf("no receipt CID begins with %s", prefix),
			Hint: "`liftoff receipt ls` lists the receipts",
		}
	case len(all) > 1:
		return api.ReceiptInfo{}, &api.Error{
			Code: api.CodeUsage, Message: fmt.Sprintf("%d receipt CIDs begin with %s", len(all), prefix),
			Hint: fmt.Sprintf("give a longer prefix, as in %s or %s", all[0].CID, all[1].CID),
		}
	}
	return all[0], nil
}

// AddReceipt implements api.Receipts. The receipt is pinned as "receipt:" and its CID. A receipt of a trusted
// issuer is added to the result cache.
func (v *View) AddReceipt(ctx context.Context, envelope []byte) (cid.Cid, error) {
	n := v.node
	if len(envelope) > maxReceipt {
		return cid.Undef, api.Errorf(api.CodeUsage, "add receipt: got %d bytes, want at most %d", len(envelope), maxReceipt)
	}
	r, err := job.DecodeReceipt(envelope)
	if err != nil {
		return cid.Undef, api.Errorf(api.CodeUsage, "%v", err)
	}
	b := dag.NewBlock(cid.DagCBOR, envelope)
	name := b.CID().String()
	if _, found, err := n.store.Lookup(receiptPrefix + name); err != nil || found {
		if err == nil {
			err = v.session.Put(ctx, b) // the existing pin keeps it
		}
		return b.CID(), apiError(ctx, err)
	}
	batch := store.Batch{
		Blocks: []dag.Block{b},
		Pins:   []store.Pin{{Name: "receipt:" + name, Created: n.clock(), Roots: []store.Root{{CID: b.CID()}}}},
	}
	if batch.Records, err = receiptRecords(b.CID(), r); err != nil {
		return cid.Undef, apiError(ctx, err)
	}
	trust, err := n.self.trusted()
	if err == nil && trust.Has(r.Issuer) && !r.Meta.Replayed {
		batch.Records, err = n.cacheTrusted(batch.Records, b.CID(), r.Issuer, r.Task, r.Outcome)
	}
	if err == nil {
		err = v.session.Commit(ctx, batch)
	}
	return b.CID(), apiError(ctx, err)
}

package api

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Receipts keeps signed words that a Task evaluates to an Outcome: this node's own, one
// for each of its runs, and others' that were added.
type Receipts interface {
	Receipts(ctx context.Context) ([]ReceiptInfo, error) // newest first
	// ReceiptsOf returns those for one Task, newest first.
	ReceiptsOf(ctx context.Context, task cid.Cid) ([]ReceiptInfo, error)
	// FindReceipt returns the one whose CID begins with prefix; CodeMissing, or CodeUsage
	// when several do.
	FindReceipt(ctx context.Context, prefix string) (ReceiptInfo, error)
	// AddReceipt keeps an envelope, whoever signed it, after a strict look at its bytes
	// and its signature: CodeUsage when they are not good.
	AddReceipt(ctx context.Context, envelope []byte) (cid.Cid, error)
}

// ReceiptInfo is what a Receipt says, without its Meta and its signature. The envelope
// itself is the block CID.
type ReceiptInfo struct {
	CID      cid.Cid   `json:"receipt"`
	Issuer   job.DID   `json:"issuer"`
	Task     cid.Cid   `json:"task"`
	Outcome  cid.Cid   `json:"outcome"`
	Issued   time.Time `json:"issued"`
	Replayed bool      `json:"replayed"` // its issuer remembered the Outcome and ran nothing
	Own      bool      `json:"own"`      // signed by this node
}

// Cache remembers what Tasks evaluate to.
type Cache interface {
	CachedResults(ctx context.Context) ([]CachedResult, error) // newest first
	// Forget drops the memo of a task, of all with cid.Undef; CodeMissing when there is
	// none of that task.
	Forget(ctx context.Context, task cid.Cid) error
}

// Memo is one remembered evaluation.
type CachedResult struct {
	Task    cid.Cid   `json:"task"`
	Outcome cid.Cid   `json:"outcome"`
	Receipt cid.Cid   `json:"receipt"` // whose word it is
	Issuer  job.DID   `json:"issuer"`
	State   job.State `json:"state"`
	Code    int       `json:"code"`
	Fuel    uint64    `json:"fuel"`
	Size    uint64    `json:"size"` // bytes of the output's blocks
	Created time.Time `json:"created"`
}

// Trust names the keys whose receipts are as good as runs of this node's own.
type Trust interface {
	Trust(ctx context.Context, did, note string) error // replaces the note of one that is trusted
	Distrust(ctx context.Context, did string) error    // CodeMissing when it is not trusted
	Trusted(ctx context.Context) ([]TrustedKey, error) // by DID
}

// TrustedKey is one key that is trusted by name.
type TrustedKey struct {
	DID   string    `json:"did"`
	Note  string    `json:"note,omitempty"`
	Added time.Time `json:"added"`
}

// Identity says who this node is.
type Identity interface {
	Identity(ctx context.Context) (ID, error)
}

// ID is the two names of the one key with which a node signs its receipts.
type ID struct {
	PeerID string `json:"peer_id"` // of libp2p: "12D3KooW…"
	DID    string `json:"did"`     // "did:key:z6Mk…"
}

package api

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Receipts stores signed statements that a Task evaluates to an Outcome: this node's own, one for
// each of its runs, and added ones of other issuers.
type Receipts interface {
	Receipts(ctx context.Context) ([]ReceiptInfo, error) // newest first
	// ReceiptsOf returns the receipts of one Task, newest first.
	ReceiptsOf(ctx context.Context, task cid.Cid) ([]ReceiptInfo, error)
	// FindReceipt returns the receipt whose CID starts with prefix. CodeMissing when none matches,
	// CodeUsage when several match.
	FindReceipt(ctx context.Context, prefix string) (ReceiptInfo, error)
	// AddReceipt stores the envelope of a receipt of any issuer. It decodes it strictly and checks
	// the signature; CodeUsage when either fails.
	AddReceipt(ctx context.Context, envelope []byte) (cid.Cid, error)
}

// ReceiptInfo is the content of a Receipt without its Meta and its signature. The envelope itself
// is the block CID.
type ReceiptInfo struct {
	CID      cid.Cid   `json:"receipt"`
	Issuer   job.DID   `json:"issuer"`
	Task     cid.Cid   `json:"task"`
	Outcome  cid.Cid   `json:"outcome"`
	Issued   time.Time `json:"issued"`
	Replayed bool      `json:"replayed"` // the issuer answered from its result cache and ran nothing
	Own      bool      `json:"own"`      // signed by this node
}

// Cache is the result cache: it maps Tasks to Outcomes.
type Cache interface {
	CachedResults(ctx context.Context) ([]CachedResult, error) // newest first
	// Forget removes the cached result of a task, or all of them when task is cid.Undef.
	// CodeMissing when the task has no cached result.
	Forget(ctx context.Context, task cid.Cid) error
}

// CachedResult is one entry of the result cache.
type CachedResult struct {
	Task    cid.Cid   `json:"task"`
	Outcome cid.Cid   `json:"outcome"`
	Receipt cid.Cid   `json:"receipt"` // the receipt that the entry relies on
	Issuer  job.DID   `json:"issuer"`
	State   job.State `json:"state"`
	Code    int       `json:"code"` // Outcome.Code
	Fuel    uint64    `json:"fuel"`
	Size    uint64    `json:"size"` // bytes of the blocks of the output
	Created time.Time `json:"created"`
}

// Trust manages the keys whose receipts are accepted without running the Task again.
type Trust interface {
	Trust(ctx context.Context, did, note string) error // replaces the note of a key that is already trusted
	Distrust(ctx context.Context, did string) error    // CodeMissing when the key is not trusted
	Trusted(ctx context.Context) ([]TrustedKey, error) // by DID
}

// TrustedKey is one trusted key.
type TrustedKey struct {
	DID   string    `json:"did"`
	Note  string    `json:"note,omitempty"`
	Added time.Time `json:"added"`
}

// Identity returns the key of this node.
type Identity interface {
	Identity(ctx context.Context) (ID, error)
}

// ID is the key with which a node signs its receipts, in its two notations.
type ID struct {
	PeerID string `json:"peer_id"` // libp2p peer id: "12D3KooW…"
	DID    string `json:"did"`     // "did:key:z6Mk…"
}

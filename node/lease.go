package node

import "github.com/ipfs-liftoff/liftoff/job"

// leased is a peer's hold on a job, as it is written down: with it a requester that has
// been restarted finds its job again.
type leased struct {
	Peer     job.DID `json:"peer"`
	Lease    []byte  `json:"lease"`
	Envelope []byte  `json:"envelope"` // the signed Job that was awarded
}

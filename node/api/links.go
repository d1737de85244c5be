package api

import (
	"encoding/json"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"

	"github.com/ipfs-liftoff/liftoff/job"
)

// The JSON of the API has one spelling for each kind of value: a CID is a string, a time is
// RFC 3339 in UTC, a duration is a number of nanoseconds. cid.Cid itself would be {"/": "CID"}, as
// in DAG-JSON, and time.Time would keep its zone; so the types with such fields have methods
// here. Requests (Pin, Root) are decoded strictly, answers and records are not: a later version may
// add fields to them. Their field tags are those of the types themselves: links_test.go compares both.

// link is a CID whose JSON is a string; "" for cid.Undef.
type link cid.Cid

func (l link) MarshalText() ([]byte, error) {
	if !cid.Cid(l).Defined() {
		return nil, nil
	}
	return []byte(cid.Cid(l).String()), nil
}

func (l *link) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*l = link(cid.Undef)
		return nil
	}
	c, err := dag.DecodeCID(string(b))
	*l = link(c)
	return err
}

func (l link) IsZero() bool { return !cid.Cid(l).Defined() }

func linksOf(cs []cid.Cid) []link {
	if cs == nil {
		return nil
	}
	all := make([]link, len(cs))
	for i, c := range cs {
		all[i] = link(c)
	}
	return all
}

func cidsOf(ls []link) []cid.Cid {
	if ls == nil {
		return nil
	}
	all := make([]cid.Cid, len(ls))
	for i, l := range ls {
		all[i] = cid.Cid(l)
	}
	return all
}

type rootJSON struct {
	CID       link `json:"cid"`
	Recursive bool `json:"recursive"`
}

func (r Root) MarshalJSON() ([]byte, error) {
	return json.Marshal(rootJSON{link(r.CID), r.Recursive})
}

func (r *Root) UnmarshalJSON(b []byte) error {
	var v rootJSON
	err := decodeJSON(b, &v)
	*r = Root{cid.Cid(v.CID), v.Recursive}
	return err
}

type pinJSON struct {
	Name    string    `json:"name"`
	Roots   []Root    `json:"roots"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Rest    []link    `json:"rest,omitempty"`
	Opaque  bool      `json:"opaque,omitempty"`
}

func (p Pin) MarshalJSON() ([]byte, error) {
	return json.Marshal(pinJSON{p.Name, p.Roots, p.Created.UTC(), p.Expires.UTC(), linksOf(p.Rest), p.Opaque})
}

func (p *Pin) UnmarshalJSON(b []byte) error {
	var v pinJSON
	err := decodeJSON(b, &v)
	*p = Pin{v.Name, v.Roots, v.Created, v.Expires, cidsOf(v.Rest), v.Opaque}
	return err
}

type runResultJSON struct {
	Peer    string `json:"peer"`
	Outcome link   `json:"outcome"`
	Receipt link   `json:"receipt,omitzero"`
}

func (r RunResult) MarshalJSON() ([]byte, error) {
	return json.Marshal(runResultJSON{r.Peer, link(r.Outcome), link(r.Receipt)})
}

func (r *RunResult) UnmarshalJSON(b []byte) error {
	var v runResultJSON
	err := json.Unmarshal(b, &v)
	*r = RunResult{v.Peer, cid.Cid(v.Outcome), cid.Cid(v.Receipt)}
	return err
}

type mismatchJSON struct {
	Peer    string `json:"peer"`
	Stream  string `json:"stream"`
	Shown   bool   `json:"shown"`
	Issuer  string `json:"issuer"`
	Outcome link   `json:"outcome"`
	Receipt link   `json:"receipt"`
}

func (m Mismatch) MarshalJSON() ([]byte, error) {
	return json.Marshal(mismatchJSON{m.Peer, m.Stream, m.Shown, m.Issuer, link(m.Outcome), link(m.Receipt)})
}

func (m *Mismatch) UnmarshalJSON(b []byte) error {
	var v mismatchJSON
	err := json.Unmarshal(b, &v)
	*m = Mismatch{v.Peer, v.Stream, v.Shown, v.Issuer, cid.Cid(v.Outcome), cid.Cid(v.Receipt)}
	return err
}

type publicationJSON struct {
	Root link      `json:"cid"`
	At   time.Time `json:"published"`
}

func (p Publication) MarshalJSON() ([]byte, error) {
	return json.Marshal(publicationJSON{link(p.Root), p.At.UTC()})
}

func (p *Publication) UnmarshalJSON(b []byte) error {
	var v publicationJSON
	err := json.Unmarshal(b, &v)
	*p = Publication{cid.Cid(v.Root), v.At}
	return err
}

type receiptInfoJSON struct {
	CID      link      `json:"receipt"`
	Issuer   job.DID   `json:"issuer"`
	Task     link      `json:"task"`
	Outcome  link      `json:"outcome"`
	Issued   time.Time `json:"issued"`
	Replayed bool      `json:"replayed"`
	Own      bool      `json:"own"`
}

func (r ReceiptInfo) MarshalJSON() ([]byte, error) {
	return json.Marshal(receiptInfoJSON{link(r.CID), r.Issuer, link(r.Task), link(r.Outcome), r.Issued.UTC(), r.Replayed, r.Own})
}

func (r *ReceiptInfo) UnmarshalJSON(b []byte) error {
	var v receiptInfoJSON
	err := json.Unmarshal(b, &v)
	*r = ReceiptInfo{cid.Cid(v.CID), v.Issuer, cid.Cid(v.Task), cid.Cid(v.Outcome), v.Issued, v.Replayed, v.Own}
	return err
}

type cachedResultJSON struct {
	Task    link      `json:"task"`
	Outcome link      `json:"outcome"`
	Receipt link      `json:"receipt"`
	Issuer  job.DID   `json:"issuer"`
	State   job.State `json:"state"`
	Code    int       `json:"code"`
	Fuel    uint64    `json:"fuel"`
	Size    uint64    `json:"size"`
	Created time.Time `json:"created"`
}

func (r CachedResult) MarshalJSON() ([]byte, error) {
	return json.Marshal(cachedResultJSON{
		link(r.Task), link(r.Outcome), link(r.Receipt), r.Issuer, r.State, r.Code, r.Fuel, r.Size, r.Created.UTC(),
	})
}

func (r *CachedResult) UnmarshalJSON(b []byte) error {
	var v cachedResultJSON
	err := json.Unmarshal(b, &v)
	*r = CachedResult{cid.Cid(v.Task), cid.Cid(v.Outcome), cid.Cid(v.Receipt), v.Issuer, v.State, v.Code, v.Fuel, v.Size, v.Created}
	return err
}

type sourceJSON struct {
	Kind   string `json:"kind"`
	State  string `json:"state,omitempty"`
	Path   string `json:"path"`
	Roots  []link `json:"roots,omitempty"`
	Blocks int64  `json:"blocks"`
	Bytes  int64  `json:"bytes"`
	Disk   int64  `json:"disk,omitempty"`
	Kept   bool   `json:"kept"`
}

func (s Source) MarshalJSON() ([]byte, error) {
	return json.Marshal(sourceJSON{s.Kind, s.State, s.Path, linksOf(s.Roots), s.Blocks, s.Bytes, s.Disk, s.Kept})
}

func (s *Source) UnmarshalJSON(b []byte) error {
	var v sourceJSON
	err := json.Unmarshal(b, &v)
	*s = Source{v.Kind, v.State, v.Path, cidsOf(v.Roots), v.Blocks, v.Bytes, v.Disk, v.Kept}
	return err
}

type coverageJSON struct {
	Have   uint64 `json:"have"`
	Total  uint64 `json:"total"`
	Exact  bool   `json:"exact"`
	Opaque []link `json:"opaque,omitempty"`
}

func (c Coverage) MarshalJSON() ([]byte, error) {
	return json.Marshal(coverageJSON{c.Have, c.Total, c.Exact, linksOf(c.Opaque)})
}

func (c *Coverage) UnmarshalJSON(b []byte) error {
	var v coverageJSON
	err := json.Unmarshal(b, &v)
	*c = Coverage{v.Have, v.Total, v.Exact, cidsOf(v.Opaque)}
	return err
}

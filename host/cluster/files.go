package cluster

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipfs-liftoff/liftoff/host/smallfile"
	"github.com/ipfs-liftoff/liftoff/job"
)

// The folder has the cluster's key, if the cluster was created here, in a file of three lines like the repo's
// identity, and all other state as JSON.
const (
	keyFile  = "key"
	keyMagic = "liftoff cluster 1"
	maxKey   = 1 << 10

	rosterFile = "roster.json"
	maxRoster  = 16 << 20
)

// state is a copy of the Cluster's fields that a change works on. It replaces them when it is on disk.
type state struct {
	self, key ed25519.PrivateKey
	did, id   job.DID
	own       verified
	roster    roster
	invites   map[string]invite
}

func (r roster) clone() roster {
	return roster{r.cluster, maps.Clone(r.members), maps.Clone(r.notices), r.cutoffs} // cutoffs is never changed in place
}

// change applies do to a copy, writes the file, and keeps the copy if both succeeded. The caller holds f.writeMu.
func (f *Cluster) change(do func(*state) error) error {
	if f.dir == "" {
		return errors.New("cluster: this repo has no cluster folder")
	}
	s := state{f.self, f.key, f.did, f.id, f.own, f.roster.clone(), maps.Clone(f.invites)}
	if err := do(&s); err != nil {
		return err
	}
	b, err := json.MarshalIndent(s.file(), "", "\t")
	if err != nil {
		return err
	}
	if len(b) >= maxRoster {
		return fmt.Errorf("write roster: got %d bytes, want at most %d", len(b)+1, maxRoster)
	}
	if err := smallfile.MakeFolder(f.dir); err != nil {
		return fmt.Errorf("write roster: %w", err)
	}
	if err := smallfile.Replace(filepath.Join(f.dir, rosterFile), append(b, '\n')); err != nil {
		return fmt.Errorf("write roster: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key, f.id, f.own, f.roster, f.invites = s.key, s.id, s.own, s.roster, s.invites
	return nil
}

// file is the JSON form of the roster. DIDs and times beside the envelopes are for readers; only the envelopes are
// read back.
type file struct {
	Cluster job.DID           `json:"cluster"`
	Own     Credential        `json:"own"`
	Members []fileMember      `json:"members"`
	Revoked []fileNotice      `json:"revoked"`
	Invites map[string]invite `json:"invitations"` // by the SHA-256 of the secret
}

type fileMember struct {
	DID job.DID `json:"did"`
	Credential
	Invitation string `json:"invitation,omitempty"` // the invitation of this repo that it used
}

type fileNotice struct {
	DID job.DID `json:"did"`
	Notice
}

func (s *state) file() file {
	out := file{Cluster: s.id, Own: s.own.Credential, Members: []fileMember{}, Revoked: []fileNotice{}, Invites: s.invites}
	for _, d := range slices.Sorted(maps.Keys(s.roster.members)) {
		m := s.roster.members[d]
		out.Members = append(out.Members, fileMember{d, m.Credential, m.invitation})
	}
	for _, n := range s.roster.sorted() {
		out.Revoked = append(out.Revoked, fileNotice{n.Member, n.Notice})
	}
	return out
}

// None returns an empty Cluster without a folder, for a repo that has no cluster and may not join one.
func None(self ed25519.PrivateKey) *Cluster {
	return &Cluster{self: self, did: didOf(self), roster: newRoster(""), invites: map[string]invite{}}
}

// Open reads the state of a cluster in the folder dir, if there is one, for the repo whose key is self. A damaged
// file is an error: a revocation is never dropped silently.
func Open(dir string, self ed25519.PrivateKey) (*Cluster, error) {
	f := None(self)
	f.dir = dir
	if err := f.readKey(); err != nil {
		return nil, fmt.Errorf("read cluster key: %w", err)
	}
	path := filepath.Join(dir, rosterFile)
	b, err := smallfile.Read(path, maxRoster)
	if errors.Is(err, fs.ErrNotExist) {
		f.key = nil // of an Init that was interrupted
		return f, nil
	}
	if err == nil {
		err = f.readRoster(b)
	}
	if err != nil {
		return nil, fmt.Errorf("roster file %s is damaged: %w", path, err)
	}
	return f, nil
}

func (f *Cluster) readRoster(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var in file
	if err := d.Decode(&in); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("trailing data after the roster")
	}
	if in.Cluster == "" {
		f.key = nil // of an Init that was interrupted
		return nil
	}
	if f.key != nil && didOf(f.key) != in.Cluster {
		return fmt.Errorf("file %s does not hold the key of the cluster %s", keyFile, in.Cluster)
	}
	own, err := in.Own.read(in.Cluster)
	if err != nil {
		return fmt.Errorf("own membership: %w", err)
	}
	if own.m.Member != f.did {
		return fmt.Errorf("own membership: got the membership of another key, %s", own.m.Member)
	}
	f.id, f.own, f.roster = in.Cluster, own, newRoster(in.Cluster)
	for _, m := range in.Members {
		got, err := m.read(in.Cluster)
		if err != nil {
			return fmt.Errorf("roster entry of member %s: %w", m.DID, err)
		}
		if got.m.Member != m.DID {
			return fmt.Errorf("roster entry of member %s: got the membership of %s", m.DID, got.m.Member)
		}
		got.invitation = m.Invitation
		f.roster.members[m.DID] = got
	}
	for _, n := range in.Revoked {
		v, err := n.read(in.Cluster)
		if err == nil && v.Member != n.DID {
			err = fmt.Errorf("got the revocation of another key, %s", v.Member)
		}
		if err != nil {
			return fmt.Errorf("roster entry of revoked member %s: %w", n.DID, err)
		}
		f.roster.notices[noticeKey{v.Member, v.Issuer}] = v
	}
	f.roster.index()
	if in.Invites != nil {
		f.invites = in.Invites
	}
	return nil
}

func (f *Cluster) writeKey(key ed25519.PrivateKey) error {
	content := fmt.Sprintf("%s\n%s\n%s\n", keyMagic, didOf(key), base64.StdEncoding.EncodeToString(key.Seed()))
	err := smallfile.MakeFolder(f.dir)
	if err == nil {
		err = smallfile.Replace(filepath.Join(f.dir, keyFile), []byte(content))
	}
	if err != nil {
		return fmt.Errorf("write cluster key: %w", err)
	}
	return nil
}

// deleteKey deletes the key of an interrupted Init, so that it is not taken for the key of another cluster.
func (f *Cluster) deleteKey() error {
	err := os.Remove(filepath.Join(f.dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f *Cluster) readKey() error {
	b, err := smallfile.Read(filepath.Join(f.dir, keyFile), maxKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) != 4 || lines[0] != keyMagic || lines[3] != "" {
		return errors.New("want three lines, the first one " + keyMagic)
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(seed) != ed25519.SeedSize {
		return errors.New("invalid cluster key")
	}
	key := ed25519.NewKeyFromSeed(seed)
	if string(didOf(key)) != lines[1] {
		return errors.New("cluster key and its did:key do not match")
	}
	f.key = key
	return nil
}

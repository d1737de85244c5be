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

// The folder has a key, if the cluster was made here, of three lines like the repo's
// identity, and the rest as JSON.
const (
	keyFile  = "key"
	keyMagic = "liftoff cluster 1"
	maxKey   = 1 << 10

	rosterFile = "roster.json"
	maxRoster  = 16 << 20
)

// state is what a change works on: a copy, which becomes the Cluster's own when it is on
// disk.
type state struct {
	self, key ed25519.PrivateKey
	me, id    job.DID
	own       shown
	roster    roster
	invites   map[string]invite
}

func (r roster) clone() roster {
	return roster{r.cluster, maps.Clone(r.members), maps.Clone(r.notices), r.ended} // which is never changed in place
}

// change applies do, writes the file, and takes the result over if both went well. The
// caller holds f.changing.
func (f *Cluster) change(do func(*state) error) error {
	if f.dir == "" {
		return errors.New("this repo keeps no cluster")
	}
	s := state{f.self, f.key, f.me, f.id, f.own, f.roster.clone(), maps.Clone(f.invites)}
	if err := do(&s); err != nil {
		return err
	}
	b, err := json.MarshalIndent(s.file(), "", "\t")
	if err != nil {
		return err
	}
	if len(b) >= maxRoster {
		return fmt.Errorf("the cluster's roster takes at most %d bytes", maxRoster)
	}
	if err := smallfile.MakeFolder(f.dir); err != nil {
		return fmt.Errorf("keep the cluster: %w", err)
	}
	if err := smallfile.Replace(filepath.Join(f.dir, rosterFile), append(b, '\n')); err != nil {
		return fmt.Errorf("keep the cluster: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key, f.id, f.own, f.roster, f.invites = s.key, s.id, s.own, s.roster, s.invites
	return nil
}

// file is the form of the roster on disk. DIDs and times stand beside the envelopes for
// people; what is read are the envelopes.
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
	Invitation string `json:"invitation,omitempty"` // of ours that it came by
}

type fileNotice struct {
	DID job.DID `json:"did"`
	Notice
}

func (s *state) file() file {
	out := file{Cluster: s.id, Own: s.own.Credential, Members: []fileMember{}, Revoked: []fileNotice{}, Invites: s.invites}
	for _, d := range slices.Sorted(maps.Keys(s.roster.members)) {
		m := s.roster.members[d]
		out.Members = append(out.Members, fileMember{d, m.Credential, m.by})
	}
	for _, n := range s.roster.sorted() {
		out.Revoked = append(out.Revoked, fileNotice{n.Member, n.Notice})
	}
	return out
}

// None returns an empty Cluster that keeps nothing on disk, for a repo that neither has a
// cluster nor may join one.
func None(self ed25519.PrivateKey) *Cluster {
	return &Cluster{self: self, me: didOf(self), roster: newRoster(""), invites: map[string]invite{}}
}

// Open reads what the folder dir knows of a cluster, if it is there, for the repo whose
// key is self. A damaged file is an error: who was revoked is never forgotten silently.
func Open(dir string, self ed25519.PrivateKey) (*Cluster, error) {
	f := None(self)
	f.dir = dir
	if err := f.readKey(); err != nil {
		return nil, fmt.Errorf("read the cluster's key: %w", err)
	}
	path := filepath.Join(dir, rosterFile)
	b, err := smallfile.Read(path, maxRoster)
	if errors.Is(err, fs.ErrNotExist) {
		f.key = nil // of a cluster whose making was cut short
		return f, nil
	}
	if err == nil {
		err = f.readRoster(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not describe a cluster: %w", path, err)
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
		return errors.New("more after the roster")
	}
	if in.Cluster == "" {
		f.key = nil // of a cluster whose making was cut short
		return nil
	}
	if f.key != nil && didOf(f.key) != in.Cluster {
		return fmt.Errorf("the key in %s is not that of the cluster %s", keyFile, in.Cluster)
	}
	own, err := in.Own.read(in.Cluster)
	if err != nil {
		return fmt.Errorf("own membership: %w", err)
	}
	if own.m.Member != f.me {
		return fmt.Errorf("own membership: it is that of %s", own.m.Member)
	}
	f.id, f.own, f.roster = in.Cluster, own, newRoster(in.Cluster)
	for _, m := range in.Members {
		got, err := m.read(in.Cluster)
		if err != nil {
			return fmt.Errorf("member %s: %w", m.DID, err)
		}
		if got.m.Member != m.DID {
			return fmt.Errorf("member %s: it is the membership of %s", m.DID, got.m.Member)
		}
		got.by = m.Invitation
		f.roster.members[m.DID] = got
	}
	for _, n := range in.Revoked {
		v, err := n.read(in.Cluster)
		if err == nil && v.Member != n.DID {
			err = fmt.Errorf("it is of %s", v.Member)
		}
		if err != nil {
			return fmt.Errorf("revocation of %s: %w", n.DID, err)
		}
		f.roster.notices[noticeKey{v.Member, v.Issuer}] = v
	}
	f.roster.index()
	if in.Invites != nil {
		f.invites = in.Invites
	}
	return nil
}

func (f *Cluster) keepKey(key ed25519.PrivateKey) error {
	content := fmt.Sprintf("%s\n%s\n%s\n", keyMagic, didOf(key), base64.StdEncoding.EncodeToString(key.Seed()))
	err := smallfile.MakeFolder(f.dir)
	if err == nil {
		err = smallfile.Replace(filepath.Join(f.dir, keyFile), []byte(content))
	}
	if err != nil {
		return fmt.Errorf("keep the cluster's key: %w", err)
	}
	return nil
}

// forgetKey removes the key of a cluster whose making was cut short, so that it is not taken
// for that of another cluster.
func (f *Cluster) forgetKey() error {
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
		return errors.New("it is not three lines that begin with " + keyMagic)
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(seed) != ed25519.SeedSize {
		return errors.New("it holds no key")
	}
	key := ed25519.NewKeyFromSeed(seed)
	if string(didOf(key)) != lines[1] {
		return errors.New("its key is not that of the did:key in it")
	}
	f.key = key
	return nil
}

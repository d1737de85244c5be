package job

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"

	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// Role is the role of a member in a cluster.
type Role string

// The roles.
const (
	RoleMember Role = "member" // uses the peers of the cluster, and is used by them
	RoleAdmin  Role = "admin"  // also invites, renews, and revokes members
)

// Membership states that Member belongs to Cluster. An admin's membership is issued by the cluster
// key. It is also the delegation by which the admin issues memberships.
type Membership struct {
	Issuer  DID // the cluster key, or an admin
	Cluster DID
	Member  DID
	Role    Role
	Issued  int64 // ms since 1970
	Expires int64 // ms since 1970, at most MaxMembershipLife after Issued
}

// Revocation ends the memberships of Member that were issued up to its own time. It is issued by
// the cluster key or, unless Member is an admin, by an admin.
type Revocation struct {
	Issuer  DID
	Cluster DID
	Member  DID
	Seq     uint64 // increases with each revocation of the issuer in the cluster
	Issued  int64  // ms since 1970
}

// Bounds of the statements about a cluster.
const (
	MaxMembershipLife = 90 * 24 * 60 * 60 * 1000 // ms
	MaxMembership     = 1 << 10                  // bytes of the envelope
	MaxRevocation     = 1 << 10                  // bytes of the envelope
)

// Sign returns the envelope. It sets s.Issuer to key's did:key.
func (s Membership) Sign(key ed25519.PrivateKey) ([]byte, error) {
	s.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	return seal(s, key)
}

// DecodeMembership decodes an envelope strictly and verifies its signature. The error is
// ErrSignature when only the signature is wrong. It does not check the authority of the issuer.
func DecodeMembership(b []byte) (Membership, error) {
	return unseal(b, func(r *record) Membership {
		return Membership{
			Issuer: DID(r.str("iss")), Cluster: DID(r.str("cluster")), Member: DID(r.str("sub")), Role: Role(r.str("role")),
			Issued: int64(r.uint("iat")), Expires: int64(r.uint("exp")),
		}
	})
}

func (s Membership) form() form {
	return form{name: "membership", tag: "liftoff/member@1", max: MaxMembership}
}
func (s Membership) issuer() DID { return s.Issuer }

func (s Membership) fields(m datamodel.MapAssembler) {
	qp.MapEntry(m, "iss", qp.String(string(s.Issuer)))
	qp.MapEntry(m, "cluster", qp.String(string(s.Cluster)))
	qp.MapEntry(m, "sub", qp.String(string(s.Member)))
	qp.MapEntry(m, "role", qp.String(string(s.Role)))
	qp.MapEntry(m, "iat", qp.Int(s.Issued))
	qp.MapEntry(m, "exp", qp.Int(s.Expires))
}

func (s Membership) validate() error {
	if _, err := s.Cluster.Key(); err != nil {
		return fmt.Errorf("membership: cluster: %w", err)
	}
	if _, err := s.Member.Key(); err != nil {
		return fmt.Errorf("membership: member: %w", err)
	}
	switch {
	case s.Role != RoleMember && s.Role != RoleAdmin:
		return fmt.Errorf("membership: unknown role %.40q", string(s.Role))
	case s.Issued < 0 || s.Expires <= s.Issued || s.Expires-s.Issued > MaxMembershipLife:
		return fmt.Errorf("membership: lifetime: got %d ms, want 1 to %d", s.Expires-s.Issued, int64(MaxMembershipLife))
	case s.Role == RoleAdmin && s.Issuer != s.Cluster:
		return errors.New("membership: an admin needs a membership issued by the cluster key")
	}
	return nil
}

// Sign returns the envelope. It sets r.Issuer to key's did:key.
func (r Revocation) Sign(key ed25519.PrivateKey) ([]byte, error) {
	r.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	return seal(r, key)
}

// DecodeRevocation decodes an envelope strictly and verifies its signature. The error is
// ErrSignature when only the signature is wrong. It does not check the authority of the issuer.
func DecodeRevocation(b []byte) (Revocation, error) {
	return unseal(b, func(r *record) Revocation {
		return Revocation{
			Issuer: DID(r.str("iss")), Cluster: DID(r.str("cluster")), Member: DID(r.str("sub")),
			Seq: r.uint("seq"), Issued: int64(r.uint("iat")),
		}
	})
}

func (r Revocation) form() form {
	return form{name: "revocation", tag: "liftoff/revoke@1", max: MaxRevocation}
}
func (r Revocation) issuer() DID { return r.Issuer }

func (r Revocation) fields(m datamodel.MapAssembler) {
	qp.MapEntry(m, "iss", qp.String(string(r.Issuer)))
	qp.MapEntry(m, "cluster", qp.String(string(r.Cluster)))
	qp.MapEntry(m, "sub", qp.String(string(r.Member)))
	qp.MapEntry(m, "seq", qp.Int(int64(r.Seq)))
	qp.MapEntry(m, "iat", qp.Int(r.Issued))
}

func (r Revocation) validate() error {
	if _, err := r.Cluster.Key(); err != nil {
		return fmt.Errorf("revocation: cluster: %w", err)
	}
	if _, err := r.Member.Key(); err != nil {
		return fmt.Errorf("revocation: member: %w", err)
	}
	if r.Issued < 0 || r.Seq > math.MaxInt64 {
		return errors.New("revocation: time of issue or sequence number out of range")
	}
	if r.Member == r.Cluster {
		return errors.New("revocation: member is the cluster itself")
	}
	return nil
}

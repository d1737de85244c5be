package docker

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	refs "github.com/distribution/reference"
	"github.com/moby/moby/client"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// image is an image that the engine has.
type image struct {
	id      string // "sha256:…"
	digests []string
	volumes []string // declared volume paths
}

// images caches what the engine reported: an image with a given id does not change.
type images struct {
	mu    sync.Mutex
	known map[string]image // by the requested name; only names with a digest or a CID
	used  []string         // tags of archives, most recently used last
}

// maxKnown bounds the cached images.
const maxKnown = 1024

func (i *images) get(name string) (image, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	im, ok := i.known[name]
	return im, ok
}

func (i *images) put(name string, im image) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known == nil || len(i.known) >= maxKnown {
		i.known = map[string]image{}
	}
	i.known[name] = im
}

func (i *images) forget(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.known, name)
}

// reference decodes the module of a Task as an image reference.
func reference(block []byte) (job.Image, error) {
	i, err := job.DecodeImage(block)
	if err == nil {
		_, err = repository(i.Ref)
	}
	if err != nil {
		return job.Image{}, wire.Refusef("module: not an image reference: %v", err)
	}
	return i, nil
}

// repository returns a reference without its tag and digest: "docker.io/library/alpine". It is
// empty for an image id.
func repository(ref string) (string, error) {
	r, err := refs.ParseAnyReference(ref)
	if err != nil {
		return "", fmt.Errorf("invalid image reference %q: %w", ref, err)
	}
	if named, ok := r.(refs.Named); ok {
		return named.Name(), nil
	}
	return "", nil
}

// inspect asks the engine for an image. If the engine does not have it, isNotFound holds for
// the error.
func (e *Engine) inspect(ctx context.Context, name string) (image, error) {
	if im, ok := e.images.get(name); ok {
		return im, nil
	}
	res, err := e.docker.ImageInspect(ctx, name)
	if err != nil {
		return image{}, err
	}
	im := image{id: res.ID, digests: res.RepoDigests}
	if res.Config != nil {
		for p := range res.Config.Volumes {
			im.volumes = append(im.volumes, p)
		}
	}
	e.images.put(name, im)
	return im, nil
}

// find returns the image of a reference with a digest, and pulls it if that is allowed.
func (e *Engine) find(ctx context.Context, i job.Image) (name string, im image, err error) {
	repo, err := repository(i.Ref)
	if err != nil {
		return "", image{}, wire.Refusef("%v", err)
	}
	digest := "sha256:" + hex.EncodeToString(i.Digest)
	names := []string{digest}
	if repo != "" {
		names = append(names, repo+"@"+digest)
	}
	for _, name := range names {
		im, err := e.inspect(ctx, name)
		if !isNotFound(err) {
			return name, im, err
		}
	}
	if repo == "" {
		return "", image{}, fmt.Errorf("docker engine: image %s not found", digest)
	}
	if e.cfg.NoPull {
		return "", image{}, fmt.Errorf("docker engine: image %s@%s not found, and pulling is disabled", repo, digest)
	}
	name = repo + "@" + digest
	if err := e.pull(ctx, name); err != nil {
		return "", image{}, err
	}
	im, err = e.inspect(ctx, name)
	return name, im, err
}

// pull fetches an image from its registry.
func (e *Engine) pull(ctx context.Context, name string) error {
	res, err := e.docker.ImagePull(ctx, name, client.ImagePullOptions{})
	if err == nil {
		err = res.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("pull image %s: %w", name, err)
	}
	return nil
}

// Resolve implements wire.Resolver: it returns the digest that the engine has for a reference,
// or else the digest in its registry.
func (e *Engine) Resolve(ctx context.Context, ref string) (digest [32]byte, err error) {
	if _, err := e.ready(ctx); err != nil {
		return digest, err
	}
	r, err := refs.ParseAnyReference(ref)
	if err != nil {
		return digest, wire.Refusef("invalid image reference %q: %v", ref, err)
	}
	if d, ok := r.(refs.Digested); ok {
		return digestOf(d.Digest().String())
	}
	named, ok := r.(refs.Named)
	if !ok {
		return digest, wire.Refusef("invalid image reference %q", ref)
	}
	named = refs.TagNameOnly(named)
	defer e.images.forget(named.String()) // a tag may name another image next time
	im, err := e.inspect(ctx, named.String())
	switch {
	case isNotFound(err) && e.cfg.NoPull:
		return digest, wire.Refusef("docker engine: image %q not found, and pulling is disabled", ref)
	case isNotFound(err):
		if err := e.pull(ctx, named.String()); err != nil {
			var denied interface{ Denied() }
			if isNotFound(err) || errdefs.IsPermissionDenied(err) || errors.As(err, &denied) {
				return digest, wire.Refusef("%v", err)
			}
			return digest, err
		}
		if im, err = e.inspect(ctx, named.String()); err != nil {
			return digest, err
		}
	case err != nil:
		return digest, err
	}
	for _, d := range im.digests { // digests of a registry, which other peers can pull
		if repo, digest, ok := strings.Cut(d, "@"); ok && repo == named.Name() || ok && "docker.io/library/"+repo == named.Name() || ok && "docker.io/"+repo == named.Name() {
			return digestOf(digest)
		}
	}
	return digestOf(im.id)
}

// digestOf parses "sha256:" and 64 hex digits.
func digestOf(s string) (d [32]byte, err error) {
	digits, ok := strings.CutPrefix(s, "sha256:")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(d) {
		return d, wire.Refusef("image digest: got %q, want sha256:HEX", s)
	}
	return [32]byte(b), nil
}

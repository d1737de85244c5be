package docker

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	goruntime "runtime"
	"strings"

	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// Limits of an image that is loaded from blocks.
const (
	maxJSON   = 4 << 20 // bytes of an index, a manifest or a configuration
	maxLayers = 256
	maxNested = 4 // levels of nested indexes
)

// part is a file of an archive.
type part struct {
	name   string
	digest string // "sha256:…", or "" if the archive does not name it
}

// contents is the image that an archive describes: the parts that the engine needs.
type contents struct {
	config part
	layers []part
}

// readContents finds the image for this machine's platform in an archive: an OCI image layout,
// or the older format of `docker save`. An archive that breaks its format is a refusal.
func readContents(l layout) (contents, error) {
	if l.has("index.json") {
		return readIndex(l, part{name: "index.json"}, 0)
	}
	if l.has("manifest.json") {
		return readSaved(l)
	}
	return contents{}, wire.Refusef("module: not an OCI archive: neither index.json nor manifest.json found")
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Platform  *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

// readIndex finds the manifest for this machine's platform.
func readIndex(l layout, p part, depth int) (contents, error) {
	if depth >= maxNested {
		return contents{}, wire.Refusef("image archive: indexes nested more than %d deep", maxNested)
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := readJSON(l, p, &index); err != nil {
		return contents{}, err
	}
	for _, d := range index.Manifests {
		if len(index.Manifests) > 1 && (d.Platform == nil || d.Platform.OS != "linux" || d.Platform.Architecture != goruntime.GOARCH) {
			continue
		}
		p, err := blob(d.Digest)
		if err != nil {
			return contents{}, err
		}
		if strings.Contains(d.MediaType, "index") || strings.Contains(d.MediaType, "manifest.list") {
			return readIndex(l, p, depth+1)
		}
		return readManifest(l, p)
	}
	return contents{}, wire.Refusef("image archive: no image for linux/%s", goruntime.GOARCH)
}

func readManifest(l layout, p part) (contents, error) {
	var m struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := readJSON(l, p, &m); err != nil {
		return contents{}, err
	}
	config, err := blob(m.Config.Digest)
	if err != nil {
		return contents{}, err
	}
	if len(m.Layers) > maxLayers {
		return contents{}, wire.Refusef("image archive: got %d layers, want at most %d", len(m.Layers), maxLayers)
	}
	c := contents{config: config}
	for _, d := range m.Layers {
		layer, err := blob(d.Digest)
		if err != nil {
			return contents{}, err
		}
		c.layers = append(c.layers, layer)
	}
	return c, nil
}

// readSaved reads the format of `docker save` before version 25. The engine itself checks the
// layers against the configuration.
func readSaved(l layout) (contents, error) {
	var saved []struct {
		Config string   `json:"Config"`
		Layers []string `json:"Layers"`
	}
	if err := readJSON(l, part{name: "manifest.json"}, &saved); err != nil {
		return contents{}, err
	}
	if len(saved) != 1 || len(saved[0].Layers) > maxLayers {
		return contents{}, wire.Refusef("image archive: got %d images, want one with at most %d layers", len(saved), maxLayers)
	}
	c := contents{config: part{name: path.Clean(saved[0].Config)}}
	for _, name := range saved[0].Layers {
		c.layers = append(c.layers, part{name: path.Clean(name)})
	}
	return c, nil
}

// blob returns the file of a digest in an OCI image layout.
func blob(digest string) (part, error) {
	if _, err := digestOf(digest); err != nil {
		return part{}, err
	}
	return part{name: "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:"), digest: digest}, nil
}

// readJSON reads a small file and checks its digest.
func readJSON(l layout, p part, v any) error {
	b, err := readSmall(l, p)
	if err == nil {
		if jerr := json.Unmarshal(b, v); jerr != nil {
			return wire.Refusef("image archive: %s: %v", p.name, jerr)
		}
	}
	return err
}

func readSmall(l layout, p part) ([]byte, error) {
	r, n, err := l.open(p.name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if n > maxJSON {
		return nil, wire.Refusef("image archive: %s: got %d bytes, want at most %d", p.name, n, maxJSON)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxJSON))
	if err != nil {
		return nil, fmt.Errorf("read image archive: %s: %w", p.name, err)
	}
	if sum := sha256.Sum256(b); p.digest != "" && p.digest != "sha256:"+hex.EncodeToString(sum[:]) {
		return nil, wire.Refusef("image archive: %s: wrong digest", p.name)
	}
	return b, nil
}

// checkLayers reads all layers: each has to match its digest, and unpacked they may have at
// most limit bytes together.
func checkLayers(ctx context.Context, l layout, layers []part, limit int64) error {
	for _, p := range layers {
		n, err := checkLayer(ctx, l, p, limit)
		if err != nil {
			return err
		}
		limit -= n
	}
	return nil
}

// checkLayer returns the unpacked size of a layer, in bytes.
func checkLayer(ctx context.Context, l layout, p part, limit int64) (int64, error) {
	r, _, err := l.open(p.name)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	sum := sha256.New()
	raw := io.TeeReader(r, sum)
	var magic [4]byte
	k, err := io.ReadFull(raw, magic[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return 0, fmt.Errorf("read image archive: %s: %w", p.name, err)
	}
	whole := io.MultiReader(bytes.NewReader(magic[:k]), raw)
	unpacked := whole
	switch {
	case bytes.HasPrefix(magic[:k], []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(whole)
		if err != nil {
			return 0, wire.Refusef("image archive: %s: %v", p.name, err)
		}
		unpacked = z
	case bytes.HasPrefix(magic[:k], []byte{0x28, 0xb5, 0x2f, 0xfd}), bytes.HasPrefix(magic[:k], []byte("BZh")), bytes.HasPrefix(magic[:k], []byte("\xfd7zX")):
		return 0, wire.Refusef("image archive: %s: unsupported compression, want tar or gzip", p.name)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(cancelled{ctx, unpacked}, limit+1))
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case err != nil:
		return 0, wire.Refusef("image archive: %s: %v", p.name, err)
	case n > limit:
		return 0, wire.Refusef("image archive: too large: its unpacked size exceeds this peer's limit")
	}
	if _, err := io.Copy(io.Discard, whole); err != nil { // what follows the compressed part
		return 0, fmt.Errorf("read image archive: %s: %w", p.name, err)
	}
	if p.digest != "" && p.digest != "sha256:"+hex.EncodeToString(sum.Sum(nil)) {
		return 0, wire.Refusef("image archive: %s: wrong digest", p.name)
	}
	return n, nil
}

// cancelled is a reader that fails once ctx is cancelled.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

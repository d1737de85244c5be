package docker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/docker/dockertest"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// file writes b to a temporary file, as an archive.
func file(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "module")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// read performs all checks of an archive that come before it is sent to the engine.
func read(t testing.TB, name string, limit int64) (contents, []byte, error) {
	t.Helper()
	l, err := openLayout(name)
	if err != nil {
		return contents{}, nil, err
	}
	defer l.Close()
	c, err := readContents(l)
	if err != nil {
		return contents{}, nil, err
	}
	config, err := readSmall(l, c.config)
	if err != nil {
		return contents{}, nil, err
	}
	if err := checkLayers(t.Context(), l, c.layers, limit); err != nil {
		return contents{}, nil, err
	}
	var out bytes.Buffer
	return c, out.Bytes(), writeSaved(&out, l, c, config, "liftoff-oci:x")
}

func TestArchive(t *testing.T) {
	files := dockertest.Image{Program: []byte("program")}.Layout(t)
	c, _, err := read(t, file(t, dockertest.Tar(t, files...)), 1<<20)
	if err != nil || len(c.layers) != 1 || c.config.digest == "" {
		t.Errorf("%+v, %v", c, err)
	}
	dir := t.TempDir()
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if d, _, err := read(t, dir, 1<<20); err != nil || fmt.Sprint(d) != fmt.Sprint(c) {
		t.Errorf("unpacked archive: %+v, %v", d, err)
	}
}

// TestSavedForm checks what the engine is sent: only our own tag, whatever the archive names.
func TestSavedForm(t *testing.T) {
	layer := dockertest.Tar(t, dockertest.File{Name: "x", Data: []byte("x")})
	archive := dockertest.Tar(t,
		dockertest.File{Name: "manifest.json", Data: []byte(`[{"Config":"c.json","RepoTags":["alpine:latest"],"Layers":["a/layer.tar"]}]`)},
		dockertest.File{Name: "c.json", Data: []byte(`{}`)}, dockertest.File{Name: "a/layer.tar", Data: layer},
		dockertest.File{Name: "../../etc/passwd", Data: []byte("root")})
	l, err := openLayout(file(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := readContents(l)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeSaved(&out, l, c, []byte(`{}`), "liftoff-oci:cid"); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(b)
	}
	if len(got) != 3 || got["0.tar"] != string(layer) || got["manifest.json"] != `[{"Config":"config.json","RepoTags":["liftoff-oci:cid"],"Layers":["0.tar"]}]` {
		t.Errorf("the engine is sent %q", got)
	}
}

// index returns a file of a layout: an index of descriptors.
func index(t testing.TB, descriptors ...map[string]any) dockertest.File {
	t.Helper()
	b, err := json.Marshal(map[string]any{"manifests": descriptors})
	if err != nil {
		t.Fatal(err)
	}
	return dockertest.File{Name: "index.json", Data: b}
}

func blobFile(b []byte) dockertest.File {
	return dockertest.File{Name: "blobs/sha256/" + strings.TrimPrefix(dockertest.Digest(b), "sha256:"), Data: b}
}

func packed(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// withLayer returns an archive of one image with one layer, named by digest.
func withLayer(t testing.TB, layer []byte, digest string) []byte {
	config := []byte(`{}`)
	manifest, err := json.Marshal(map[string]any{
		"config": map[string]any{"digest": dockertest.Digest(config)}, "layers": []any{map[string]any{"digest": digest}},
	})
	if err != nil {
		t.Fatal(err)
	}
	layerFile := dockertest.File{Name: "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:"), Data: layer}
	return dockertest.Tar(t, index(t, map[string]any{"digest": dockertest.Digest(manifest)}), blobFile(manifest), blobFile(config), layerFile)
}

// TestHostileArchives checks archives that break the format: each is refused, not a machine
// fault.
func TestHostileArchives(t *testing.T) {
	bomb := packed(t, make([]byte, 1<<20))
	cut := packed(t, []byte("hello"))[:20]
	self := index(t, map[string]any{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + strings.Repeat("0", 64)})
	nested := []dockertest.File{{Name: "blobs/sha256/x", Data: nil}}
	below := index(t).Data
	for range maxNested + 1 { // each index names the previous one
		nested = append(nested, blobFile(below))
		below = index(t, map[string]any{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": dockertest.Digest(below)}).Data
	}
	nested = append(nested, dockertest.File{Name: "index.json", Data: below})
	var many []dockertest.File
	for i := range maxEntries + 1 {
		many = append(many, dockertest.File{Name: fmt.Sprint(i)})
	}
	other := map[string]any{"digest": "sha256:" + strings.Repeat("0", 64), "platform": map[string]string{"os": "plan9", "architecture": "mips"}}
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"nothing":           {nil, "neither index.json nor manifest.json"},
		"text":              {[]byte(strings.Repeat("hello ", 1000)), "not an OCI archive"},
		"no image":          {dockertest.Tar(t, index(t)), "no image"},
		"another machine":   {dockertest.Tar(t, index(t, other, other)), "no image"},
		"no JSON":           {dockertest.Tar(t, dockertest.File{Name: "index.json", Data: []byte("{")}), "index.json"},
		"a long index":      {dockertest.Tar(t, dockertest.File{Name: "index.json", Data: bytes.Repeat([]byte(" "), maxJSON+1)}), "at most"},
		"no blob":           {dockertest.Tar(t, self), "blobs"},
		"a path for digest": {dockertest.Tar(t, index(t, map[string]any{"digest": "sha256:../../../etc/passwd"})), "want sha256"},
		"other digest":      {dockertest.Tar(t, index(t, map[string]any{"digest": "sha512:" + strings.Repeat("0", 128)})), "want sha256"},
		"nested indexes":    {dockertest.Tar(t, nested...), "nested"},
		"many files":        {dockertest.Tar(t, many...), "more than"},
		"wrong layer":       {withLayer(t, []byte("other"), dockertest.Digest([]byte("layer"))), "wrong digest"},
		"wrong packed":      {withLayer(t, packed(t, []byte("other")), dockertest.Digest([]byte("layer"))), "wrong digest"},
		"bomb":              {withLayer(t, bomb, dockertest.Digest(bomb)), "too large"},
		"broken gzip":       {withLayer(t, cut, dockertest.Digest(cut)), "unexpected EOF"},
		"zstd":              {withLayer(t, []byte("\x28\xb5\x2f\xfdxxx"), dockertest.Digest([]byte("\x28\xb5\x2f\xfdxxx"))), "unsupported compression"},
		"two saved":         {dockertest.Tar(t, dockertest.File{Name: "manifest.json", Data: []byte(`[{},{}]`)}), "2 images"},
		"saved, no file":    {dockertest.Tar(t, dockertest.File{Name: "manifest.json", Data: []byte(`[{"Config":"/etc/passwd"}]`)}), "/etc/passwd not found"},
	} {
		_, _, err := read(t, file(t, c.archive), 64<<10)
		var refused *wire.RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want a refusal that contains %q", name, err, c.says)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l, err := openLayout(file(t, withLayer(t, bomb, dockertest.Digest(bomb))))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := checkLayers(ctx, l, []part{{name: blobFile(bomb).Name}}, 1<<30); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled check: %v", err)
	}
}

// FuzzArchive reads arbitrary bytes as an archive.
func FuzzArchive(f *testing.F) {
	f.Add(dockertest.Tar(f, dockertest.Image{Program: []byte("program")}.Layout(f)...))
	f.Add(withLayer(f, []byte("layer"), dockertest.Digest([]byte("layer"))))
	f.Add(dockertest.Tar(f, dockertest.File{Name: "manifest.json", Data: []byte(`[{"Config":"c","Layers":["l"]}]`)}, dockertest.File{Name: "c"}, dockertest.File{Name: "l"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, _, err := read(t, file(t, b), 1<<20); err == nil && c.config.name == "" {
			t.Error("an image without a configuration was accepted")
		}
	})
}

func TestGuestUser(t *testing.T) {
	for want, id := range map[string][2]int{"65534:65534": {0, 0}, "1000:65534": {1000, 0}, "7:8": {7, 8}} {
		if got := guestUser(id[0], id[1]); got != want {
			t.Errorf("guestUser(%v) = %s, want %s", id, got, want)
		}
	}
}

func TestLoaded(t *testing.T) {
	var refused *wire.RefusedError
	if err := loaded(strings.NewReader(`{"stream":"a"}{"error":"no"}`)); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
	if err := loaded(strings.NewReader(`{"stream":"a"}`)); err != nil {
		t.Error(err)
	}
}

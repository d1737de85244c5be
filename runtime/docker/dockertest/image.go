package dockertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"testing"
)

// Guest builds the static program of the images and returns its bytes.
func Guest(t testing.TB) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "github.com/ipfs-liftoff/liftoff/runtime/docker/dockertest/testdata/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// File is a file of an archive.
type File struct {
	Name string
	Data []byte
}

// Image describes an image for an archive.
type Image struct {
	Program []byte   // /guest
	Entry   string   // the entry point; empty: /guest
	Volumes []string // declared volumes
	User    string
	Health  bool // it has a health check that prints
}

// Layout returns the files of an OCI image layout.
func (i Image) Layout(t testing.TB) []File {
	t.Helper()
	layer := Tar(t, File{"guest", i.Program})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(layer); err != nil {
		t.Fatal(err)
	}
	z.Close()
	volumes := map[string]struct{}{}
	for _, v := range i.Volumes {
		volumes[v] = struct{}{}
	}
	entry := i.Entry
	if entry == "" {
		entry = "/guest"
	}
	inner := map[string]any{"Entrypoint": []string{entry}, "Volumes": volumes, "User": i.User, "Env": []string{"PATH=/"}}
	if i.Health {
		inner["Healthcheck"] = map[string]any{"Test": []string{"CMD", "/guest", "ok"}, "Interval": 1_000_000}
	}
	config := encode(t, map[string]any{
		"architecture": goruntime.GOARCH, "os": "linux", "config": inner,
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{Digest(layer)}},
		"history": []any{map[string]any{"created_by": "dockertest"}},
	})
	manifest := encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": describe("application/vnd.oci.image.config.v1+json", config),
		"layers": []any{describe("application/vnd.oci.image.layer.v1.tar+gzip", packed.Bytes())},
	})
	index := encode(t, map[string]any{
		"schemaVersion": 2, "manifests": []any{describe("application/vnd.oci.image.manifest.v1+json", manifest)},
	})
	return []File{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
		blob(manifest), blob(config), blob(packed.Bytes()),
	}
}

// Digest returns "sha256:" and the SHA-256 of b in hex.
func Digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func blob(b []byte) File { return File{"blobs/sha256/" + Digest(b)[len("sha256:"):], b} }

func describe(mediaType string, b []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": Digest(b), "size": len(b)}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Tar returns a tar archive of files, all of them executable.
func Tar(t testing.TB, files ...File) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.Name, Mode: 0o755, Size: int64(len(f.Data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

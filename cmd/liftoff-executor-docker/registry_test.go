package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/runtime/docker/dockertest"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// registry serves one image under one name, as OCI registries do, and counts the requests.
func registry(t *testing.T, name string, im dockertest.Image) (host, digest string, asked *atomic.Int64) {
	t.Helper()
	blobs := map[string][]byte{}
	for _, f := range im.Layout(t) {
		if d, ok := strings.CutPrefix(f.Name, "blobs/sha256/"); ok {
			blobs["sha256:"+d] = f.Data
		}
		if f.Name == "index.json" {
			var index struct {
				Manifests []struct{ Digest string }
			}
			if err := json.Unmarshal(f.Data, &index); err != nil {
				t.Fatal(err)
			}
			digest = index.Manifests[0].Digest
		}
	}
	asked = new(atomic.Int64)
	m := http.NewServeMux()
	m.HandleFunc("/v2/{$}", func(http.ResponseWriter, *http.Request) {})
	m.HandleFunc("/v2/"+name+"/manifests/{ref}", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if ref := r.PathValue("ref"); ref != digest && ref != "1" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", digest)
		w.Header().Set("Content-Length", fmt.Sprint(len(blobs[digest])))
		if r.Method != http.MethodHead {
			w.Write(blobs[digest])
		}
	})
	m.HandleFunc("/v2/"+name+"/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		b, ok := blobs[r.PathValue("digest")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	})
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), digest, asked
}

// TestRegistry resolves a reference in a registry, and runs the image by its digest on an
// engine that does not have it.
func TestRegistry(t *testing.T) {
	e := engine(t)
	host, digest, asked := registry(t, "team/guest", dockertest.Image{Program: guest(t), User: "registry"})
	ref := host + "/team/guest:1"
	w := runtimetest.NewHarness(start(t, e, "registry"))
	x := w.Executor.(*plugin.Executor)
	i, err := x.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if got := "sha256:" + hex.EncodeToString(i.Digest); got != digest {
		t.Errorf("resolve %s: got %s, want the manifest's digest %s", ref, got, digest)
	}
	b, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	block := dag.NewBlock(cid.DagCBOR, b)
	if err := w.Blocks.Put(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	task := dockerTask(block.CID(), "words", "pulled")
	if got := printed(t, w, task); got != "\"pulled\"\n" {
		t.Errorf("printed %q", got)
	}
	x.Close()
	dockerCLI(t, e, "rmi", "-f", strings.TrimSpace(dockerCLI(t, e, "image", "ls", "-q", "--no-trunc", host+"/team/guest")))
	w = runtimetest.NewHarness(start(t, e, "registry"))
	if err := w.Blocks.Put(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	if got := printed(t, w, task); got != "\"pulled\"\n" {
		t.Errorf("by digest: printed %q", got)
	}
	after := asked.Load()
	if after == before {
		t.Error("missing image was not pulled")
	}
	printed(t, w, task)
	if asked.Load() != after {
		t.Error("registry was asked for an image that the engine has")
	}
}

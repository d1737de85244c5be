package job

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func dockerTask() Task {
	t := minTask()
	t.ABI, t.Fn, t.Det, t.Nonce = ABIDocker, FnRun, DetNone, []byte("0123456789abcdef")
	return t
}

func testImage() Image {
	return Image{Ref: "alpine:3.20", Digest: bytes.Repeat([]byte{0xab}, 32)}
}

// TestEngineVectors compares the encodings of formats for other executors than WebAssembly with the
// vectors.
func TestEngineVectors(t *testing.T) {
	for name, v := range map[string]interface{ Encode() ([]byte, error) }{
		"task-docker": dockerTask(), "image": testImage(),
	} {
		b, err := v.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%x\n%s\n", b, CIDOf(b))
		file := filepath.Join("testdata", name+".hex")
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
	}
}

func TestForeignTasks(t *testing.T) {
	if err := dockerTask().Validate(); err != nil {
		t.Errorf("docker task: %v", err)
	}
	for says, change := range map[string]func(*Task){
		"unknown abi":               func(t *Task) { t.ABI = "dockers" },
		`unknown abi "x_"`:          func(t *Task) { t.ABI = "x_" },
		`unknown abi "x_SQL"`:       func(t *Task) { t.ABI = "x_SQL" },
		`unknown abi "x_` + "a\n\"": func(t *Task) { t.ABI = "x_a\n" },
		"it is not metered":         func(t *Task) { t.Det, t.Nonce = Det2, nil },
		`got "_start", want "run"`:  func(t *Task) { t.Fn = "_start" },
	} {
		task := dockerTask()
		change(&task)
		err := task.Validate()
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(says, "\n", `\n`)) {
			t.Errorf("got error %v, want %q", err, says)
		}
	}
}

func TestDecodeImage(t *testing.T) {
	b, err := testImage().Encode()
	if err != nil {
		t.Fatal(err)
	}
	i, err := DecodeImage(b)
	if err != nil || i.Ref != testImage().Ref || !bytes.Equal(i.Digest, testImage().Digest) {
		t.Errorf("%+v, %v", i, err)
	}
	for name, bad := range map[string]Image{
		"no reference": {Digest: i.Digest}, "a short digest": {Ref: "a", Digest: i.Digest[:31]},
		"a space": {Ref: "a b", Digest: i.Digest}, "a long reference": {Ref: strings.Repeat("a", 513), Digest: i.Digest},
	} {
		if _, err := bad.Encode(); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
	for n := range b {
		if _, err := DecodeImage(b[:n]); err == nil {
			t.Errorf("the first %d bytes were decoded as an image", n)
		}
	}
	if _, err := DecodeImage(append(b, 0)); err == nil {
		t.Error("a trailing byte was accepted")
	}
}

func FuzzDecodeImage(f *testing.F) {
	b, err := testImage().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(nil))
	raw, _ := hex.DecodeString("a1617601")
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := DecodeImage(b)
		if err != nil {
			return
		}
		if again, err := i.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes to %x, %v", b, again, err)
		}
	})
}

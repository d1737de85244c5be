package request

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// Whatever runs print, and however often they begin anew, each byte is shown once.
func TestPrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := [2][]byte{
			rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "stdout"),
			rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "stderr"),
		}
		var out, errs bytes.Buffer
		p := NewPrinted(Output{Stdout: &out, Stderr: &errs})
		for range rapid.IntRange(1, 4).Draw(t, "runs") {
			run := p.from()
			for id, w := range []interface{ Write([]byte) (int, error) }{run.Stdout, run.Stderr} {
				rest := whole[id][:rapid.IntRange(0, len(whole[id])).Draw(t, "until")]
				for len(rest) > 0 {
					n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
					if k, err := w.Write(rest[:n]); k != n || err != nil {
						t.Fatal(k, err)
					}
					rest = rest[n:]
				}
			}
		}
		run := p.from()
		run.Stdout.Write(whole[0])
		run.Stderr.Write(whole[1])
		if !bytes.Equal(out.Bytes(), whole[0]) || !bytes.Equal(errs.Bytes(), whole[1]) {
			t.Fatalf("%q, %q; want %q, %q", &out, &errs, whole[0], whole[1])
		}
		if a, b := p.sizes(); a != uint64(len(whole[0])) || b != uint64(len(whole[1])) {
			t.Fatal(a, b)
		}
	})
}

// What would leave a gap is not shown, and a writer's error comes through.
func TestPrintedGap(t *testing.T) {
	var out bytes.Buffer
	p := NewPrinted(Output{Stdout: &out})
	if err := p.add(1, 5, []byte("later")); err != nil || out.Len() != 0 {
		t.Errorf("%q, %v", &out, err)
	}
	if err := p.add(2, 0, []byte("nobody looks")); err != nil {
		t.Error(err)
	}
	p.out.Stderr = failing{}
	if err := p.add(2, 0, []byte("nobody looks, and more")); err == nil {
		t.Error("a writer's error is lost")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fmt.Errorf("full") }

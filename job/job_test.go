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

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

var update = flag.Bool("update", false, "write testdata/*.hex again")

// raw returns the CID of s as a raw block.
func raw(s string) cid.Cid {
	h, err := multihash.Sum([]byte(s), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, h)
}

func minTask() Task {
	return Task{ABI: ABIWASI, Mod: raw("module"), Fn: "_start", Det: Det2, Out: OutProfile}
}

func fullTask() Task {
	return Task{
		ABI: ABILiftoff, Mod: raw("module"), Fn: "liftoff_run",
		In:    []Input{{"text", raw("a")}, {"", raw("b")}, {"größe", raw("c")}},
		Stdin: raw("stdin"),
		Args:  []string{"-n", "", "日本語"},
		Env:   map[string]string{"TZ": "UTC", "A": "", "LANG": "C=x"},
		Det:   DetNone, Out: OutProfile, Nonce: []byte("0123456789abcdef"),
	}
}

func okOutcome() Outcome {
	return Outcome{
		Task: CIDOf([]byte("task")), State: OK, Root: raw("root"), Size: 1 << 40, Fuel: 1234567890, Pages: 17, Tmp: 9, Log: 12,
		Stdout: raw("stdout"),
	}
}

func quotaOutcome() Outcome {
	return Outcome{
		Task: CIDOf([]byte("task")), State: Quota, Code: QuotaTmp, Root: raw(""), Stderr: raw("stderr"),
		Limits: &Limits{Fuel: 1, Pages: 2, Out: 3, Tmp: 4, Log: 5},
	}
}

// TestVectors compares the encoding of each format with its vector: a hex line of the bytes, and a
// line with the CID.
func TestVectors(t *testing.T) {
	type value interface{ Encode() ([]byte, error) }
	decodeT := func(b []byte) (value, error) { return DecodeTask(b) }
	decodeO := func(b []byte) (value, error) { return DecodeOutcome(b) }
	exit := okOutcome()
	exit.State, exit.Code = Exit, 3
	trap := okOutcome()
	trap.State, trap.Code = Trap, TrapStack
	fuel := quotaOutcome()
	fuel.State, fuel.Code, fuel.Fuel = OutOfFuel, 0, fuel.Limits.Fuel
	for name, v := range map[string]struct {
		v      value
		decode func([]byte) (value, error)
	}{
		"task-min":            {minTask(), decodeT},
		"task-full":           {fullTask(), decodeT},
		"outcome-ok":          {okOutcome(), decodeO},
		"outcome-exit":        {exit, decodeO},
		"outcome-trap":        {trap, decodeO},
		"outcome-quota":       {quotaOutcome(), decodeO},
		"outcome-out-of-fuel": {fuel, decodeO},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := v.v.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%x\n%s\n", b, CIDOf(b))
			file := filepath.Join("testdata", name+".hex")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			line, _, _ := strings.Cut(string(want), "\n")
			stored, err := hex.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			back, err := v.decode(stored)
			if err != nil {
				t.Fatal(err)
			}
			again, err := back.Encode()
			if err != nil || !bytes.Equal(again, stored) {
				t.Errorf("decodes and encodes to %x, %v", again, err)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	want := fullTask()
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeTask(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.Comparer(cid.Cid.Equals)); d != "" {
		t.Error(d)
	}
	wantO := quotaOutcome()
	if b, err = wantO.Encode(); err != nil {
		t.Fatal(err)
	}
	gotO, err := DecodeOutcome(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wantO, gotO, cmp.Comparer(cid.Cid.Equals)); d != "" {
		t.Error(d)
	}
}

// TestStrict decodes other encodings of valid values, and invalid values.
func TestStrict(t *testing.T) {
	good, err := minTask().Encode()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) []byte {
		b := bytes.Replace(good, []byte(old), []byte(new), 1)
		if bytes.Equal(b, good) {
			t.Fatalf("%q is not in the encoding", old)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"empty":              nil,
		"trailing byte":      append(bytes.Clone(good), 0),
		"cut short":          good[:len(good)-1],
		"not a map":          {0x80},
		"unknown field":      append([]byte{good[0] + 1}, append([]byte("\x61a\x00"), good[1:]...)...),
		"missing field":      append([]byte{good[0] - 1}, bytes.Replace(good[1:], []byte("\x61v\x01"), nil, 1)...),
		"long integer":       edit("\x61v\x01", "\x61v\x18\x01"),
		"other version":      edit("\x61v\x01", "\x61v\x02"),
		"float for integer":  edit("\x61v\x01", "\x61v\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
		"indefinite list":    edit("\x62in\x80", "\x62in\x9f\xff"),
		"null for list":      edit("\x62in\x80", "\x62in\xf6"),
		"unknown abi":        edit("wasi_p1", "wasi_p2"),
		"unknown det":        edit("det2", "det9"),
		"undefined for null": edit("stdin\xf6", "stdin\xf7"),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := DecodeTask(b); err == nil {
				t.Errorf("decoded %+v", got)
			}
		})
	}
}

func TestTaskValidate(t *testing.T) {
	v0 := cid.NewCidV0(raw("x").Hash())
	for name, change := range map[string]func(*Task){
		"no module":          func(t *Task) { t.Mod = cid.Undef },
		"CIDv0 module":       func(t *Task) { t.Mod = v0 },
		"CIDv0 input":        func(t *Task) { t.In = []Input{{"a", v0}} },
		"slash in name":      func(t *Task) { t.In = []Input{{"a/b", raw("")}} },
		"NUL in name":        func(t *Task) { t.In = []Input{{"a\x00", raw("")}} },
		"dot name":           func(t *Task) { t.In = []Input{{"..", raw("")}} },
		"digits name":        func(t *Task) { t.In = []Input{{"12", raw("")}} },
		"name not UTF-8":     func(t *Task) { t.In = []Input{{"\xff", raw("")}} },
		"name too long":      func(t *Task) { t.In = []Input{{strings.Repeat("x", 256), raw("")}} },
		"same name twice":    func(t *Task) { t.In = []Input{{"a", raw("")}, {"a", raw("b")}} },
		"too many inputs":    func(t *Task) { t.In = make([]Input, MaxInputs+1) },
		"NUL in args":        func(t *Task) { t.Args = []string{"a\x00b"} },
		"args not UTF-8":     func(t *Task) { t.Args = []string{"\xff"} },
		"args too large":     func(t *Task) { t.Args = []string{strings.Repeat("x", maxArgs)} },
		"empty env name":     func(t *Task) { t.Env = map[string]string{"": "x"} },
		"equals in env":      func(t *Task) { t.Env = map[string]string{"A=B": "x"} },
		"empty fn":           func(t *Task) { t.Fn = "" },
		"other out profile":  func(t *Task) { t.Out = "unixfs-v0-2015" },
		"nonce of pure work": func(t *Task) { t.Nonce = []byte{1} },
		"no nonce":           func(t *Task) { t.Det = DetNone },
		"long nonce":         func(t *Task) { t.Det, t.Nonce = DetNone, make([]byte, 65) },
	} {
		t.Run(name, func(t *testing.T) {
			task := minTask()
			change(&task)
			if err := task.Validate(); err == nil {
				t.Error("it was accepted")
			}
			if _, err := task.Encode(); err == nil {
				t.Error("it was encoded")
			}
		})
	}
}

func TestOutcomeValidate(t *testing.T) {
	for name, change := range map[string]func(*Outcome){
		"no task":          func(o *Outcome) { o.Task = cid.Undef },
		"no root":          func(o *Outcome) { o.Root = cid.Undef },
		"ok with a code":   func(o *Outcome) { o.Code = 1 },
		"exit 0":           func(o *Outcome) { o.State = Exit },
		"exit 256":         func(o *Outcome) { o.State, o.Code = Exit, 256 },
		"unknown trap":     func(o *Outcome) { o.State, o.Code = Trap, 99 },
		"unknown state":    func(o *Outcome) { o.State = "lost" },
		"ok with limits":   func(o *Outcome) { o.Limits = &Limits{} },
		"quota no limits":  func(o *Outcome) { o.State, o.Code = Quota, 1 },
		"too many pages":   func(o *Outcome) { o.Pages = MaxPages + 1 },
		"CIDv0 stdout":     func(o *Outcome) { o.Stdout = cid.NewCidV0(raw("x").Hash()) },
		"fuel left":        func(o *Outcome) { *o = quotaOutcome(); o.State, o.Code = OutOfFuel, 0 },
		"size over 63 bit": func(o *Outcome) { o.Size = 1 << 63 },
		"fuel over 63 bit": func(o *Outcome) { *o = quotaOutcome(); o.Limits.Fuel = 1 << 63 },
	} {
		t.Run(name, func(t *testing.T) {
			o := okOutcome()
			change(&o)
			if b, err := o.Encode(); err == nil {
				t.Errorf("it was encoded as %x", b)
			}
		})
	}
}

func TestLimitsOrDefault(t *testing.T) {
	got := Limits{Pages: 3}.OrDefault()
	want := DefaultLimits
	want.Pages = 3
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzDecodeTask(f *testing.F) {
	for _, t := range []Task{minTask(), fullTask()} {
		b, err := t.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		task, err := DecodeTask(b)
		if err != nil {
			return
		}
		again, err := task.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes to %x, %v", b, again, err)
		}
	})
}

func FuzzDecodeOutcome(f *testing.F) {
	for _, o := range []Outcome{okOutcome(), quotaOutcome()} {
		b, err := o.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeOutcome(b)
		if err != nil {
			return
		}
		again, err := o.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes to %x, %v", b, again, err)
		}
	})
}

func BenchmarkTaskCID(b *testing.B) {
	t := fullTask()
	for b.Loop() {
		if _, err := t.CID(); err != nil {
			b.Fatal(err)
		}
	}
}

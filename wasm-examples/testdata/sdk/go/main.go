// sdk makes every call of the ABI through the Go SDK and outputs a transcript. The
// Rust and C guests next to it do the same and must write the same bytes.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/ipfs-liftoff/liftoff/abi"
	liftoff "github.com/ipfs-liftoff/liftoff/abi/go"
)

//go:wasmexport liftoff_run
func liftoffRun() int32 { return liftoff.Status(run()) }

func main() {}

var out bytes.Buffer

// say writes a line: the question and the answer.
func say(what string, v any, err error) {
	var errno abi.Errno
	switch {
	case errors.As(err, &errno):
		fmt.Fprintf(&out, "%s: %s\n", what, errno)
	case err != nil:
		fmt.Fprintf(&out, "%s: %v\n", what, err)
	default:
		fmt.Fprintf(&out, "%s: %v\n", what, v)
	}
}

func hex[T ~string | ~[]byte](b T, err error) (any, error) { return fmt.Sprintf("%x", []byte(b)), err }

func run() error {
	task()
	tree, file := liftoff.Input(0), liftoff.Input(1)
	objects(tree, file)
	directories(tree)
	if err := files(tree, file); err != nil {
		return err
	}
	if err := blocks(tree, file); err != nil {
		return err
	}
	w, err := liftoff.Create()
	if err != nil {
		return err
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return err
	}
	return errors.Join(w.Output("transcript"), file.Output("copies/file"))
}

func task() {
	for name, h := range liftoff.Inputs() {
		say(fmt.Sprintf("input %d", h), name, nil)
	}
	_, err := liftoff.InputName(9)
	say("input 9", "", err)
	args, err := liftoff.Args()
	say("args", strings.Join(args, "|"), err)
	env, err := liftoff.Env()
	say("env", strings.Join(env, "|"), err)
	err = liftoff.Progress(1, 2)
	say("progress", "done", err)
	err = liftoff.Log(liftoff.LevelInfo, "a line")
	say("log", "done", err)
}

func objects(tree, file liftoff.Handle) {
	for _, h := range []liftoff.Handle{tree, file} {
		cid, err := hex(h.CID())
		say("cid", cid, err)
		codec, err := h.Codec()
		say("codec", uint32(codec), err)
		kind, err := h.Kind()
		say("kind", int(kind), err)
	}
	_, err := liftoff.Handle(999).Kind()
	say("kind of nothing", "", err)
}

func directories(tree liftoff.Handle) {
	for name, err := range tree.Names() {
		say("name", name, err)
	}
	link, err := tree.Resolve("link")
	say("resolve link", "done", err)
	target, err := link.Readlink()
	say("readlink", target, err)
	_, err = tree.Readlink()
	say("readlink of a directory", "", err)
	_, err = tree.Resolve("nothing")
	say("resolve nothing", "", err)
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, abi.NOENT) {
		say("errors.Is", "finds neither fs.ErrNotExist nor abi.NOENT", nil)
	}
	_, err = tree.Resolve("a/b")
	say("resolve below a file", "", err)
}

func files(tree, file liftoff.Handle) error {
	small, err := tree.Resolve("dir/c")
	if err != nil {
		return err
	}
	r, err := small.Reader()
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	say("read", string(b), err)

	size, err := file.Size()
	say("size", size, err)
	p := make([]byte, 20)
	n, err := file.ReadAt(p, size-10)
	if err == io.EOF {
		err = nil
	}
	say("the last 10", string(p[:n]), err)
	n, err = file.ReadAt(p, size+10)
	if err == io.EOF {
		err = nil
	}
	say("past the end", n, err)
	_, err = tree.Size()
	say("size of a directory", "", err)

	w, err := liftoff.Create()
	if err != nil {
		return err
	}
	fmt.Fprint(w, "two ")
	fmt.Fprint(w, "writes")
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		return err
	}
	cid, err := hex(w.Handle().CID())
	say("cid of a new file", cid, err)
	return nil
}

func blocks(tree, file liftoff.Handle) error {
	n, err := file.LinkCount()
	say("links", n, err)
	link, err := file.Link(1)
	if err != nil {
		return err
	}
	cid, err := link.CID()
	say("link 1", fmt.Sprintf("%x", []byte(cid)), err)
	_, err = file.Link(99)
	say("link 99", "", err)
	child, err := file.Child(cid)
	say("child", "done", err)
	_, err = file.Child("not a CID")
	say("child of no CID", "", err)
	treeCID, err := tree.CID()
	if err != nil {
		return err
	}
	_, err = file.Child(treeCID)
	say("child that is no link", "", err)

	b, err := child.Block()
	say("block", len(b), err)
	for _, code := range []uint32{liftoff.SHA256, liftoff.SHA512, liftoff.BLAKE3, 0} {
		sum, err := hex(liftoff.Hash(code, b))
		say(fmt.Sprintf("hash %d", code), sum, err)
	}
	h, err := liftoff.WriteBlock(liftoff.CodecRaw, []byte("hello"))
	if err != nil {
		return err
	}
	made, err := hex(h.CID())
	say("cid of a new block", made, err)
	_, err = liftoff.WriteBlock(0x99, []byte("hello"))
	say("block of another codec", "", err)
	if err := h.Close(); err != nil {
		return err
	}
	_, err = h.CID()
	say("cid after close", "", err)
	return nil
}

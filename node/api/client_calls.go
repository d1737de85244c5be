package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Get returns the bytes of block id without hashing them: the client trusts the process that owns
// the repo as far as that process trusts its disk.
func (c *Client) Get(ctx context.Context, id cid.Cid) ([]byte, error) {
	resp, err := c.do(ctx, "GET", "/v1/blocks/"+id.String(), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if n := resp.ContentLength; n >= 0 && n <= MaxBlock {
		b := make([]byte, n)
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			return nil, c.explain(ctx, err)
		}
		io.Copy(io.Discard, resp.Body) // reads to EOF, so that the connection can be reused
		return b, nil
	}
	return nil, Errorf(CodeFault, "block %s: the process that owns the repo answered with %d bytes", id, resp.ContentLength)
}

func (c *Client) Has(ctx context.Context, id cid.Cid) (has bool, err error) {
	err = c.ask(ctx, "GET", "/v1/blocks/"+id.String()+"/has", nil, &has)
	return has, err
}

// Put sends bs in requests of a few megabytes each.
func (c *Client) Put(ctx context.Context, bs ...Block) error {
	for len(bs) > 0 {
		body, n := &blockBody{}, 0
		for n < len(bs) && (n == 0 || body.size < maxBatch) {
			if len(bs[n].Data) > MaxBlock {
				return Errorf(CodeUsage, "block %s: got %d bytes, want at most %d", bs[n].CID, len(bs[n].Data), MaxBlock)
			}
			body.add(bs[n])
			n++
		}
		bs = bs[n:]
		resp, err := c.do(ctx, "POST", "/v1/blocks", body)
		if err != nil {
			return err
		}
		resp.Body.Close()
	}
	return nil
}

// blockBody is the request body of several blocks, as parts that are not copied together.
type blockBody struct {
	parts [][]byte
	size  int64
}

func (b *blockBody) add(bl Block) {
	h := blockHeader(bl)
	b.parts = append(b.parts, h, bl.Data)
	b.size += int64(len(h) + len(bl.Data))
}

func (b *blockBody) reader() io.Reader {
	rs := make([]io.Reader, len(b.parts))
	for i, p := range b.parts {
		rs[i] = bytes.NewReader(p)
	}
	return io.MultiReader(rs...)
}

func (c *Client) Fetch(ctx context.Context, id cid.Cid) error {
	return c.ask(ctx, "POST", "/v1/blocks/"+id.String(), nil, nil)
}

func (c *Client) Missing(ctx context.Context, cs ...cid.Cid) ([]cid.Cid, error) {
	var names []string
	if err := c.ask(ctx, "POST", "/v1/missing", cidStrings(cs), &names); err != nil {
		return nil, err
	}
	missing := make([]cid.Cid, len(names))
	for i, s := range names {
		var err error
		if missing[i], err = dag.DecodeCID(s); err != nil {
			return nil, Errorf(CodeFault, "decode answer of the process that owns the repo: %v", err)
		}
	}
	return missing, nil
}

// Walk does not hash the blocks, as Get does not. Each block has its own copy of the bytes.
func (c *Client) Walk(ctx context.Context, root cid.Cid, each func(Block) error) error {
	_, err := c.stream(ctx, "GET", "/v1/dags/"+root.String(), nil, func(_ byte, p []byte) error {
		b, err := parseBlock(bytes.Clone(p))
		if err != nil {
			return err
		}
		return each(b)
	})
	return err
}

func (c *Client) Sync(ctx context.Context) error { return c.ask(ctx, "POST", "/v1/sync", nil, nil) }

func (c *Client) Pin(ctx context.Context, p Pin) error {
	return c.ask(ctx, "PUT", "/v1/pins", p, nil)
}

func (c *Client) Unpin(ctx context.Context, name string) error {
	return c.ask(ctx, "DELETE", "/v1/pins", name, nil)
}

func (c *Client) Pins(ctx context.Context) ([]Pin, error) {
	var pins []Pin
	_, err := c.stream(ctx, "GET", "/v1/pins", nil, func(_ byte, b []byte) error {
		var p Pin
		err := json.Unmarshal(b, &p)
		pins = append(pins, p)
		return err
	})
	return pins, err
}

func (c *Client) FindPin(ctx context.Context, name string) (p Pin, err error) {
	err = c.ask(ctx, "GET", "/v1/pin?name="+url.QueryEscape(name), nil, &p)
	return p, err
}

func (c *Client) Collect(ctx context.Context) (done Collected, err error) {
	err = c.ask(ctx, "POST", "/v1/collect", nil, &done)
	return done, err
}

func (c *Client) Check(ctx context.Context, damaged func(Damage)) (done Checked, err error) {
	end, err := c.stream(ctx, "POST", "/v1/check", nil, func(_ byte, b []byte) error {
		var d Damage
		if err := json.Unmarshal(b, &d); err != nil {
			return err
		}
		if damaged != nil {
			damaged(d)
		}
		return nil
	})
	if len(end) > 0 {
		err = errors.Join(err, json.Unmarshal(end, &done))
	}
	return done, err
}

func (c *Client) List(ctx context.Context) ([]Job, error) {
	var jobs []Job
	_, err := c.stream(ctx, "GET", "/v1/jobs", nil, func(_ byte, b []byte) error {
		j, err := DecodeJob(b)
		jobs = append(jobs, j)
		return err
	})
	return jobs, err
}

func (c *Client) Find(ctx context.Context, prefix string) (Job, error) {
	if !isJobName(prefix) {
		return Job{}, Errorf(CodeUsage, "%q is not the prefix of a job id", prefix)
	}
	var b json.RawMessage
	if err := c.ask(ctx, "GET", "/v1/jobs/"+prefix, nil, &b); err != nil {
		return Job{}, err
	}
	return DecodeJob(b)
}

// isJobName reports whether s can be a job id or a prefix of one, so that it is safe in a URL path.
func isJobName(s string) bool { return s != "" && !strings.ContainsFunc(s, notInID) }

func notInID(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }

// Run runs r on the server. An error of a writer of w is returned unchanged.
func (c *Client) Run(ctx context.Context, r Request, w Watch) (Job, error) {
	body, err := encodeRequest(r, w)
	if err != nil {
		return Job{}, err
	}
	if len(body) > maxJSON {
		return Job{}, Errorf(CodeUsage, "API request: got %d bytes, want at most %d", len(body), maxJSON)
	}
	end, err := c.stream(ctx, "POST", "/v1/run", body, w.frame)
	if len(end) == 0 {
		if err == nil {
			err = Errorf(CodeFault, "run: the process that owns the repo sent neither a job nor an error")
		}
		return Job{}, err
	}
	j, jerr := DecodeJob(end)
	if err == nil && jerr != nil {
		err = Errorf(CodeFault, "decode answer of the process that owns the repo: %v", jerr)
	}
	return j, err
}

// frame passes one frame of a run to w.
func (w Watch) frame(typ byte, b []byte) error {
	var err error
	switch {
	case typ == frameStdout && w.Stdout != nil:
		_, err = w.Stdout.Write(b)
	case typ == frameStderr && w.Stderr != nil:
		_, err = w.Stderr.Write(b)
	case typ == frameEvent && w.Event != nil:
		var e Event
		if err = json.Unmarshal(b, &e); err == nil {
			w.Event(e)
		}
	case typ == frameProgress && w.Progress != nil:
		w.Progress(int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:])))
	}
	return err
}

// stream sends a request and calls frame for each frame of the answer but the last. frame must not
// keep the bytes. stream returns the value and the error of the last frame. An error of frame ends
// the request and is returned.
func (c *Client) stream(ctx context.Context, method, path string, body []byte, frame func(typ byte, b []byte) error) ([]byte, error) {
	var b any
	if body != nil {
		b = body
	}
	resp, err := c.do(ctx, method, path, b)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	buf := make([]byte, maxChunk)
	for {
		typ, payload, err := readFrame(r, buf)
		if err != nil {
			return nil, c.explain(ctx, err)
		}
		if typ == frameEnd {
			io.Copy(io.Discard, r)
			value, err := endOf(payload)
			if err != nil {
				err = c.explain(ctx, err)
			}
			return value, err
		}
		if err := frame(typ, payload); err != nil {
			return nil, err
		}
		buf = payload[:cap(payload)]
	}
}

func endOf(payload []byte) ([]byte, error) {
	var e ending
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, Errorf(CodeFault, "decode last frame of the API answer: %v", err)
	}
	if e.Err != nil {
		return e.Value, e.Err
	}
	return e.Value, nil
}

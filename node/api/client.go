package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client implements the interfaces of this package over a Unix socket or a TCP connection.
type Client struct {
	http    *http.Client
	base    string // scheme and host of every URL
	token   string // "" on a socket
	pid     int
	session string
	leave   context.CancelFunc // ends the attach request
	gone    chan struct{}      // closed when the attach request has ended
}

var (
	_ Data        = (*Client)(nil)
	_ Pins        = (*Client)(nil)
	_ Maintenance = (*Client)(nil)
	_ Jobs        = (*Client)(nil)
	_ Receipts    = (*Client)(nil)
	_ Cache       = (*Client)(nil)
	_ Trust       = (*Client)(nil)
	_ Identity    = (*Client)(nil)
	_ Peers       = (*Client)(nil)
	_ Cluster     = (*Client)(nil)

	_ Publishing = (*Client)(nil)
)

// Dial attaches to the process that listens on the Unix socket at path. That process then stays
// until Close. The error is an *Error of CodeClosing when the process is shutting down, and the
// system's error when no process listens on path.
func Dial(ctx context.Context, path string) (*Client, error) {
	return join(ctx, &Client{base: "http://liftoff"}, func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, path) })
}

// DialRemote attaches to the node whose API listens at addr: host and port, or an http or https URL
// without a path. Over http the token is sent in clear text.
func DialRemote(ctx context.Context, addr, token string) (*Client, error) {
	if err := checkToken(token); err != nil {
		return nil, err
	}
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" {
		return nil, Errorf(CodeUsage, "API address %q: want HOST:PORT or https://HOST", addr)
	}
	d := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive}
	return join(ctx, &Client{base: u.Scheme + "://" + u.Host, token: token}, d.DialContext)
}

const dialTimeout = 10 * time.Second

func join(ctx context.Context, c *Client, connect func(ctx context.Context, network, addr string) (net.Conn, error)) (*Client, error) {
	life, leave := context.WithCancel(context.Background())
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:        connect,
		DisableCompression: true,
		MaxIdleConns:       16, MaxIdleConnsPerHost: 16,
		TLSHandshakeTimeout: dialTimeout,
		ReadBufferSize:      64 << 10, WriteBufferSize: 64 << 10,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.leave, c.gone = leave, make(chan struct{})
	stop := context.AfterFunc(ctx, leave)
	lines, body, err := c.attach(life)
	if !stop() && err == nil {
		body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		leave()
		c.http.CloseIdleConnections()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("attach to the process that owns the repo: %w", err)
	}
	go func() {
		defer close(c.gone)
		defer body.Close()
		io.Copy(io.Discard, lines)
	}()
	return c, nil
}

func (c *Client) attach(ctx context.Context) (*bufio.Reader, io.Closer, error) {
	resp, err := c.send(ctx, "POST", "/v1/attach", nil)
	if err != nil {
		return nil, nil, err
	}
	lines := bufio.NewReaderSize(resp.Body, 4<<10)
	line, err := lines.ReadSlice('\n')
	var h attachReply
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err == nil && h.API != apiVersion {
		err = &Error{
			Code: CodeFault, Message: fmt.Sprintf("process %d owns the repo and has API version %d, want %d", h.PID, h.API, apiVersion),
			Hint: "stop that process, then run the command again",
		}
	}
	if err != nil {
		resp.Body.Close()
		return nil, nil, err
	}
	c.session, c.pid = h.Session, h.PID
	return lines, resp.Body, nil
}

// PID returns the process id of the server.
func (c *Client) PID() int { return c.pid }

// Close detaches. What the client has put and not pinned may then be collected, and its running
// calls are cancelled.
func (c *Client) Close() error {
	c.leave()
	<-c.gone
	c.http.CloseIdleConnections()
	return nil
}

// send sends a request and returns the response if its status is 2xx. Otherwise the error is the
// *Error that the server sent. body may be nil, []byte or a *blockBody.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	switch b := body.(type) {
	case []byte:
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		req.ContentLength = int64(len(b))
	case *blockBody:
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(b.reader()), nil }
		req.ContentLength = b.size
	}
	if req.GetBody != nil {
		req.Body, _ = req.GetBody()
	}
	if c.session != "" {
		req.Header.Set(sessionHeader, c.session)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error // repeats the method and URL, which the caller knows
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON))
	if err != nil {
		return nil, err
	}
	e := new(Error)
	if json.Unmarshal(b, e) != nil || e.Code == "" {
		return nil, &Error{
			Code: CodeFault, Message: fmt.Sprintf("the process that owns the repo does not support this request (%s %s: %s)", method, path, resp.Status),
			Hint: "it may be another version of liftoff: stop it, then run the command again",
		}
	}
	return nil, e
}

// do is send for a call of an interface. It turns a broken connection into an *Error.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return resp, nil
}

// explain distinguishes three causes of err: the caller's own cancellation, an error that the
// server answered with, and the end of the server during the call.
func (c *Client) explain(ctx context.Context, err error) error {
	var e *Error
	switch {
	case errors.As(err, &e) && (e.Code != CodeInterrupted || e.Message != interrupted || ctx.Err() != nil):
		return e
	case ctx.Err() != nil:
		return Errorf(CodeInterrupted, interrupted)
	}
	message := "the process that owned the repo ended"
	if c.token != "" {
		message = "connection to " + c.base + ": " + err.Error()
	}
	return &Error{Code: CodeFault, Message: message, Hint: "run the command again"}
}

// ask sends v as the JSON body of a request, unless v is nil, and decodes the answer into out,
// unless out is nil.
func (c *Client) ask(ctx context.Context, method, path string, v, out any) error {
	var body any
	if v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if len(b) > maxJSON {
			return Errorf(CodeUsage, "API request: got %d bytes, want at most %d", len(b), maxJSON)
		}
		body = b
	}
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := readBounded(resp.Body, maxJSON)
	if err != nil {
		return c.explain(ctx, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return Errorf(CodeFault, "decode answer of the process that owns the repo: %v", err)
	}
	return nil
}

func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = Errorf(CodeFault, "answer of the process that owns the repo: more than %d bytes", limit)
	}
	return b, err
}

package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"go.uber.org/goleak"

	"github.com/ipfs-liftoff/liftoff/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Backend in memory. Its run is a function that the test sets.
type memory struct {
	worker
	mu       sync.Mutex
	blocks   map[cid.Cid][]byte
	puts     int // calls of Put
	most     int // maximum bytes of one Put
	pins     []Pin
	jobs     []Job
	receipts []ReceiptInfo
	cached   []CachedResult
	trusted  []TrustedKey
	closed   int
	run      func(ctx context.Context, r Request, w Watch) (Job, error)
}

var _ Backend = (*memory)(nil)

func (m *memory) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blocks[c]
	if !ok {
		return nil, Errorf(CodeMissing, "block %s is not here", c)
	}
	return b, nil
}

func (m *memory) Has(_ context.Context, c cid.Cid) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.blocks[c]
	return ok, nil
}

func (m *memory) Put(_ context.Context, bs ...Block) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	size := 0
	for _, b := range bs {
		if rawCID(b.Data) != b.CID {
			return Errorf(CodeUsage, "block %s has another hash", b.CID)
		}
		size += len(b.Data)
		if m.blocks == nil {
			m.blocks = map[cid.Cid][]byte{}
		}
		m.blocks[b.CID] = b.Data
	}
	m.most = max(m.most, size)
	return nil
}

// Fetch finds only the block with the bytes "far".
func (m *memory) Fetch(_ context.Context, c cid.Cid) error {
	if far := []byte("far"); c == rawCID(far) {
		return m.Put(context.Background(), Block{c, far})
	}
	return Errorf(CodeMissing, "no peer has %s", c)
}

func (m *memory) Missing(_ context.Context, cs ...cid.Cid) (lacks []cid.Cid, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range cs {
		if _, ok := m.blocks[c]; !ok {
			lacks = append(lacks, c)
		}
	}
	return lacks, nil
}

// Walk calls each for root and then for all other blocks.
func (m *memory) Walk(ctx context.Context, root cid.Cid, each func(Block) error) error {
	b, err := m.Get(ctx, root)
	if err != nil {
		return err
	}
	if err := each(Block{root, b}); err != nil {
		return err
	}
	for c, b := range m.blocks {
		if c == root {
			continue
		}
		if err := each(Block{c, b}); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Sync(context.Context) error { return nil }

func (m *memory) Pin(_ context.Context, p Pin) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pins = append(m.pins, p)
	return nil
}

func (m *memory) Unpin(_ context.Context, name string) error {
	return Errorf(CodeMissing, "pin %q does not exist", name)
}

func (m *memory) Pins(context.Context) ([]Pin, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pins, nil
}

func (m *memory) FindPin(_ context.Context, name string) (Pin, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pins {
		if p.Name == name {
			return p, nil
		}
	}
	return Pin{}, Errorf(CodeMissing, "pin %q does not exist", name)
}

func (m *memory) Collect(context.Context) (Collected, error) {
	return Collected{Removed: 1, RemovedBytes: 2, Kept: 3, KeptBytes: 4}, nil
}

func (m *memory) Check(_ context.Context, damaged func(Damage)) (Checked, error) {
	damaged(Damage{CID: "c", Where: "w", Err: "e"})
	damaged(Damage{CID: "d"})
	return Checked{Blocks: 5, Bytes: 6, Damaged: 2}, nil
}

func (m *memory) Run(ctx context.Context, r Request, w Watch) (Job, error) { return m.run(ctx, r, w) }

func (m *memory) List(context.Context) ([]Job, error) { return m.jobs, nil }

func (m *memory) Find(_ context.Context, prefix string) (Job, error) {
	return Job{ID: prefix}, nil
}

func (m *memory) Receipts(context.Context) ([]ReceiptInfo, error) { return m.receipts, nil }

func (m *memory) ReceiptsOf(_ context.Context, task cid.Cid) ([]ReceiptInfo, error) {
	return slices.DeleteFunc(slices.Clone(m.receipts), func(r ReceiptInfo) bool { return r.Task != task }), nil
}

func (m *memory) FindReceipt(_ context.Context, prefix string) (ReceiptInfo, error) {
	for _, r := range m.receipts {
		if strings.HasPrefix(r.CID.String(), prefix) {
			return r, nil
		}
	}
	return ReceiptInfo{}, Errorf(CodeMissing, "no receipt %s", prefix)
}

func (m *memory) AddReceipt(_ context.Context, envelope []byte) (cid.Cid, error) {
	if len(envelope) == 0 {
		return cid.Undef, Errorf(CodeUsage, "an empty receipt")
	}
	return rawCID(envelope), nil
}

func (m *memory) CachedResults(context.Context) ([]CachedResult, error) { return m.cached, nil }

func (m *memory) Forget(_ context.Context, task cid.Cid) error {
	if !task.Defined() {
		m.cached = nil
		return nil
	}
	return Errorf(CodeMissing, "no cached result of %s", task)
}

func (m *memory) Trust(_ context.Context, did, note string) error {
	m.trusted = append(m.trusted, TrustedKey{DID: did, Note: note, Added: time.Unix(9, 0)})
	return nil
}

func (m *memory) Distrust(_ context.Context, did string) error {
	return Errorf(CodeMissing, "%s is not trusted", did)
}

func (m *memory) Trusted(context.Context) ([]TrustedKey, error) { return m.trusted, nil }

func (m *memory) Identity(context.Context) (ID, error) { return ID{"12D3", "did:key:z"}, nil }

func (m *memory) Plugins(context.Context) ([]Plugin, error) {
	return []Plugin{{Name: "docker", Program: "/bin/p", Version: "1", ABIs: []string{"docker"}}, {Name: "b", Problem: "broken"}}, nil
}

func (m *memory) ResolveImage(_ context.Context, name, ref string) ([]byte, error) {
	if name != "docker" {
		return nil, Errorf(CodeRefused, "no plugin %s", name)
	}
	return []byte(ref), nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed++
	return nil
}

func rawCID(b []byte) cid.Cid {
	h, err := multihash.Sum(b, multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, h)
}

// serve serves m on a socket until the end of the test.
func serve(t testing.TB, m *memory) (h *Handler, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	h = NewHandler(func() (Backend, error) { return m, nil })
	serveOn(t, l, h.Server(nil))
	t.Cleanup(h.Close)
	return h, path
}

// serveTCP serves h over TCP until the end of the test.
func serveTCP(t testing.TB, h *Handler) (addr string) {
	t.Helper()
	l, err := ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := h.Remote(testToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, server)
	t.Cleanup(h.Close)
	return l.Addr().String()
}

// serveOn serves on l until the end of the test.
func serveOn(t testing.TB, l net.Listener, server *http.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
}

// getTCP makes a request with testToken and returns its status.
func getTCP(t testing.TB, tr http.RoundTripper, url, session string) int {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	if session != "" {
		req.Header.Set(sessionHeader, session)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func dial(t testing.TB, path string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// talk sends raw bytes to the socket and returns all that comes back.
func talk(t testing.TB, path, send string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(conn, send) // the server may stop reading
	b, _ := io.ReadAll(conn)
	return string(b)
}

func testTask() job.Task {
	return job.Task{ABI: job.ABIWASI, Mod: rawCID([]byte("mod")), Fn: "_start", Det: job.Det2, Out: job.OutProfile}
}

func (m *memory) Sources(context.Context) ([]Source, error) {
	return []Source{{Kind: SourceRepo, Path: "/r", Blocks: 1, Bytes: 2, Disk: 3, Kept: true}, {Kind: SourceCAR, Roots: []cid.Cid{rawCID(nil)}}}, nil
}

func (m *memory) Attach(_ context.Context, kind, path string, keep bool) (Source, error) {
	if kind != SourceCAR {
		return Source{}, Errorf(CodeUsage, "no")
	}
	return Source{Kind: kind, Path: path, Kept: keep}, nil
}

func (m *memory) Detach(_ context.Context, path string) error {
	return Errorf(CodeMissing, "%s is not attached", path)
}

func (m *memory) Migrate(context.Context) (Migrated, error) { return Migrated{1, 2, 3}, nil }

func (m *memory) Coverage(_ context.Context, c cid.Cid) (Coverage, error) {
	return Coverage{uint64(c.ByteLen()), 7, true, []cid.Cid{c}}, nil
}

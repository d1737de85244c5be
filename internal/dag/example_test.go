package dag_test

import (
	"context"
	"fmt"
	"io"
	"testing/fstest"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Add a directory, get its CID, and read it back by CID.
func Example() {
	ctx := context.Background()
	var blocks dag.MemBlocks
	files := fstest.MapFS{
		"site/index.html":   {Data: []byte("<h1>hello</h1>")},
		"site/css/main.css": {Data: []byte("h1 { color: teal }")},
	}
	site, err := dag.AddTree(ctx, &blocks, files, "site", dag.TreeOptions{Profile: dag.UnixFSv1})
	if err != nil {
		panic(err)
	}
	fmt.Println(site.CID, site.Size)

	path, err := dag.ParsePath(site.CID.String() + "/css/main.css")
	if err != nil {
		panic(err)
	}
	at, err := dag.Resolve(ctx, &blocks, path)
	if err != nil {
		panic(err)
	}
	file, err := dag.OpenFile(ctx, &blocks, at.CID)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	css, err := io.ReadAll(file.Reader(ctx))
	if err != nil {
		panic(err)
	}
	fmt.Println(string(css))
	// Output:
	// bafybeiamuy45nygymclxssrucjvwkz3sjh7wf5vjr5m34i4phkx3j5t44u 32
	// h1 { color: teal }
}

// Package layers tests the architecture: the layer of every package, and which packages may
// import a given library. It parses the sources itself, because go's test cache does not track
// the output of `go list` in a test.
package layers

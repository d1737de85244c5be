// Package layers is the architecture as a test: which floor every package stands on,
// and which packages alone may import a given library. It parses the sources itself,
// because what `go list` prints inside a test is hidden by go's test cache.
package layers

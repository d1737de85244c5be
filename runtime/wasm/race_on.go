//go:build race

package wasm

// underRace says that this is a build for the race detector, whose own memory counts as the
// process's data: several hundred MiB before main begins.
const underRace = true

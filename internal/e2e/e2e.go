// Package e2e drives the real binary, as its users do: commands that share a repo, processes
// that are killed, disks that fill, and benchmarks of whole processes. It has only tests and
// benchmarks. The size of some is set by a variable, which `make test-all` and `make soak` set:
// LIFTOFF_KILLS, LIFTOFF_TEST_LARGE, LIFTOFF_TEST_KUBO.
package e2e

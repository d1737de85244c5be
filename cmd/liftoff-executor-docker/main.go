// Command liftoff-executor-docker is liftoff's plugin for container images: it runs them in a
// Docker engine. Put it on PATH or into the repo's plugins folder; liftoff starts it.
//
// DOCKER_HOST and related variables choose the engine. LIFTOFF_DOCKER_CPUS, LIFTOFF_DOCKER_PIDS
// and LIFTOFF_DOCKER_NETWORK configure a container, LIFTOFF_DOCKER_PULL=never disables
// registries, LIFTOFF_DOCKER_MAX_IMAGE (bytes) and LIFTOFF_DOCKER_IMAGES limit the images that
// are loaded from blocks.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/ipfs-liftoff/liftoff/runtime/docker"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := run(ctx, os.Stdin, os.Stderr, os.Getenv)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "liftoff-executor-docker:", err)
		os.Exit(1)
	}
}

// run serves the node until stdin is closed.
func run(ctx context.Context, stdin io.Reader, stderr io.Writer, getenv func(string) string) error {
	l, err := wire.Listen(getenv)
	if err != nil {
		return err
	}
	cfg, err := config(getenv)
	if err != nil {
		return err
	}
	cfg.Log = slog.New(slog.NewTextHandler(stderr, nil))
	e, err := docker.New(cfg)
	if err != nil {
		return err
	}
	err = wire.Serve(ctx, l, stdin, e)
	if cerr := e.Close(); err == nil {
		err = cerr
	}
	return err
}

// config reads the configuration from the environment.
func config(getenv func(string) string) (docker.Config, error) {
	cfg := docker.Config{Owner: getenv(wire.EnvOwner), Network: getenv("LIFTOFF_DOCKER_NETWORK")}
	if cfg.Owner == "" {
		return cfg, fmt.Errorf("%s is not set", wire.EnvOwner)
	}
	if s := getenv("LIFTOFF_DOCKER_CPUS"); s != "" {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !(n > 0 && n <= 4096) {
			return cfg, fmt.Errorf("LIFTOFF_DOCKER_CPUS: got %q, want a number of processors", s)
		}
		cfg.CPUs = n
	}
	images := int64(0)
	for name, field := range map[string]*int64{
		"LIFTOFF_DOCKER_PIDS": &cfg.Pids, "LIFTOFF_DOCKER_MAX_IMAGE": &cfg.MaxImage, "LIFTOFF_DOCKER_IMAGES": &images,
	} {
		s := getenv(name)
		if s == "" {
			continue
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 {
			return cfg, fmt.Errorf("%s: got %q, want a number above 0", name, s)
		}
		*field = n
	}
	cfg.MaxImages = int(images)
	switch s := getenv("LIFTOFF_DOCKER_PULL"); s {
	case "", "missing":
	case "never":
		cfg.NoPull = true
	default:
		return cfg, fmt.Errorf("LIFTOFF_DOCKER_PULL: got %q, want missing or never", s)
	}
	return cfg, nil
}

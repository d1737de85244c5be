//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func serveCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run this repo as a network peer until stopped",
		Description: `Runs jobs and shares blocks, for the users of this machine and the members of its cluster.
Other commands on this repo use it. It dials the members of its cluster and the peers of
--connect, and no other peer.

At its first start it creates a cluster. When it is ready it prints the command with which
another machine joins, if this node may invite. The log goes to stderr.

SIGTERM or SIGINT shuts it down: it accepts no more jobs, running jobs get --grace to finish,
and the rest are returned to their requesters or resumed by the next serve. A second signal
ends it at once; the repo survives that.

--open is for trusted networks: unknown peers can run jobs here and use CPU, memory and disk,
see SECURITY.md. On other networks, allow keys (--allow-did) or invite members.

Every flag is a setting, and can also be set in config.yaml or the environment, see liftoff
config. The API (--api-listen) requires the token in the file api.token of the repo. It is
not encrypted: on an untrusted network, put a TLS proxy or ssh in front of it.`,
		Flags:  flagsOf("serve"),
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff serve
liftoff serve --join liftoff-join-1.…
$ ssh there liftoff serve --join liftoff-join-1.… --label gpu=yes --slots 4
$ liftoff run train.wasm --input bafybeih… --need gpu=yes`),
		Action: func(c *cli.Context) error {
			dir, err := p.repo()
			if err != nil {
				return err
			}
			all, err := p.settle(c, dir, "serve")
			if err != nil {
				return err
			}
			d, err := p.newDaemon(dir, all)
			if err != nil {
				return err
			}
			return d.run(c.Context)
		},
	}
}

// daemon is a running liftoff serve.
type daemon struct {
	p        *process
	dir      string
	settings settings
	log      *slog.Logger
	config   node.Config
	grace    time.Duration
	registry *prometheus.Registry
	ready    chan struct{} // closed when it accepts jobs
}

func (p *process) newDaemon(dir string, s settings) (*daemon, error) {
	compiler, err := compiler()
	if err != nil {
		return nil, err
	}
	d := &daemon{p: p, dir: dir, settings: s, registry: prometheus.NewRegistry(), ready: make(chan struct{})}
	d.log = newLogger(p.stderr, s["serve.log-format"].text(), s["serve.log-level"].text())
	if d.grace, err = parseDuration(s["serve.grace"].text()); err != nil {
		return nil, err
	}
	scrub, err := parseScrub(s["serve.scrub"].text())
	if err != nil {
		return nil, err
	}
	quota, err := s.quota()
	if err != nil {
		return nil, err
	}
	network, err := networkConfig(s)
	if err != nil {
		return nil, err
	}
	network.Registerer = d.registry
	if s["serve.pprof"].yes() && s["serve.metrics"].text() == "" {
		return nil, usagef("--pprof needs --metrics")
	}
	var once sync.Once
	d.config = node.Config{
		Dir: dir, Version: versionName(), Compiler: compiler, Plugins: p.pluginDirs(), Log: d.log, Grace: d.grace,
		Scrub: scrub, Quota: quota,
		Network: network, Metrics: d.registry, Ready: func() { once.Do(func() { close(d.ready) }) },
	}
	return d, nil
}

// networkConfig turns settings into the configuration of a node.
func networkConfig(s settings) (*node.NetworkConfig, error) {
	labels, err := addPairs(nil, "label", s["serve.label"].texts)
	if err != nil {
		return nil, err
	}
	c := &node.NetworkConfig{
		Listen: s["serve.listen"].texts, Announce: s["serve.announce"].texts, Connect: s["serve.connect"].texts,
		Join: s["serve.join"].text(), MDNS: s["serve.mdns"].yes(), Relay: s["serve.relay"].yes(),
		Reachability: s["serve.reachability"].text(),
		ComputeOnly:  s["serve.compute-only"].yes(), StoreOnly: s["serve.store-only"].yes(),
		Labels: labels,
		Policy: host.Policy{AllowPeers: s["serve.allow-peer"].texts, Open: s["serve.open"].yes()},
	}
	if c.ComputeOnly && c.StoreOnly {
		return nil, hinted(usagef("--compute-only and --store-only exclude each other"),
			"liftoff config shows where they are set; without them, serve does both")
	}
	c.Bitswap = len(c.Policy.AllowPeers) > 0 // only they use it
	for _, did := range s["serve.allow-did"].texts {
		c.Policy.AllowDIDs = append(c.Policy.AllowDIDs, job.DID(did))
	}
	err = errors.Join(
		into(s, "serve.slots", &c.Slots, strconv.Atoi), into(s, "serve.queue", &c.Queue, strconv.Atoi),
		into(s, "serve.per-requester", &c.PerRequester, strconv.Atoi),
		into(s, "serve.memory", &c.Memory, parseSize), into(s, "serve.disk", &c.Disk, parseSize),
		into(s, "serve.max-fuel", &c.Ceiling.Fuel, parseFuel), into(s, "serve.open-fuel", &c.OpenCeiling.Fuel, parseFuel),
		into(s, "serve.max-memory", &c.Ceiling.Pages, parsePages), into(s, "serve.open-memory", &c.OpenCeiling.Pages, parsePages),
		into(s, "serve.max-output", &c.Ceiling.Out, parseSize), into(s, "serve.open-output", &c.OpenCeiling.Out, parseSize),
		into(s, "serve.max-time", &c.MaxTime, parseDuration),
	)
	return c, err
}

// into parses a setting, if it has a value.
func into[T any](s settings, key string, to *T, parse func(string) (T, error)) error {
	text := s[key].text()
	if text == "" {
		return nil
	}
	v, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	*to = v
	return nil
}

// run runs the daemon until ctx ends, then shuts it down.
func (d *daemon) run(ctx context.Context) error {
	d.p.linger.Store(int64(d.grace + stopTime))
	s, err := d.own(ctx)
	if err != nil {
		return repoError(err)
	}
	err = repoError(d.serve(ctx, s))
	// Attached commands get the rest of the grace to finish.
	if ctx.Err() == nil {
		return errors.Join(err, s.Abort())
	}
	t := time.AfterFunc(d.grace, func() { s.Abort() })
	defer t.Stop()
	return errors.Join(err, s.Close())
}

// ownTime bounds the wait for a command that owns the repo.
const ownTime = 30 * time.Second

// own waits until this process owns the repo. It does not wait for another serve.
func (d *daemon) own(ctx context.Context) (*node.Session, error) {
	inUse := func(by string) error {
		return hinted(fmt.Errorf("repo %s is in use by another %s", quote(d.dir), by), "stop it, or choose another repo: export LIFTOFF_PATH=/path/to/a/folder")
	}
	for end := time.Now().Add(ownTime); ; {
		s, err := node.Join(ctx, d.config)
		if err != nil || s.Owner {
			return s, err
		}
		_, alone := s.Peers.Self(ctx)
		s.Close()
		switch {
		case alone == nil:
			return nil, inUse("liftoff serve")
		case time.Now().After(end):
			return nil, inUse("process")
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// stopTime is the time that the shutdown may take after the grace.
const stopTime = 10 * time.Second

// serve runs the network, the API and the metrics until ctx ends or one of them fails.
func (d *daemon) serve(ctx context.Context, s *node.Session) error {
	g, ctx := errgroup.WithContext(ctx)
	d.log.Info("starting node", "repo", d.dir, "version", versionName())
	if d.settings["serve.open"].yes() {
		d.log.Warn("open access: unknown peers can run jobs here, see SECURITY.md")
	}
	if addr := d.settings["serve.metrics"].text(); addr != "" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("listen for --metrics: %w", err)
		}
		d.log.Info("serving metrics", "url", "http://"+l.Addr().String()+"/metrics")
		g.Go(func() error { return d.serveMetrics(ctx, s, l) })
	}
	if addr := d.settings["serve.api-listen"].text(); addr != "" {
		if err := d.listenAPI(ctx, s, g, addr); err != nil {
			return err
		}
	}
	g.Go(func() error { return s.Serve(ctx) })
	g.Go(func() error {
		select {
		case <-d.ready:
			return d.announce(ctx, s)
		case <-ctx.Done():
			return nil
		}
	})
	defer context.AfterFunc(ctx, func() { d.notify("STOPPING=1") })()
	err := g.Wait()
	d.log.Info("node has stopped")
	return err
}

func (d *daemon) notify(state string) {
	if err := d.p.notify(state); err != nil {
		d.log.Warn(err.Error())
	}
}

func (d *daemon) listenAPI(ctx context.Context, s *node.Session, g *errgroup.Group, addr string) error {
	file := filepath.Join(d.dir, "api.token")
	token, err := api.MakeToken(file)
	if err != nil {
		return err
	}
	l, err := api.ListenTCP(addr)
	if err != nil {
		return err
	}
	d.log.Info("serving API", "address", l.Addr().String(), "token_file", file)
	if ip := net.ParseIP(hostOf(l.Addr().String())); ip != nil && !ip.IsLoopback() {
		d.log.Warn("API on TCP is not encrypted: the token can be read on the network", "address", l.Addr().String())
	}
	g.Go(func() error { return s.ServeAPI(ctx, l, token) })
	return nil
}

func hostOf(hostPort string) string {
	h, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return hostPort
	}
	return h
}

// announce reports that the node is up, creates a cluster if it has none, and prints the
// command with which another machine joins.
func (d *daemon) announce(ctx context.Context, s *node.Session) error {
	self, err := s.Peers.Self(ctx)
	if err != nil {
		return err
	}
	d.notify("READY=1")
	d.log.Info("node is up", "did", self.DID, "peer", self.PeerID, "listen", self.Addrs)
	f, err := s.Cluster.Cluster(ctx)
	var e *api.Error
	if errors.As(err, &e) && e.Code == api.CodeMissing {
		if f, err = s.Cluster.InitCluster(ctx); err == nil {
			d.log.Info("created a cluster", "did", f.DID)
		}
	}
	if errors.As(err, &e) && e.Code == api.CodeFault && s.Room() != nil {
		d.log.Warn("create cluster: the disk is full; free space, then run: liftoff cluster init", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	d.log.Info("this node is a member of a cluster", "did", f.DID, "role", f.Role)
	if f.Role != api.RoleAdmin {
		return nil
	}
	token, err := s.Cluster.Invite(ctx, api.Invitation{})
	if err != nil {
		d.log.Warn("create invitation for new members", "err", err)
		return nil
	}
	return d.p.words("liftoff serve --join " + token)
}

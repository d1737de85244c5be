//go:build !windows

package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/host"
)

// allSettings is the list of what can be configured, in the order in which it is shown.
var allSettings = []setting{
	{key: "api", usage: "`ADDRESS` of a node to use instead of a repo here: HOST:PORT, or https://HOST"},
	{key: "token", secret: true, usage: "`TOKEN` of --api, or @FILE to read it from"},
	{key: "quota", check: isSize, usage: "`SIZE` that all blocks in the repo may take on the disk: what is in no pin and no job goes before it is exceeded; all there is when left out"},

	{key: "serve.listen", kind: manyTexts, found: func() []string { return host.DefaultListen }, check: isMultiaddr, usage: "`MULTIADDR` to listen on; may be repeated; TCP and QUIC on port 4017 of all interfaces when left out"},
	{key: "serve.announce", kind: manyTexts, check: isMultiaddr, usage: "`MULTIADDR` that others are told instead of those found; may be repeated"},
	{key: "serve.connect", kind: manyTexts, check: isMultiaddr, usage: "`MULTIADDR` of a peer to stay connected to: it may be sent jobs and asked for blocks; may be repeated"},
	{key: "serve.join", secret: true, usage: "`TOKEN` of liftoff cluster invite: join that cluster first"},
	{key: "serve.compute-only", kind: yesNo, otherwise: "false", usage: "keep nothing: --disk is a cache beside running jobs"},
	{key: "serve.store-only", kind: yesNo, otherwise: "false", usage: "run nothing for others"},
	{key: "serve.slots", found: func() []string { return []string{strconv.Itoa(runtime.GOMAXPROCS(0))} }, check: isCount, usage: "`N` jobs at once; one for each processor when left out"},
	{key: "serve.memory", check: isSize, usage: "`SIZE` of memory for all guests together; three quarters of the machine's when left out"},
	{key: "serve.disk", otherwise: "16GiB", check: isSize, usage: "`SIZE` of what others' blocks may take, within the quota of the repo; 16GiB when left out"},
	{key: "serve.label", kind: manyTexts, check: isPair, usage: "`NAME=VALUE` that run --need and --prefer match; may be repeated"},
	{key: "serve.allow-did", kind: manyTexts, check: checkDID, usage: "`DID` of a node outside the cluster that may send jobs and get what is published; may be repeated"},
	{key: "serve.allow-peer", kind: manyTexts, usage: "`PEERID` of an IPFS node that may get what is published and is asked for blocks; may be repeated"},
	{key: "serve.open", kind: yesNo, otherwise: "false", usage: "run jobs for every peer, within --open-fuel, --open-memory and --open-output; for trusted networks only, and what is published is public then"},
	{key: "serve.open-fuel", check: isFuel, usage: "`AMOUNT` of fuel that who is no member may ask for; --max-fuel when left out"},
	{key: "serve.open-memory", check: isMemory, usage: "`SIZE` of memory that who is no member may ask for; --max-memory when left out"},
	{key: "serve.open-output", check: isSize, usage: "`SIZE` of output that who is no member may ask for; --max-output when left out"},
	{key: "serve.max-fuel", check: isFuel, usage: "`AMOUNT` of fuel that another's job may ask for; 10T when left out"},
	{key: "serve.max-memory", check: isMemory, usage: "`SIZE` of memory that another's job may ask for; 1GiB when left out"},
	{key: "serve.max-output", check: isSize, usage: "`SIZE` of output that another's job may ask for; 16GiB when left out"},
	{key: "serve.max-time", otherwise: "1d", check: isDuration, usage: "`DURATION` that another's job may run; 1d when left out"},
	{key: "serve.queue", check: isCount, usage: "`N` jobs may wait for a slot; four for each when left out"},
	{key: "serve.per-requester", check: isCount, usage: "`N` jobs of one requester at once; all slots and half of the queue when left out"},
	{key: "serve.mdns", kind: yesNo, otherwise: "true", usage: "find members of the cluster on the local network; --mdns=false does not"},
	{key: "serve.relay", kind: yesNo, otherwise: "false", usage: "carry connections between members that cannot reach each other"},
	{key: "serve.reachability", check: oneOf("public", "private"), usage: "`WHAT` this machine is, public or private; found out when left out"},
	{key: "serve.api", check: isHostPort, usage: "`HOST:PORT` where the API listens for those who have the token in api.token of the repo; nowhere when left out"},
	{key: "serve.metrics", check: isHostPort, usage: "`HOST:PORT` for /metrics and /health; nowhere when left out"},
	{key: "serve.pprof", kind: yesNo, otherwise: "false", usage: "serve /debug/pprof there, too"},
	{key: "serve.scrub", otherwise: "30d", check: isScrub, usage: "`DURATION` in which all blocks are read and hashed again in the background, at 16 MiB/s at most; 30d when left out, or off"},
	{key: "serve.grace", otherwise: "10s", check: isDuration, usage: "`DURATION` that running jobs get to end when the process shall"},
	{key: "serve.log-format", otherwise: "text", check: oneOf("text", "json"), usage: "`FORMAT` of the log on stderr: text or json"},
	{key: "serve.log-level", otherwise: "info", check: oneOf("debug", "info", "warn", "error"), usage: "`LEVEL` of the log: debug, info, warn or error"},
}

func isMultiaddr(s string) error {
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("%s is not a multiaddr: write it as /ip4/0.0.0.0/tcp/4017", quote(s))
	}
	return nil
}

func isCount(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%s is not a number from 1 on", quote(s))
	}
	return nil
}

func isSize(s string) error {
	_, err := parseSize(s)
	return err
}

func isFuel(s string) error {
	_, err := parseFuel(s)
	return err
}

func isMemory(s string) error {
	_, err := parsePages(s)
	return err
}

func isDuration(s string) error {
	_, err := parseDuration(s)
	return err
}

func isScrub(s string) error {
	_, err := parseScrub(s)
	return err
}

// parseScrub reads a duration, or off, which is 0.
func parseScrub(s string) (time.Duration, error) {
	if s == "off" {
		return 0, nil
	}
	return parseDuration(s)
}

func isPair(s string) error {
	if k, _, ok := strings.Cut(s, "="); !ok || k == "" {
		return fmt.Errorf("%s: write it as NAME=VALUE", quote(s))
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		for _, w := range words {
			if s == w {
				return nil
			}
		}
		return fmt.Errorf("%s is not one of %s", quote(s), strings.Join(words, ", "))
	}
}

func isHostPort(s string) error {
	if _, _, err := net.SplitHostPort(s); err != nil {
		return errors.New(quote(s) + " is not HOST:PORT")
	}
	return nil
}

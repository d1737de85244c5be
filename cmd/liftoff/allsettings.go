//go:build !windows

package main

import (
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// allSettings lists all settings in the order in which they are shown.
var allSettings = []setting{
	{key: "api", usage: "`ADDRESS` node to use instead of the local repo: HOST:PORT, or https://HOST"},
	{key: "token", secret: true, usage: "`TOKEN` token of the node of --api, or @FILE"},
	{key: "quota", check: isSize, usage: "`SIZE` disk space for all blocks of the repo; unpinned blocks are deleted to keep it (default: no limit)"},

	{key: "serve.listen", kind: manyTexts, found: func(settings) []string { return host.DefaultListen }, check: isMultiaddr, usage: "`MULTIADDR` listen address; repeatable (default: TCP and QUIC on port 4017 of all interfaces)"},
	{key: "serve.announce", kind: manyTexts, check: isMultiaddr, usage: "`MULTIADDR` announced address; repeatable (default: the detected addresses)"},
	{key: "serve.connect", kind: manyTexts, check: isMultiaddr, usage: "`MULTIADDR` peer to stay connected to: it may get jobs of this node and is asked for blocks; repeatable"},
	{key: "serve.join", secret: true, usage: "`JOIN-TOKEN` join token of liftoff cluster invite: the cluster to join first"},
	{key: "serve.compute-only", kind: yesNo, fallback: "false", usage: "store nothing for others: --disk is only a cache of running jobs"},
	{key: "serve.store-only", kind: yesNo, fallback: "false", usage: "run no jobs of others"},
	{key: "serve.slots", found: func(settings) []string { return []string{strconv.Itoa(runtime.GOMAXPROCS(0))} }, check: isCount, usage: "`N` concurrent jobs (default: one per processor)"},
	{key: "serve.memory", found: func(settings) []string { return []string{exactSize(node.DefaultMemory())} }, check: isSize, usage: "`SIZE` memory for all guests together (default: three quarters of the machine's)"},
	{key: "serve.disk", fallback: "16GiB", check: isSize, usage: "`SIZE` disk space for blocks of other peers, within the quota of the repo (default: 16GiB)"},
	{key: "serve.label", kind: manyTexts, check: isPair, usage: "`NAME=VALUE` label of this node, for run --need and --prefer; repeatable"},
	{key: "serve.allow-did", kind: manyTexts, check: checkDID, usage: "`DID` node outside the cluster that may send jobs and read published data; repeatable"},
	{key: "serve.allow-peer", kind: manyTexts, usage: "`PEERID` IPFS node that may read published data and is asked for blocks; repeatable"},
	{key: "serve.open", kind: yesNo, fallback: "false", usage: "accept jobs of every peer, within the --open limits, and share published data with it; for trusted networks only"},
	{key: "serve.open-fuel", found: sameAs("serve.max-fuel"), check: isFuel, usage: "`AMOUNT` most fuel that a non-member may request (default: --max-fuel)"},
	{key: "serve.open-memory", found: sameAs("serve.max-memory"), check: isMemory, usage: "`SIZE` most memory that a non-member may request (default: --max-memory)"},
	{key: "serve.open-output", found: sameAs("serve.max-output"), check: isSize, usage: "`SIZE` largest output that a non-member may request (default: --max-output)"},
	{key: "serve.max-fuel", fallback: "10T", check: isFuel, usage: "`AMOUNT` most fuel that another peer may request (default: 10T)"},
	{key: "serve.max-memory", fallback: "1GiB", check: isMemory, usage: "`SIZE` most memory that another peer may request (default: 1GiB)"},
	{key: "serve.max-output", fallback: "16GiB", check: isSize, usage: "`SIZE` largest output that another peer may request (default: 16GiB)"},
	{key: "serve.max-time", fallback: "1d", check: isDuration, usage: "`DURATION` longest run for another peer (default: 1d)"},
	{key: "serve.queue", found: defaultQueue, check: isCount, usage: "`N` jobs that may wait for a slot (default: four per slot)"},
	{key: "serve.per-requester", found: defaultPerRequester, check: isCount, usage: "`N` concurrent jobs of one requester (default: all slots and half of the queue)"},
	{key: "serve.mdns", kind: yesNo, fallback: "true", usage: "find members on the local network (default: true; disable with --mdns=false)"},
	{key: "serve.relay", kind: yesNo, fallback: "false", usage: "relay connections between members that cannot reach each other"},
	{key: "serve.reachability", check: oneOf("public", "private"), usage: "`WHAT` reachability of this machine: public or private (default: detected)"},
	{key: "serve.api-listen", check: isHostPort, usage: "`HOST:PORT` address of the API, with the token in api.token of the repo (default: none)"},
	{key: "serve.metrics", check: isHostPort, usage: "`HOST:PORT` address of /metrics and /health (default: none)"},
	{key: "serve.pprof", kind: yesNo, fallback: "false", usage: "serve /debug/pprof on the address of --metrics"},
	{key: "serve.scrub", fallback: "30d", check: isScrub, usage: "`DURATION` period in which all blocks are checked in the background, at most 16 MiB/s; or off (default: 30d)"},
	{key: "serve.grace", fallback: "10s", check: isDuration, usage: "`DURATION` time that running jobs get to finish at shutdown (default: 10s)"},
	{key: "serve.log-format", fallback: "text", check: oneOf("text", "json"), usage: "`FORMAT` format of the log on stderr: text or json (default: text)"},
	{key: "serve.log-level", fallback: "info", check: oneOf("debug", "info", "warn", "error"), usage: "`LEVEL` level of the log: debug, info, warn or error (default: info)"},
}

// sameAs returns a default that is the value of another setting.
func sameAs(key string) func(settings) []string {
	return func(s settings) []string { return s[key].texts }
}

func defaultQueue(s settings) []string {
	return []string{strconv.Itoa(scheduler.DefaultQueue(s.count("serve.slots")))}
}

func defaultPerRequester(s settings) []string {
	return []string{strconv.Itoa(scheduler.DefaultPerRequester(s.count("serve.slots"), s.count("serve.queue")))}
}

func isMultiaddr(s string) error {
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("%s is not a multiaddr, want a form like /ip4/0.0.0.0/tcp/4017", quote(s))
	}
	return nil
}

func isCount(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("got %s, want a number from 1 to 65535", quote(s))
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

// parseScrub parses a duration; off is 0.
func parseScrub(s string) (time.Duration, error) {
	if s == "off" {
		return 0, nil
	}
	return parseDuration(s)
}

func isPair(s string) error {
	if k, _, ok := strings.Cut(s, "="); !ok || k == "" {
		return fmt.Errorf("got %s, want NAME=VALUE", quote(s))
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
		return fmt.Errorf("got %s, want one of %s", quote(s), strings.Join(words, ", "))
	}
}

func isHostPort(s string) error {
	if _, _, err := net.SplitHostPort(s); err != nil {
		return fmt.Errorf("got %s, want HOST:PORT", quote(s))
	}
	return nil
}

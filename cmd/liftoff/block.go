//go:build !windows

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func blockCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "block",
		Usage:       "read and write single blocks",
		Description: `A block is the unit of storage that one CID names: at most 2 MiB of bytes.`,
		CustomHelpTemplate: help(`$ echo hello | liftoff block put
bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am
$ liftoff block get bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am
hello`),
		Subcommands: []*cli.Command{blockGetCommand(p), blockPutCommand(p), blockStatCommand(p)},
	}
}

func blockGetCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "get",
		Usage:       "write the bytes of a block to stdout",
		ArgsUsage:   "CID[/PATH]",
		Description: `Writes the bytes of the block as they are stored.`,
		Before:      takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff block get bafybeih… | xxd | head -1
00000000: 122f 0a24 0155 1220 5891 b5b5 22d5 df08  ./.$.U. X..."...`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			b, err := p.block(c, s)
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(b.Data())
			return err
		}),
	}
}

// block loads the block that the argument of the command names.
func (p *process) block(c *cli.Context, s *node.Session) (dag.Block, error) {
	args := c.Args().Slice()
	root, err := p.root(c.Context, s, args[0])
	if err != nil {
		return dag.Block{}, err
	}
	return dag.Load(c.Context, s.Blocks, root)
}

func blockStatCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "stat",
		Usage:       "show the size, codec and links of a block",
		ArgsUsage:   "CID[/PATH]",
		Description: `Prints the CID of the block, its size in bytes, its codec and its number of links.`,
		Flags:       []cli.Flag{jsonFlag},
		Before:      takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff block stat bafybeih…
CID         SIZE  CODEC   LINKS
bafybeih…  100 B  dag-pb      2`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			b, err := p.block(c, s)
			if err != nil {
				return err
			}
			links, err := dag.Links(b)
			if err != nil {
				return err
			}
			return printList(p, c, blockListing, blockReport{b.CID().String(), len(b.Data()), codecName(b.CID().Type()), len(links)})
		}),
	}
}

// The codecs and hash functions of block put, the default first.
var (
	codecs = []numbered{{"raw", cid.Raw}, {"dag-pb", cid.DagProtobuf}, {"dag-cbor", cid.DagCBOR}, {"dag-json", cid.DagJSON}}
	hashes = []numbered{
		{"sha2-256", multihash.SHA2_256},
		{"sha2-512", multihash.SHA2_512},
		{"blake2b-256", multihash.BLAKE2B_MIN + 31},
		{"blake3", multihash.BLAKE3},
		{"identity", multihash.IDENTITY},
	}
)

// numbered is an entry of the multicodec table.
type numbered struct {
	name string
	code uint64
}

func byName(table []numbered, what, name string) (uint64, error) {
	var all []string
	for _, n := range table {
		if n.name == name {
			return n.code, nil
		}
		all = append(all, n.name)
	}
	return 0, usagef("unknown %s %s, want one of %s", what, quote(name), strings.Join(all, ", "))
}

func codecName(code uint64) string {
	if i := slices.IndexFunc(codecs, func(n numbered) bool { return n.code == code }); i >= 0 {
		return codecs[i].name
	}
	return multicodec.Code(code).String()
}

func blockPutCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "put",
		Usage:     "store a file as one block",
		ArgsUsage: "[FILE]",
		Description: `Stores the file (default: stdin) as one block and prints its CID. The bytes must be valid
in the codec. The block is not pinned unless --pin is set.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "codec", Value: "raw", Usage: "`NAME` codec: raw, dag-pb, dag-cbor or dag-json (default: raw)"},
			&cli.StringFlag{Name: "mhtype", Value: "sha2-256", Usage: "`NAME` hash: sha2-256, sha2-512, blake2b-256, blake3 or identity (default: sha2-256)"},
			&cli.BoolFlag{Name: "pin", Usage: "pin the block and everything below it"},
		},
		Before: takes("a file", 0, 1),
		CustomHelpTemplate: help(`$ echo hello | liftoff block put --mhtype blake3
bafkr4ie…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.blockPut(c, s) }),
	}
}

func (p *process) blockPut(c *cli.Context, s *node.Session) error {
	args := c.Args().Slice()
	codec, err := byName(codecs, "codec", c.String("codec"))
	if err != nil {
		return err
	}
	hash, err := byName(hashes, "hash function", c.String("mhtype"))
	if err != nil {
		return err
	}
	data, err := p.readBlock(c, args)
	if err != nil {
		return err
	}
	b, err := dag.NewBlockPrefix(cid.Prefix{Version: 1, Codec: codec, MhType: hash, MhLength: -1}, data)
	if err != nil {
		return usagef("%s", err)
	}
	if _, err := dag.Links(b); err != nil {
		return usagef("%s", err)
	}
	if err := s.Blocks.Put(c.Context, b); err != nil {
		return err
	}
	if c.Bool("pin") {
		pin := api.Pin{Name: b.CID().String(), Roots: []api.Root{{CID: b.CID(), Recursive: true}}, Created: time.Now()}
		if err := s.Pins.Pin(c.Context, pin); err != nil {
			return err
		}
	}
	if err := s.Data.Sync(c.Context); err != nil {
		return err
	}
	return p.word(c, cidReport{b.CID().String()}, b.CID().String())
}

// readBlock reads the file in args, or stdin, and refuses more bytes than a block may have.
func (p *process) readBlock(c *cli.Context, args []string) ([]byte, error) {
	name := "-"
	if len(args) == 1 {
		name = args[0]
	}
	r, err := p.open(c.Context, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, dag.MaxBlock+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", quote(name), err)
	}
	if len(data) > dag.MaxBlock {
		return nil, hinted(usagef("%s is too large for a block: more than %s", quote(name), size(dag.MaxBlock)), "liftoff add %s", quote(name))
	}
	return data, nil
}

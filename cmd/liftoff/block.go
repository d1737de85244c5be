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
		Description: `A block is what one CID names: at most 2 MiB of bytes.`,
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
		Usage:       "write a block's bytes to stdout",
		ArgsUsage:   "CID[/PATH]",
		Description: `Writes the bytes of the block as they are stored.`,
		Before:      takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff block get bafybeid… | xxd | head -1
00000000: 122d 0a24 0155 1220 ...`),
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

// block loads the block that the command's one argument names.
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
		Usage:       "print a block's size and links",
		ArgsUsage:   "CID[/PATH]",
		Description: `Prints the CID, the size in bytes, the codec and the number of links of a block.`,
		Flags:       []cli.Flag{jsonFlag},
		Before:      takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff block stat bafybeid…
bafybeid… 262 dag-pb 5`),
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

// numbered is a name of the multicodec table, and its number.
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
	return 0, usagef("unknown %s %s: choose one of %s", what, quote(name), strings.Join(all, ", "))
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
		Usage:     "store bytes as a block",
		ArgsUsage: "[FILE]",
		Description: `Stores a file, or stdin, as one block and prints its CID. The bytes must be what the
codec says. The block is not pinned unless --pin is given.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "codec", Value: "raw", Usage: "`NAME` of the codec: raw (when left out), dag-pb, dag-cbor or dag-json"},
			&cli.StringFlag{Name: "mhtype", Value: "sha2-256", Usage: "`NAME` of the hash: sha2-256 (when left out), sha2-512, blake2b-256, blake3 or identity"},
			&cli.BoolFlag{Name: "pin", Usage: "keep the block, and what is below it, from collection"},
		},
		Before: takes("a file", 0, 1),
		CustomHelpTemplate: help(`$ echo hello | liftoff block put --mhtype blake3
bafkr4i…`),
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

// readBlock reads the file that args name, or stdin, as far as a block may be long.
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
		return nil, hinted(usagef("%s is longer than a block may be, %s", quote(name), size(dag.MaxBlock)), "liftoff add %s", quote(name))
	}
	return data, nil
}

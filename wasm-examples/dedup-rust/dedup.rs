//! dedup counts the blocks that its inputs share. Two folders that differ in one
//! file have almost all their blocks in common, whatever their names.
//!
//! A guest of the ABI `liftoff_v1`. It reads the links of the inputs and the sizes
//! of their blocks, and outputs a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

#[path = "../../abi/rust/liftoff.rs"]
mod liftoff;

use liftoff::{Handle, Writer};

#[no_mangle]
pub extern "C" fn liftoff_run() -> i32 {
    liftoff::status(run())
}

/// A number of blocks and their bytes.
#[derive(Default)]
struct Sum {
    blocks: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.blocks += 1;
        self.bytes += bytes;
    }
}

/// A visited block: its size and the CIDs that it links to.
struct Block {
    bytes: u64,
    links: Vec<Vec<u8>>,
}

type Blocks = BTreeMap<Vec<u8>, Block>;

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = Writer::create()?;
    let mut known = Blocks::new();
    let (mut apart, mut together) = (Sum::default(), Sum::default());

    writeln!(out, "{:>10} {:>14} {:>10} {:>14}  input", "blocks", "bytes", "new", "new bytes")?;
    for (i, (name, root)) in liftoff::inputs()?.iter().enumerate() {
        let before: BTreeSet<Vec<u8>> = known.keys().cloned().collect();
        read(root, &mut known)?;

        let (mut all, mut new) = (Sum::default(), Sum::default());
        for cid in reach(root.cid()?, &known) {
            all.add(known[&cid].bytes);
            if !before.contains(&cid) {
                new.add(known[&cid].bytes);
            }
        }
        let label = if name.is_empty() { i.to_string() } else { name.clone() };
        writeln!(out, "{:>10} {:>14} {:>10} {:>14}  {}", all.blocks, all.bytes, new.blocks, new.bytes, label)?;
        apart.blocks += all.blocks;
        apart.bytes += all.bytes;
        together.blocks += new.blocks;
        together.bytes += new.bytes;
    }
    writeln!(out, "{:>10} {:>14} {:>10} {:>14}  total", apart.blocks, apart.bytes, together.blocks, together.bytes)?;
    out.finish()?.output("")?;
    Ok(())
}

/// Adds every block below `h`, with `h`, to `known`.
fn read(h: &Handle, known: &mut Blocks) -> liftoff::Result<()> {
    let cid = h.cid()?;
    if known.contains_key(&cid) {
        return Ok(());
    }
    let mut links = Vec::new();
    for i in 0..h.link_count()? {
        let link = h.link(i)?;
        links.push(link.cid()?);
        read(&link, known)?;
    }
    known.insert(cid, Block { bytes: h.block_size()?.into(), links });
    Ok(())
}

/// The blocks that `root` reaches, each once.
fn reach(root: Vec<u8>, known: &Blocks) -> BTreeSet<Vec<u8>> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![root];
    while let Some(cid) = todo.pop() {
        if !seen.contains(&cid) {
            todo.extend(known[&cid].links.iter().cloned());
            seen.insert(cid);
        }
    }
    seen
}

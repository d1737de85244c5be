//! sdk makes every call of the ABI through the Rust SDK and outputs a transcript. The
//! Go and C guests next to it do the same and must write the same bytes.

use std::fmt::Display;

#[path = "../../../../abi/rust/liftoff.rs"]
mod liftoff;

use liftoff::{Handle, Level, Writer};

#[no_mangle]
pub extern "C" fn liftoff_run() -> i32 {
    liftoff::status(run())
}

struct Transcript(String);

impl Transcript {
    /// Writes a line: the question and the answer.
    fn say<T: Display>(&mut self, what: &str, r: liftoff::Result<T>) {
        self.0 += &match r {
            Ok(v) => format!("{}: {}\n", what, v),
            Err(e) => format!("{}: {}\n", what, e),
        };
    }
}

fn hex(b: Vec<u8>) -> String {
    b.iter().map(|b| format!("{:02x}", b)).collect()
}

fn run() -> liftoff::Result<()> {
    let mut t = Transcript(String::new());
    let inputs = liftoff::inputs()?;
    task(&mut t, &inputs);
    let (tree, file) = (&inputs[0].1, &inputs[1].1);
    objects(&mut t, tree, file);
    directories(&mut t, tree);
    files(&mut t, tree, file)?;
    blocks(&mut t, tree, file)?;
    let mut w = Writer::create()?;
    w.write(t.0.as_bytes())?;
    w.finish()?.output("transcript")?;
    file.output("copies/file")
}

fn task(t: &mut Transcript, inputs: &[(String, Handle)]) {
    for (i, (name, _)) in inputs.iter().enumerate() {
        t.say(&format!("input {}", i), Ok(name));
    }
    t.say("input 9", liftoff::input_name(9));
    t.say("args", liftoff::args().map(|a| a.join("|")));
    t.say("env", liftoff::env().map(|e| e.join("|")));
    liftoff::progress(1, 2);
    t.say("progress", Ok("done"));
    liftoff::log(Level::Info, "a line");
    t.say("log", Ok("done"));
}

fn objects(t: &mut Transcript, tree: &Handle, file: &Handle) {
    for h in [tree, file] {
        t.say("cid", h.cid().map(hex));
        t.say("codec", h.codec());
        t.say("kind", h.kind().map(|k| k as u32));
    }
    t.say("kind of nothing", Handle::from_raw(999).kind().map(|_| ""));
}

fn directories(t: &mut Transcript, tree: &Handle) {
    for name in tree.names() {
        t.say("name", name);
    }
    t.say("resolve link", tree.resolve("link").map(|_| "done"));
    t.say("readlink", tree.resolve("link").and_then(|l| l.readlink()));
    t.say("readlink of a directory", tree.readlink());
    t.say("resolve nothing", tree.resolve("nothing").map(|_| ""));
    t.say("resolve below a file", tree.resolve("a/b").map(|_| ""));
}

fn files(t: &mut Transcript, tree: &Handle, file: &Handle) -> liftoff::Result<()> {
    let mut buf = [0; 20];
    let mut read = |h: &Handle, off| {
        h.read_at(off, &mut buf).map(|n| (n, String::from_utf8_lossy(&buf[..n]).into_owned()))
    };
    t.say("read", read(&tree.resolve("dir/c")?, 0).map(|r| r.1));
    let size = file.size()?;
    t.say("size", Ok(size));
    t.say("the last 10", read(file, size - 10).map(|r| r.1));
    t.say("past the end", read(file, size + 10).map(|r| r.0));
    t.say("size of a directory", tree.size());

    let mut w = Writer::create()?;
    w.write(b"two ")?;
    w.write(b"writes")?;
    t.say("cid of a new file", w.finish()?.cid().map(hex));
    Ok(())
}

fn blocks(t: &mut Transcript, tree: &Handle, file: &Handle) -> liftoff::Result<()> {
    t.say("links", file.link_count());
    let cid = file.link(1)?.cid()?;
    t.say("link 1", Ok(hex(cid.clone())));
    t.say("link 99", file.link(99).map(|_| ""));
    let child = file.child(&cid)?;
    t.say("child", Ok("done"));
    t.say("child of no CID", file.child(b"not a CID").map(|_| ""));
    t.say("child that is no link", file.child(&tree.cid()?).map(|_| ""));

    let block = child.block()?;
    t.say("block", Ok(block.len()));
    for code in [liftoff::SHA256, liftoff::SHA512, liftoff::BLAKE3, 0] {
        t.say(&format!("hash {}", code), liftoff::hash(code, &block).map(hex));
    }
    let h = liftoff::write_block(liftoff::CODEC_RAW, b"hello")?;
    t.say("cid of a new block", h.cid().map(hex));
    t.say("block of another codec", liftoff::write_block(0x99, b"hello").map(|_| ""));
    let raw = h.into_raw();
    drop(Handle::from_raw(raw));
    t.say("cid after close", Handle::from_raw(raw).cid().map(hex));
    Ok(())
}

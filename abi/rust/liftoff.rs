//! The Rust SDK for guests of the ABI `liftoff_v1`: one file, no dependencies.
//!
//! ```text
//! #[path = "liftoff.rs"]
//! mod liftoff;
//!
//! #[no_mangle]
//! pub extern "C" fn liftoff_run() -> i32 {
//!     liftoff::status(run())
//! }
//!
//! fn run() -> Result<(), liftoff::Errno> {
//!     let mut out = liftoff::Writer::create()?;
//!     out.write(b"hello\n")?;
//!     out.finish()?.output("")
//! }
//! ```
//!
//! Plain rustc builds it:
//!
//! ```text
//! rustc --target wasm32-unknown-unknown --crate-type cdylib -O -o guest.wasm guest.rs
//! ```
//!
//! A [`Handle`] is the only authority, and dropping one closes it. It refers to an
//! input, to a block that an input links to, or to an object that the guest created.

#![allow(dead_code)]

use std::fmt;

/// The host calls. A result >= 0 is an answer, a result < 0 a negated
/// errno.
mod host {
    #[link(wasm_import_module = "liftoff_v1")]
    extern "C" {
        pub fn input_count() -> i64;
        pub fn input_name(i: u32, ptr: *mut u8, cap: u32) -> i64;
        pub fn args(ptr: *mut u8, cap: u32) -> i64;
        pub fn env(ptr: *mut u8, cap: u32) -> i64;
        pub fn cid(h: u32, ptr: *mut u8, cap: u32) -> i64;
        pub fn codec(h: u32) -> i64;
        pub fn kind(h: u32) -> i64;
        pub fn block_read(h: u32, off: u32, ptr: *mut u8, len: u32) -> i64;
        pub fn block_write(codec: u32, ptr: *const u8, len: u32) -> i64;
        pub fn file_read(h: u32, off: u64, ptr: *mut u8, len: u32) -> i64;
        pub fn file_create() -> i64;
        pub fn file_write(h: u32, ptr: *const u8, len: u32) -> i64;
        pub fn file_finish(h: u32) -> i64;
        pub fn link_count(h: u32) -> i64;
        pub fn link(h: u32, i: u32) -> i64;
        pub fn child(h: u32, cid_ptr: *const u8, cid_len: u32) -> i64;
        pub fn resolve(h: u32, path_ptr: *const u8, path_len: u32) -> i64;
        pub fn dir_next(h: u32, cursor: u64, ptr: *mut u8, cap: u32) -> i64;
        pub fn readlink(h: u32, ptr: *mut u8, cap: u32) -> i64;
        pub fn close(h: u32) -> i64;
        pub fn output(h: u32, name_ptr: *const u8, name_len: u32) -> i64;
        pub fn hash(code: u32, ptr: *const u8, len: u32, out: *mut u8, cap: u32) -> i64;
        pub fn log(level: u32, ptr: *const u8, len: u32) -> i64;
        pub fn progress(done: u64, total: u64) -> i64;
    }
}

/// The error of a host call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub const INVAL: Errno = Errno(1);
    pub const FAULT: Errno = Errno(2);
    pub const BADF: Errno = Errno(3);
    pub const NOLINK: Errno = Errno(4);
    pub const CID: Errno = Errno(5);
    pub const CODEC: Errno = Errno(6);
    pub const FORMAT: Errno = Errno(7);
    pub const TOOBIG: Errno = Errno(8);
    pub const MFILE: Errno = Errno(9);
    pub const NOENT: Errno = Errno(10);
    pub const NOTDIR: Errno = Errno(11);
    pub const NOTFILE: Errno = Errno(12);
    pub const RANGE: Errno = Errno(13);
    pub const STATE: Errno = Errno(15);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = [
            "OK", "INVAL", "FAULT", "BADF", "NOLINK", "CID", "CODEC", "FORMAT", "TOOBIG", "MFILE", "NOENT",
            "NOTDIR", "NOTFILE", "RANGE", "", "STATE",
        ];
        match names.get(self.0 as usize) {
            Some(name) if !name.is_empty() => f.write_str(name),
            _ => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

pub type Result<T> = std::result::Result<T, Errno>;

fn check(r: i64) -> Result<u64> {
    if r < 0 {
        return Err(Errno(-r as i32));
    }
    Ok(r as u64)
}

/// Reads the bytes that `call` copies into a buffer; `call` returns the whole length.
fn fetch(call: impl Fn(*mut u8, u32) -> i64) -> Result<Vec<u8>> {
    let mut buf = vec![0; 256];
    loop {
        let n = check(call(buf.as_mut_ptr(), buf.len() as u32))? as usize;
        let fits = n <= buf.len();
        buf.resize(n, 0);
        if fits {
            return Ok(buf);
        }
    }
}

/// Fails with FORMAT on bytes that are not UTF-8.
fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Errno::FORMAT)
}

fn words(bytes: Vec<u8>) -> Result<Vec<String>> {
    let mut words: Vec<String> = text(bytes)?.split('\0').map(String::from).collect();
    words.pop(); // the empty part after the last NUL
    Ok(words)
}

/// The Task's arguments, without a program name.
pub fn args() -> Result<Vec<String>> {
    words(fetch(|p, n| unsafe { host::args(p, n) })?)
}

/// The Task's environment as sorted `K=V`.
pub fn env() -> Result<Vec<String>> {
    words(fetch(|p, n| unsafe { host::env(p, n) })?)
}

/// The Task's inputs, in order: name (which may be empty) and handle. Call it once:
/// an input whose handle was dropped is closed for good.
pub fn inputs() -> Result<Vec<(String, Handle)>> {
    let n = check(unsafe { host::input_count() })? as u32;
    (0..n).map(|i| Ok((input_name(i)?, Handle(i)))).collect()
}

/// The name of the i-th input, which may be empty.
pub fn input_name(i: u32) -> Result<String> {
    text(fetch(|p, n| unsafe { host::input_name(i, p, n) })?)
}

/// The kind of an object, for programs that read files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Raw,
    File,
    Directory,
    Symlink,
    Other,
}

/// Codecs of [`write_block`].
pub const CODEC_RAW: u32 = 0x55;
pub const CODEC_DAG_PB: u32 = 0x70;
pub const CODEC_DAG_CBOR: u32 = 0x71;

/// Hash functions of [`hash`], by their multihash codes.
pub const SHA256: u32 = 0x12;
pub const SHA512: u32 = 0x13;
pub const BLAKE3: u32 = 0x1e;

/// An object that the guest was given or created. Dropping it frees the host's
/// memory for it; the object itself is not changed.
#[derive(Debug)]
pub struct Handle(u32);

impl Drop for Handle {
    fn drop(&mut self) {
        unsafe { host::close(self.0) };
    }
}

impl Handle {
    fn open(r: i64) -> Result<Handle> {
        check(r).map(|h| Handle(h as u32))
    }

    /// Takes ownership of a handle by its number, for calls that this file does not wrap.
    pub fn from_raw(h: u32) -> Handle {
        Handle(h)
    }

    /// Returns the handle's number and leaves the handle open.
    pub fn into_raw(self) -> u32 {
        let h = self.0;
        std::mem::forget(self);
        h
    }

    /// The binary CID of the block.
    pub fn cid(&self) -> Result<Vec<u8>> {
        fetch(|p, n| unsafe { host::cid(self.0, p, n) })
    }

    /// The multicodec of the block.
    pub fn codec(&self) -> Result<u32> {
        check(unsafe { host::codec(self.0) }).map(|c| c as u32)
    }

    pub fn kind(&self) -> Result<Kind> {
        Ok(match check(unsafe { host::kind(self.0) })? {
            0 => Kind::Raw,
            1 => Kind::File,
            2 => Kind::Directory,
            3 => Kind::Symlink,
            _ => Kind::Other,
        })
    }

    /// The length of the block in bytes.
    pub fn block_size(&self) -> Result<u32> {
        check(unsafe { host::block_read(self.0, 0, std::ptr::null_mut(), 0) }).map(|n| n as u32)
    }

    /// The bytes of the block.
    pub fn block(&self) -> Result<Vec<u8>> {
        let mut buf = vec![0; self.block_size()? as usize];
        check(unsafe { host::block_read(self.0, 0, buf.as_mut_ptr(), buf.len() as u32) })?;
        Ok(buf)
    }

    /// The length in bytes of a file or a raw block.
    pub fn size(&self) -> Result<u64> {
        check(unsafe { host::file_read(self.0, 0, std::ptr::null_mut(), 0) })
    }

    /// Reads at `off` and returns how many bytes of `buf` it filled: fewer than all
    /// only at the end of the file. Only blocks of the range are fetched.
    pub fn read_at(&self, off: u64, buf: &mut [u8]) -> Result<usize> {
        let total = check(unsafe { host::file_read(self.0, off, buf.as_mut_ptr(), buf.len() as u32) })?;
        Ok(total.saturating_sub(off).min(buf.len() as u64) as usize)
    }

    /// The number of links in the block.
    pub fn link_count(&self) -> Result<u32> {
        check(unsafe { host::link_count(self.0) }).map(|n| n as u32)
    }

    /// Opens the i-th link, in the order of the block's bytes.
    pub fn link(&self, i: u32) -> Result<Handle> {
        Handle::open(unsafe { host::link(self.0, i) })
    }

    /// Opens the block named by `cid`, which must be a direct link of this one.
    pub fn child(&self, cid: &[u8]) -> Result<Handle> {
        Handle::open(unsafe { host::child(self.0, cid.as_ptr(), cid.len() as u32) })
    }

    /// Walks `a/b/c` from here. Symlinks are not followed.
    pub fn resolve(&self, path: &str) -> Result<Handle> {
        Handle::open(unsafe { host::resolve(self.0, path.as_ptr(), path.len() as u32) })
    }

    /// The names in a directory, as it stores them.
    pub fn names(&self) -> Names {
        Names { dir: self, cursor: Some(0), buf: vec![0; 4 + 255] }
    }

    /// The target of a symlink.
    pub fn readlink(&self) -> Result<String> {
        text(fetch(|p, n| unsafe { host::readlink(self.0, p, n) })?)
    }

    /// Makes the object part of the output: the whole output under the name "", else
    /// a path in one directory. It is discarded unless the run succeeds.
    pub fn output(&self, name: &str) -> Result<()> {
        check(unsafe { host::output(self.0, name.as_ptr(), name.len() as u32) }).map(drop)
    }
}

/// The names in a directory. An error ends the iteration.
pub struct Names<'a> {
    dir: &'a Handle,
    cursor: Option<u64>, // none after the end
    buf: Vec<u8>,        // the name's length in 4 bytes, and the name
}

impl Iterator for Names<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let cursor = self.cursor.take()?;
        loop {
            let (p, n) = (self.buf.as_mut_ptr(), self.buf.len() as u32);
            let next = match check(unsafe { host::dir_next(self.dir.0, cursor, p, n) }) {
                Err(e) => return Some(Err(e)),
                Ok(0) => return None,
                Ok(next) => next,
            };
            let end = 4 + u32::from_le_bytes([self.buf[0], self.buf[1], self.buf[2], self.buf[3]]) as usize;
            if end > self.buf.len() {
                self.buf.resize(end, 0);
                continue; // read the same entry again
            }
            self.cursor = Some(next);
            return Some(text(self.buf[4..end].to_vec()));
        }
    }
}

/// Writes a new file. Its blocks go to the host as they fill.
pub struct Writer(Handle);

impl Writer {
    pub fn create() -> Result<Writer> {
        Handle::open(unsafe { host::file_create() }).map(Writer)
    }

    /// Appends all of `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        check(unsafe { host::file_write((self.0).0, bytes.as_ptr(), bytes.len() as u32) }).map(drop)
    }

    /// Finishes the file and returns it as a readable object.
    pub fn finish(self) -> Result<Handle> {
        check(unsafe { host::file_finish((self.0).0) })?;
        Ok(self.0)
    }
}

/// For `write!`: a failed host call is a `fmt::Error`.
impl fmt::Write for Writer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.write(s.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Creates a block. It may only link to objects whose handles the guest has held.
pub fn write_block(codec: u32, bytes: &[u8]) -> Result<Handle> {
    Handle::open(unsafe { host::block_write(codec, bytes.as_ptr(), bytes.len() as u32) })
}

/// The digest of `bytes` under a multihash code, computed by the host.
pub fn hash(code: u32, bytes: &[u8]) -> Result<Vec<u8>> {
    fetch(|p, n| unsafe { host::hash(code, bytes.as_ptr(), bytes.len() as u32, p, n) })
}

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes a line to the Outcome's stderr.
pub fn log(level: Level, line: &str) {
    unsafe { host::log(level as u32, line.as_ptr(), line.len() as u32) };
}

/// Reports that `done` of `total` units are finished.
pub fn progress(done: u64, total: u64) {
    unsafe { host::progress(done, total) };
}

/// The return code of `liftoff_run`: 0, or 1 after logging the error.
pub fn status<E: fmt::Display>(result: std::result::Result<(), E>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => {
            log(Level::Error, &e.to_string());
            1
        }
    }
}

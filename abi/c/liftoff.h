/* liftoff.h: the host calls of the ABI liftoff_v1, for C and C++ guests.
 *
 * Every call returns an int64_t: an answer if it is >= 0, a negated errno of
 * enum liftoff_errno if it is < 0. The guest owns every buffer. Handles
 * 0..n-1 are the Task's inputs; the others are returned by calls.
 *
 * A guest exports "memory" and
 *
 *     LIFTOFF_EXPORT(liftoff_run) int liftoff_run(void);
 *
 * which returns 0 for success, 1..255 for its own failure. Build it with plain
 * clang, without a C library or with wasi-libc as a reactor:
 *
 *     clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -o guest.wasm guest.c
 *     clang --target=wasm32-wasi -O2 -mexec-model=reactor -o guest.wasm guest.c
 */
#ifndef LIFTOFF_H
#define LIFTOFF_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LIFTOFF_EXPORT(name) __attribute__((export_name(#name)))
#define LIFTOFF_CALL(name) __attribute__((import_module("liftoff_v1"), import_name(#name)))

enum liftoff_errno {
	LIFTOFF_INVAL = 1,    /* an argument that is never valid */
	LIFTOFF_FAULT = 2,    /* [ptr, ptr+len) is not inside the memory */
	LIFTOFF_BADF = 3,     /* no such handle, or of the wrong kind */
	LIFTOFF_NOLINK = 4,   /* not a link of an object that the guest holds */
	LIFTOFF_CID = 5,      /* not a CID */
	LIFTOFF_CODEC = 6,    /* an unsupported codec or hash function */
	LIFTOFF_FORMAT = 7,   /* the block's bytes are not valid for its codec */
	LIFTOFF_TOOBIG = 8,   /* a block of more than 1 MiB */
	LIFTOFF_MFILE = 9,    /* 4,096 live handles already */
	LIFTOFF_NOENT = 10,   /* no such entry */
	LIFTOFF_NOTDIR = 11,  /* not a directory */
	LIFTOFF_NOTFILE = 12, /* not a file */
	LIFTOFF_RANGE = 13,   /* an index beyond the end */
	LIFTOFF_STATE = 15    /* a call that is not allowed in the current state */
};

/* The results of liftoff_kind. */
enum liftoff_kind {
	LIFTOFF_RAW = 0, /* a raw block: bytes, and a file of one leaf */
	LIFTOFF_FILE = 1,
	LIFTOFF_DIRECTORY = 2,
	LIFTOFF_SYMLINK = 3,
	LIFTOFF_OTHER = 4
};

/* Codecs of liftoff_block_write, hash functions of liftoff_hash. */
enum { LIFTOFF_CODEC_RAW = 0x55, LIFTOFF_CODEC_DAG_PB = 0x70, LIFTOFF_CODEC_DAG_CBOR = 0x71 };
enum { LIFTOFF_SHA256 = 0x12, LIFTOFF_SHA512 = 0x13, LIFTOFF_BLAKE3 = 0x1e };

/* Levels of liftoff_log. */
enum { LIFTOFF_DEBUG = 0, LIFTOFF_INFO = 1, LIFTOFF_WARN = 2, LIFTOFF_ERROR = 3 };

/* The number of inputs, and the name of the i-th, which may be empty. The calls for
 * a name, a CID, args and env return the whole length and copy at most cap bytes. */
LIFTOFF_CALL(input_count) int64_t liftoff_input_count(void);
LIFTOFF_CALL(input_name) int64_t liftoff_input_name(uint32_t i, char *ptr, uint32_t cap);

/* Strings, each terminated by a NUL; those of env are "K=V", sorted. */
LIFTOFF_CALL(args) int64_t liftoff_args(char *ptr, uint32_t cap);
LIFTOFF_CALL(env) int64_t liftoff_env(char *ptr, uint32_t cap);

/* The binary CID of a handle, its block's multicodec, its enum liftoff_kind. */
LIFTOFF_CALL(cid) int64_t liftoff_cid(uint32_t h, uint8_t *ptr, uint32_t cap);
LIFTOFF_CALL(codec) int64_t liftoff_codec(uint32_t h);
LIFTOFF_CALL(kind) int64_t liftoff_kind(uint32_t h);

/* Reads return the size of the whole and copy every byte of the range that
 * exists: they are never short. With len 0 they only return the size. */
LIFTOFF_CALL(block_read) int64_t liftoff_block_read(uint32_t h, uint32_t off, void *ptr, uint32_t len);
LIFTOFF_CALL(file_read) int64_t liftoff_file_read(uint32_t h, uint64_t off, void *ptr, uint32_t len);

/* Creates a block; returns its handle. It may only link to objects whose handles the
 * guest has held. */
LIFTOFF_CALL(block_write) int64_t liftoff_block_write(uint32_t codec, const void *ptr, uint32_t len);

/* Creates a file: create returns a writer's handle, write the bytes so far; after
 * finish the handle is a readable object. */
LIFTOFF_CALL(file_create) int64_t liftoff_file_create(void);
LIFTOFF_CALL(file_write) int64_t liftoff_file_write(uint32_t h, const void *ptr, uint32_t len);
LIFTOFF_CALL(file_finish) int64_t liftoff_file_finish(uint32_t h);

/* Links of a block, in the order of its bytes, by index or by CID: new handles. */
LIFTOFF_CALL(link_count) int64_t liftoff_link_count(uint32_t h);
LIFTOFF_CALL(link) int64_t liftoff_link(uint32_t h, uint32_t i);
LIFTOFF_CALL(child) int64_t liftoff_child(uint32_t h, const uint8_t *cid_ptr, uint32_t cid_len);

/* The handle at the path "a/b/c" below h: directories, dag-cbor keys and indexes.
 * Symlinks are not followed. */
LIFTOFF_CALL(resolve) int64_t liftoff_resolve(uint32_t h, const char *path_ptr, uint32_t path_len);

/* Directory entries: start with cursor 0, continue with the result until it is 0.
 * ptr receives the name's length (4 bytes, little endian) and its bytes. */
LIFTOFF_CALL(dir_next) int64_t liftoff_dir_next(uint32_t h, uint64_t cursor, void *ptr, uint32_t cap);

/* The target of a symlink. */
LIFTOFF_CALL(readlink) int64_t liftoff_readlink(uint32_t h, char *ptr, uint32_t cap);

/* Frees the host's memory for h. */
LIFTOFF_CALL(close) int64_t liftoff_close(uint32_t h);

/* Makes h part of the output, finishing a writer: an empty name is the whole
 * output, else name is a path in one directory. Discarded unless the run succeeds. */
LIFTOFF_CALL(output) int64_t liftoff_output(uint32_t h, const char *name_ptr, uint32_t name_len);

/* The digest of [ptr, ptr+len), computed by the host; returns its length. */
LIFTOFF_CALL(hash) int64_t liftoff_hash(uint32_t code, const void *ptr, uint32_t len, uint8_t *out, uint32_t cap);

/* Writes a line to the Outcome's stderr. */
LIFTOFF_CALL(log) int64_t liftoff_log(uint32_t level, const char *ptr, uint32_t len);

/* Reports progress; not part of the Outcome. */
LIFTOFF_CALL(progress) int64_t liftoff_progress(uint64_t done, uint64_t total);

#ifdef __cplusplus
}
#endif

#endif

/* sdk makes every call of the ABI through the C header and outputs a transcript. The
 * Go and Rust guests next to it do the same and must write the same bytes. It is a
 * reactor of wasi-libc. */
#include "liftoff.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char out[64 << 10];
static size_t len;

static void put(const char *format, ...)
{
	va_list a;
	va_start(a, format);
	len += (size_t)vsnprintf(out + len, sizeof out - len, format, a);
	va_end(a);
}

static const char *errno_name(int64_t r)
{
	static const char *const names[] = {
		"OK", "INVAL", "FAULT", "BADF", "NOLINK", "CID", "CODEC", "FORMAT",
		"TOOBIG", "MFILE", "NOENT", "NOTDIR", "NOTFILE", "RANGE", "14", "STATE",
	};
	return names[-r];
}

/* The lines of the transcript: an error by its name, an answer as a number, a text,
 * bytes in hex, or as "done". */
static void say_number(const char *what, int64_t r)
{
	if (r < 0)
		put("%s: %s\n", what, errno_name(r));
	else
		put("%s: %lld\n", what, (long long)r);
}

static void say_text(const char *what, int64_t r, const char *text)
{
	if (r < 0)
		put("%s: %s\n", what, errno_name(r));
	else
		put("%s: %.*s\n", what, (int)r, text);
}

static void say_hex(const char *what, int64_t r, const uint8_t *bytes)
{
	if (r < 0) {
		put("%s: %s\n", what, errno_name(r));
		return;
	}
	put("%s: ", what);
	for (int64_t i = 0; i < r; i++)
		put("%02x", bytes[i]);
	put("\n");
}

static void say_done(const char *what, int64_t r) { say_text(what, r < 0 ? r : 4, "done"); }

static char text[4096];
static uint8_t bytes[2 << 20];
enum { TREE = 0, FILE_ = 1 };

/* A string constant and its length, as parameters of a call. */
#define S(s) s, sizeof(s) - 1

static void task(void)
{
	int64_t n = liftoff_input_count();
	for (uint32_t i = 0; i < (uint32_t)n; i++) {
		put("input %u", i);
		say_text("", liftoff_input_name(i, text, sizeof text), text);
	}
	say_text("input 9", liftoff_input_name(9, text, sizeof text), text);

	n = liftoff_args(text, sizeof text);
	for (int64_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : '|';
	say_text("args", n - 1, text);
	n = liftoff_env(text, sizeof text);
	for (int64_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : '|';
	say_text("env", n - 1, text);

	say_done("progress", liftoff_progress(1, 2));
	say_done("log", liftoff_log(LIFTOFF_INFO, S("a line")));
}

static void objects(void)
{
	for (uint32_t h = TREE; h <= FILE_; h++) {
		say_hex("cid", liftoff_cid(h, bytes, sizeof bytes), bytes);
		say_number("codec", liftoff_codec(h));
		say_number("kind", liftoff_kind(h));
	}
	say_number("kind of nothing", liftoff_kind(999));
}

static void directories(void)
{
	int64_t cursor = 0;
	while ((cursor = liftoff_dir_next(TREE, (uint64_t)cursor, bytes, sizeof bytes)) > 0) {
		uint32_t n;
		memcpy(&n, bytes, 4);
		say_text("name", n, (char *)bytes + 4);
	}
	int64_t link = liftoff_resolve(TREE, S("link"));
	say_done("resolve link", link);
	say_text("readlink", liftoff_readlink((uint32_t)link, text, sizeof text), text);
	say_text("readlink of a directory", liftoff_readlink(TREE, text, sizeof text), text);
	say_number("resolve nothing", liftoff_resolve(TREE, S("nothing")));
	say_number("resolve below a file", liftoff_resolve(TREE, S("a/b")));
}

/* The bytes available to a read of n bytes at off. */
static int64_t filled(int64_t total, int64_t off, int64_t n)
{
	if (total < 0)
		return total;
	total = total > off ? total - off : 0;
	return total < n ? total : n;
}

static void files(void)
{
	uint32_t small = (uint32_t)liftoff_resolve(TREE, S("dir/c"));
	say_text("read", filled(liftoff_file_read(small, 0, text, 20), 0, 20), text);
	int64_t size = liftoff_file_read(FILE_, 0, NULL, 0);
	say_number("size", size);
	int64_t off = size - 10;
	say_text("the last 10", filled(liftoff_file_read(FILE_, (uint64_t)off, text, 20), off, 20), text);
	off = size + 10;
	say_number("past the end", filled(liftoff_file_read(FILE_, (uint64_t)off, text, 20), off, 20));
	say_number("size of a directory", liftoff_file_read(TREE, 0, NULL, 0));

	uint32_t w = (uint32_t)liftoff_file_create();
	liftoff_file_write(w, S("two "));
	liftoff_file_write(w, S("writes"));
	liftoff_file_finish(w);
	say_hex("cid of a new file", liftoff_cid(w, bytes, sizeof bytes), bytes);
}

static void blocks(void)
{
	uint8_t cid[64];
	say_number("links", liftoff_link_count(FILE_));
	int64_t n = liftoff_cid((uint32_t)liftoff_link(FILE_, 1), cid, sizeof cid);
	say_hex("link 1", n, cid);
	say_number("link 99", liftoff_link(FILE_, 99));
	uint32_t child = (uint32_t)liftoff_child(FILE_, cid, (uint32_t)n);
	say_done("child", child);
	say_number("child of no CID", liftoff_child(FILE_, (const uint8_t *)S("not a CID")));
	n = liftoff_cid(TREE, cid, sizeof cid);
	say_number("child that is no link", liftoff_child(FILE_, cid, (uint32_t)n));

	n = liftoff_block_read(child, 0, bytes, sizeof bytes);
	say_number("block", n);
	static const uint32_t codes[] = {LIFTOFF_SHA256, LIFTOFF_SHA512, LIFTOFF_BLAKE3, 0};
	for (int i = 0; i < 4; i++) {
		put("hash %u", codes[i]);
		say_hex("", liftoff_hash(codes[i], bytes, (uint32_t)n, cid, sizeof cid), cid);
	}
	uint32_t h = (uint32_t)liftoff_block_write(LIFTOFF_CODEC_RAW, S("hello"));
	say_hex("cid of a new block", liftoff_cid(h, cid, sizeof cid), cid);
	say_number("block of another codec", liftoff_block_write(0x99, S("hello")));
	liftoff_close(h);
	say_number("cid after close", liftoff_cid(h, cid, sizeof cid));
}

LIFTOFF_EXPORT(liftoff_run) int liftoff_run(void)
{
	task();
	objects();
	directories();
	files();
	blocks();
	uint32_t w = (uint32_t)liftoff_file_create();
	if (liftoff_file_write(w, out, (uint32_t)len) < 0)
		return 1;
	if (liftoff_output(w, S("transcript")) < 0 || liftoff_output(FILE_, S("copies/file")) < 0)
		return 2;
	return 0;
}

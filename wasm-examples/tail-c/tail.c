/* tail: outputs the last 4 KiB of its first input, whatever the input's size, and
 * reads only the blocks that hold them. A guest of the ABI liftoff_v1 without a
 * C library: it names the failed call in the log. */
#include "liftoff.h"

enum { TAIL = 4096 };

static uint8_t buf[TAIL];

static int fail(const char *call, uint32_t len)
{
	liftoff_log(LIFTOFF_ERROR, call, len);
	return 1;
}

#define FAIL(call) fail(call, sizeof(call) - 1)

LIFTOFF_EXPORT(liftoff_run) int liftoff_run(void)
{
	int64_t size = liftoff_file_read(0, 0, 0, 0); /* len 0 returns the size */
	if (size < 0)
		return FAIL("tail: the first input is no file");

	uint32_t n = size < TAIL ? (uint32_t)size : TAIL;
	if (liftoff_file_read(0, (uint64_t)size - n, buf, n) < 0)
		return FAIL("tail: file_read");

	int64_t out = liftoff_file_create();
	if (out < 0)
		return FAIL("tail: file_create");
	if (liftoff_file_write((uint32_t)out, buf, n) < 0)
		return FAIL("tail: file_write");
	if (liftoff_output((uint32_t)out, "", 0) < 0)
		return FAIL("tail: output");
	return 0;
}

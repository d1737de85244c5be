/* sha256sum: prints the SHA-256 of every file below the given paths (default /in),
 * like coreutils: "digest  path", directories in sorted order. It is a plain POSIX
 * program without any use of liftoff. */
#include "sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed;

static void fail(const char *path)
{
	fprintf(stderr, "sha256sum: %s: %s\n", path, strerror(errno));
	failed = 1;
}

static void hash_file(const char *path)
{
	static uint8_t buf[64 << 10];
	struct sha256 s;
	uint8_t digest[32];
	ssize_t n;
	int fd = open(path, O_RDONLY);
	if (fd < 0) {
		fail(path);
		return;
	}
	sha256_init(&s);
	while ((n = read(fd, buf, sizeof buf)) > 0)
		sha256_update(&s, buf, (size_t)n);
	if (n < 0)
		fail(path);
	close(fd);
	if (n < 0)
		return;
	sha256_final(&s, digest);
	for (int i = 0; i < 32; i++)
		printf("%02x", digest[i]);
	printf("  %s\n", path);
}

static void walk(const char *path);

static void walk_dir(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort);
	if (n < 0) {
		fail(path);
		return;
	}
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;
		size_t size = strlen(path) + 1 + strlen(name) + 1;
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			char *child = malloc(size);
			if (child == NULL) {
				fail(path);
				exit(1);
			}
			snprintf(child, size, "%s/%s", path, name);
			walk(child);
			free(child);
		}
		free(entries[i]);
	}
	free(entries);
}

/* walk hashes a file, enters a directory and skips everything else. */
static void walk(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		fail(path);
	else if (S_ISDIR(st.st_mode))
		walk_dir(path);
	else if (S_ISREG(st.st_mode))
		hash_file(path);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		walk("/in");
	for (int i = 1; i < argc; i++)
		walk(argv[i]);
	if (fflush(stdout) != 0)
		fail("stdout");
	return failed;
}

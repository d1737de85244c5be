// What a C program expects of a file system and of time, beyond what the Go guest
// tests: descriptors of directories, listings that change, terminals, poll.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                              \
	do {                                                                  \
		if (!(x)) {                                                   \
			printf("FAIL line %d: %s: %s\n", __LINE__, #x, strerror(errno)); \
			exit(1);                                              \
		}                                                             \
	} while (0)

static void put(int dir, const char *name, const char *text) {
	int fd = openat(dir, name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	CHECK(fd >= 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK(close(fd) == 0);
}

static void directories(void) {
	CHECK(mkdir("/out/a", 0755) == 0);
	int a = open("/out/a", O_RDONLY | O_DIRECTORY);
	CHECK(a >= 0);
	put(a, "f", "in a");
	CHECK(rename("/out/a", "/out/b") == 0);
	put(a, "g", "after the rename"); // a directory keeps its descriptors
	struct stat st;
	CHECK(stat("/out/b/g", &st) == 0 && st.st_size == 16);
	CHECK(fstatat(a, "../b/g", &st, 0) == 0);
	CHECK(fstatat(a, "/out/b/g", &st, 0) == 0);
	CHECK(unlinkat(a, "f", 0) == 0 && unlinkat(a, "g", 0) == 0);
	CHECK(rmdir("/out/b") == 0);
	CHECK(openat(a, "h", O_CREAT | O_WRONLY, 0644) < 0 && errno == ENOENT);
	CHECK(close(a) == 0);
}

static void listings(void) {
	char name[32];
	CHECK(mkdir("/out/l", 0755) == 0);
	int l = open("/out/l", O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof name, "entry-%d", i);
		put(l, name, "");
	}
	DIR *d = opendir("/out/l");
	CHECK(d != NULL);
	int seen = 0;
	struct dirent *e;
	while ((e = readdir(d)) != NULL) { // rm -r: every entry is removed while the listing runs
		if (e->d_name[0] == '.')
			continue;
		CHECK(e->d_type == DT_REG);
		CHECK(unlinkat(l, e->d_name, 0) == 0);
		seen++;
	}
	CHECK(seen == 500);
	put(l, "x", "");
	put(l, "y", "");
	rewinddir(d);
	CHECK((e = readdir(d)) && strcmp(e->d_name, ".") == 0);
	CHECK((e = readdir(d)) && strcmp(e->d_name, "..") == 0);
	CHECK((e = readdir(d)) && strcmp(e->d_name, "x") == 0);
	CHECK((e = readdir(d)) && strcmp(e->d_name, "y") == 0);
	CHECK(readdir(d) == NULL);
	CHECK(closedir(d) == 0);
	CHECK(unlinkat(l, "x", 0) == 0 && unlinkat(l, "y", 0) == 0 && rmdir("/out/l") == 0);
	d = opendir("/in/tree");
	CHECK(d != NULL);
	int kinds[16] = {0};
	while ((e = readdir(d)) != NULL)
		kinds[e->d_type & 15]++;
	CHECK(kinds[DT_DIR & 15] == 3 && kinds[DT_LNK & 15] == 2);
	closedir(d);
}

static void streams(void) {
	CHECK(!isatty(0) && !isatty(1) && !isatty(2));
	CHECK(lseek(1, 0, SEEK_CUR) < 0 && errno == ESPIPE);
	struct stat st;
	CHECK(fstat(0, &st) == 0 && fstat(1, &st) == 0);
	FILE *f = fopen("/out/s", "w+");
	CHECK(f != NULL);
	for (int i = 0; i < 100000; i++)
		fprintf(f, "%d\n", i);
	rewind(f);
	int n, last = -1;
	while (fscanf(f, "%d", &n) == 1)
		CHECK(n == ++last);
	CHECK(last == 99999);
	CHECK(fclose(f) == 0);
	char buf[4];
	CHECK(symlink("0123456789", "/out/link") == 0);
	CHECK(readlink("/out/link", buf, 4) == 4 && memcmp(buf, "0123", 4) == 0);
	CHECK(link("/out/s", "/out/t") < 0 && errno == ENOTSUP);
}

static long long now(clockid_t id) {
	struct timespec t;
	CHECK(clock_gettime(id, &t) == 0);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void times(void) {
	long long a = now(CLOCK_REALTIME), b = now(CLOCK_MONOTONIC);
	CHECK(b - a == 500); // the price of a host call: this guest is not metered
	struct timespec day = {86400, 0};
	CHECK(nanosleep(&day, NULL) == 0);
	CHECK(now(CLOCK_MONOTONIC) - b >= 86400LL * 1000000000LL);
	struct pollfd p[2] = {{.fd = 0, .events = POLLRDNORM}, {.fd = 1, .events = POLLWRNORM}};
	a = now(CLOCK_REALTIME);
	CHECK(poll(p, 2, 100000) == 2);
	CHECK(p[0].revents & POLLRDNORM && p[1].revents & POLLWRNORM);
	CHECK(now(CLOCK_REALTIME) - a < 1000000);
	CHECK(poll(p, 0, 5000) == 0);
	CHECK(now(CLOCK_REALTIME) - a >= 5000000000LL);
}

int main(int argc, char **argv) {
	directories();
	listings();
	streams();
	times();
	printf("%d %s\n", argc, argv[1]);
	return 3;
}

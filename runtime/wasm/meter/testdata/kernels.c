// Small programs that each do one kind of work. Built by:
//   clang --target=wasm32 -O2 -fno-vectorize -fno-slp-vectorize -msimd128 -mbulk-memory -c kernels.c -o kernels.o
//   wasm-ld --no-entry --strip-all kernels.o -o kernels.wasm
#include <stdint.h>
#include <wasm_simd128.h>

#define KERNEL(name) __attribute__((export_name(#name))) double name(int n)

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }
static const uint32_t K[64] = {
	0x428a2f98,0x71374491,0xb5c0fbcf,0xe9b5dba5,0x3956c25b,0x59f111f1,0x923f82a4,0xab1c5ed5,0xd807aa98,0x12835b01,0x243185be,0x550c7dc3,0x72be5d74,0x80deb1fe,0x9bdc06a7,0xc19bf174,
	0xe49b69c1,0xefbe4786,0x0fc19dc6,0x240ca1cc,0x2de92c6f,0x4a7484aa,0x5cb0a9dc,0x76f988da,0x983e5152,0xa831c66d,0xb00327c8,0xbf597fc7,0xc6e00bf3,0xd5a79147,0x06ca6351,0x14292967,
	0x27b70a85,0x2e1b2138,0x4d2c6dfc,0x53380d13,0x650a7354,0x766a0abb,0x81c2c92e,0x92722c85,0xa2bfe8a1,0xa81a664b,0xc24b8b70,0xc76c51a3,0xd192e819,0xd6990624,0xf40e3585,0x106aa070,
	0x19a4c116,0x1e376c08,0x2748774c,0x34b0bcb5,0x391c0cb3,0x4ed8aa4a,0x5b9cca4f,0x682e6ff3,0x748f82ee,0x78a5636f,0x84c87814,0x8cc70208,0x90befffa,0xa4506ceb,0xbef9a3f7,0xc67178f2};

KERNEL(sha256) {
	uint32_t h[8] = {0x6a09e667,0xbb67ae85,0x3c6ef372,0xa54ff53a,0x510e527f,0x9b05688c,0x1f83d9ab,0x5be0cd19}, w[64];
	for (int block = 0; block < n * 1000; block++) {
		for (int i = 0; i < 16; i++) w[i] = block * 31 + i;
		for (int i = 16; i < 64; i++)
			w[i] = w[i-16] + (rotr(w[i-15], 7) ^ rotr(w[i-15], 18) ^ w[i-15] >> 3) + w[i-7] + (rotr(w[i-2], 17) ^ rotr(w[i-2], 19) ^ w[i-2] >> 10);
		uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], z = h[7];
		for (int i = 0; i < 64; i++) {
			uint32_t t1 = z + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
			uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
			z = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
		}
		h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += z;
	}
	return h[0];
}

#define SIZE 96
static double A[SIZE][SIZE], B[SIZE][SIZE], C[SIZE][SIZE];
KERNEL(matmul) {
	for (int i = 0; i < SIZE; i++) for (int j = 0; j < SIZE; j++) A[i][j] = i + j, B[i][j] = i - j, C[i][j] = 0;
	for (int r = 0; r < n; r++)
		for (int i = 0; i < SIZE; i++) for (int k = 0; k < SIZE; k++) for (int j = 0; j < SIZE; j++)
			C[i][j] += A[i][k] * B[k][j];
	return C[3][5];
}

struct body { double x[3], v[3], m; };
static struct body bodies[5];
KERNEL(nbody) {
	for (int i = 0; i < 5; i++) {
		for (int k = 0; k < 3; k++) bodies[i].x[k] = i * 3 + k * k, bodies[i].v[k] = (i ^ k) * 0.1;
		bodies[i].m = 1 + i;
	}
	for (int r = 0; r < n * 10000; r++) {
		for (int i = 0; i < 5; i++) for (int j = i + 1; j < 5; j++) {
			double d[3], q = 0.01;
			for (int k = 0; k < 3; k++) d[k] = bodies[i].x[k] - bodies[j].x[k], q += d[k] * d[k];
			double mag = 0.001 / (q * __builtin_sqrt(q));
			for (int k = 0; k < 3; k++) bodies[i].v[k] -= d[k] * bodies[j].m * mag, bodies[j].v[k] += d[k] * bodies[i].m * mag;
		}
		for (int i = 0; i < 5; i++) for (int k = 0; k < 3; k++) bodies[i].x[k] += 0.001 * bodies[i].v[k];
	}
	return bodies[0].x[0];
}

KERNEL(mandelbrot) {
	int inside = 0;
	for (int p = 0; p < n * 1000; p++) {
		double cx = (p % 100) / 50.0 - 1.5, cy = (p / 100 % 100) / 50.0 - 1, x = 0, y = 0;
		int i = 0;
		for (; i < 200 && x * x + y * y < 4; i++) { double t = x * x - y * y + cx; y = 2 * x * y + cy; x = t; }
		inside += i;
	}
	return inside;
}

static int numbers[20000];
typedef int (*order)(int, int);
static int up(int a, int b) { return a < b; }
static int down(int a, int b) { return a > b; }
static void quick(int *a, int n, order before) {
	while (n > 1) {
		int p = a[n / 2], i = 0, j = n - 1;
		for (;; i++, j--) {
			while (before(a[i], p)) i++;
			while (before(p, a[j])) j--;
			if (i >= j) break;
			int t = a[i]; a[i] = a[j]; a[j] = t;
		}
		quick(a, i, before);
		a += i; n -= i;
	}
}
static volatile order orders[2] = {up, down};
KERNEL(quicksort) {
	for (int r = 0; r < n; r++) {
		for (int i = 0; i < 20000; i++) numbers[i] = i * 7919 % 20011;
		quick(numbers, 20000, orders[r & 1]);
	}
	return numbers[10];
}

static char text[1 << 16];
KERNEL(wordcount) {
	for (int i = 0; i < sizeof text; i++) text[i] = i * i % 13 < 3 ? ' ' : 'a' + i % 26;
	int words = 0;
	for (int r = 0; r < n * 10; r++) {
		int in = 0;
		for (int i = 0; i < sizeof text; i++) {
			int space = text[i] == ' ' || text[i] == '\n' || text[i] == '\t';
			if (!space && !in) words++;
			in = !space;
		}
		text[r % sizeof text] ^= 1;
	}
	return words;
}

static float xs[4096], ys[4096];
KERNEL(saxpy) {
	for (int i = 0; i < 4096; i++) xs[i] = i, ys[i] = 1;
	v128_t a = wasm_f32x4_splat(0.5f);
	for (int r = 0; r < n * 100; r++)
		for (int i = 0; i < 4096; i += 4)
			wasm_v128_store(ys + i, wasm_f32x4_add(wasm_f32x4_mul(a, wasm_v128_load(xs + i)), wasm_v128_load(ys + i)));
	return ys[77];
}

__attribute__((noinline)) static int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
KERNEL(fib) { return fibonacci(18 + n / 4); }

// JSON numbers and strings, counted by a parser of one character at a time.
static char json[1 << 14];
static int at;
static int value(void) {
	while (json[at] == ' ') at++;
	int c = json[at++], sum = 1;
	if (c == '[') {
		while (json[at] != ']') { sum += value(); if (json[at] == ',') at++; }
		at++;
	} else if (c == '"') {
		while (json[at] != '"') sum += json[at++];
		at++;
	} else {
		for (sum = c - '0'; json[at] >= '0' && json[at] <= '9'; at++) sum = sum * 10 + json[at] - '0';
	}
	return sum;
}
KERNEL(parse) {
	int p = 0;
	json[p++] = '[';
	for (int i = 0; p < sizeof json - 64; i++) {
		const char *s = i % 3 ? "[12345, 7, \"some text\"]," : "98765,";
		for (; *s; s++) json[p++] = *s;
	}
	json[p - 1] = ']';
	int sum = 0;
	for (int r = 0; r < n * 10; r++) { at = 0; sum += value(); }
	return sum;
}

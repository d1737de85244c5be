// Kernels that BenchmarkOverhead times: main(name, rounds).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasm_simd128.h>

#define N 160
static double a[N][N], b[N][N], c[N][N];

static double matmul(int rounds) {
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			a[i][j] = i + j, b[i][j] = i - j;
	for (int r = 0; r < rounds; r++)
		for (int i = 0; i < N; i++)
			for (int j = 0; j < N; j++) {
				double sum = 0;
				for (int k = 0; k < N; k++)
					sum += a[i][k] * b[k][j];
				c[i][j] = sum;
			}
	return c[3][5];
}

static int less(const void *x, const void *y) {
	unsigned a = *(const unsigned *)x, b = *(const unsigned *)y;
	return (a > b) - (a < b);
}

static double quicksort(int rounds) {
	static unsigned v[1 << 16];
	unsigned seed = 1;
	for (int r = 0; r < rounds; r++) {
		for (int i = 0; i < 1 << 16; i++)
			v[i] = seed = seed * 1664525 + 1013904223;
		qsort(v, 1 << 16, sizeof v[0], less);
	}
	return v[100];
}

struct body { double x[3], v[3], m; };

static double nbody(int rounds) {
	struct body s[5];
	for (int i = 0; i < 5; i++)
		for (int k = 0; k < 3; k++)
			s[i].x[k] = i * 3 + k, s[i].v[k] = 0.1 * k - 0.05 * i, s[i].m = 1 + i;
	for (int r = 0; r < rounds * 50000; r++) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double d[3], q = 0;
				for (int k = 0; k < 3; k++)
					d[k] = s[i].x[k] - s[j].x[k], q += d[k] * d[k];
				double mag = 0.001 / (q * __builtin_sqrt(q));
				for (int k = 0; k < 3; k++)
					s[i].v[k] -= d[k] * s[j].m * mag, s[j].v[k] += d[k] * s[i].m * mag;
			}
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < 3; k++)
				s[i].x[k] += 0.001 * s[i].v[k];
	}
	return s[0].x[0];
}

static double mandelbrot(int rounds) {
	int inside = 0;
	for (int r = 0; r < rounds; r++)
		for (int y = 0; y < 200; y++)
			for (int x = 0; x < 200; x++) {
				double cr = x / 100.0 - 1.5, ci = y / 100.0 - 1, zr = 0, zi = 0;
				int n = 0;
				for (; n < 200 && zr * zr + zi * zi < 4; n++) {
					double t = zr * zr - zi * zi + cr;
					zi = 2 * zr * zi + ci, zr = t;
				}
				inside += n == 200;
			}
	return inside;
}

static double saxpy(int rounds) {
	static float x[1 << 14], y[1 << 14];
	for (int i = 0; i < 1 << 14; i++)
		x[i] = i, y[i] = 1;
	v128_t k = wasm_f32x4_splat(0.001f);
	for (int r = 0; r < rounds * 100; r++)
		for (int i = 0; i < 1 << 14; i += 4)
			wasm_v128_store(y + i, wasm_f32x4_add(wasm_v128_load(y + i), wasm_f32x4_mul(k, wasm_v128_load(x + i))));
	return y[77];
}

static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static double fibonacci(int rounds) { return fib(24 + rounds); }

static double words(int rounds) {
	static char text[1 << 20];
	for (int i = 0; i < 1 << 20; i++)
		text[i] = "the quick brown fox\n"[i % 20];
	int n = 0;
	for (int r = 0; r < rounds; r++) {
		int in = 0;
		for (int i = 0; i < 1 << 20; i++) {
			int space = text[i] == ' ' || text[i] == '\n';
			n += !space && !in, in = !space;
		}
	}
	return n;
}

int main(int argc, char **argv) {
	struct { const char *name; double (*run)(int); } all[] = {
		{"matmul", matmul}, {"quicksort", quicksort}, {"nbody", nbody}, {"mandelbrot", mandelbrot},
		{"saxpy-simd", saxpy}, {"fib", fibonacci}, {"words", words},
	};
	for (int i = 0; i < (int)(sizeof all / sizeof all[0]); i++)
		if (argc == 3 && !strcmp(argv[1], all[i].name))
			return printf("%g\n", all[i].run(atoi(argv[2]))) < 0;
	return 2;
}

/* sha256.h: SHA-256 (FIPS 180-4) in plain C. */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
	uint32_t state[8];
	uint64_t length;  /* bytes so far */
	uint8_t rest[64]; /* the last length % 64 of them */
};

void sha256_init(struct sha256 *s);
void sha256_update(struct sha256 *s, const uint8_t *p, size_t n);
void sha256_final(struct sha256 *s, uint8_t digest[32]);

#endif

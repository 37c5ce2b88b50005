/* hash: a 64-bit hash for look-ups; does not resist an attacker who chooses the bytes.
 * SPDX-License-Identifier: MIT
 * Words of 8 bytes, multiplied and rotated; long input in four lanes, which a processor computes in parallel. */
#include "base/hash.h"

#define P1 0x9E3779B185EBCA87u
#define P2 0xC2B2AE3D27D4EB4Fu
#define P3 0x165667B19E3779F9u

static uint64_t rotated(uint64_t v, int bits) { return v << bits | v >> (64 - bits); }

static uint64_t word(const char *at)
{
	uint64_t v;
	memcpy(&v, at, sizeof v);
	return v;
}

static uint64_t stirred(uint64_t lane, uint64_t v) { return rotated(lane + v * P2, 31) * P1; }

static uint64_t finished(uint64_t h)
{
	h = (h ^ h >> 33) * P2;
	h = (h ^ h >> 29) * P3;
	return h ^ h >> 32;
}

uint64_t mr_hash(uint64_t hash, mr_slice bytes)
{
	const char *at = bytes.data;
	size_t left = bytes.size;
	uint64_t h = stirred(hash, bytes.size);
	if (left >= 64) {
		uint64_t lanes[4] = {h, h ^ P1, h ^ P2, h ^ P3};
		for (; left >= 32; at += 32, left -= 32)
			for (int i = 0; i < 4; i++) lanes[i] = stirred(lanes[i], word(at + 8 * i));
		for (int i = 0; i < 4; i++) h = stirred(h, finished(lanes[i]));
	}
	for (; left >= 8; at += 8, left -= 8) h = stirred(h, word(at));
	uint64_t rest = 0;
	if (left) memcpy(&rest, at, left);
	return finished(stirred(h, rest));
}

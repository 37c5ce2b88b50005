/* hash: a 64-bit hash for look-ups; does not resist an attacker who chooses the bytes.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. Several GB/s: cheap compared with the copy of a body. */
#ifndef MR_BASE_HASH_H
#define MR_BASE_HASH_H

#include "base/slice.h"

/* Continues `hash` (any start value) with these bytes and their number: "ab", "c" differs from "a",
 * "bc". */
uint64_t mr_hash(uint64_t hash, mr_slice bytes);

#endif

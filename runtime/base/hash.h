/* hash: 64 bits over any number of bytes, for finding things again; no defence against who picks the bytes.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. Several GB/s: a body of any size may be hashed whole where it is copied anyway. */
#ifndef MR_BASE_HASH_H
#define MR_BASE_HASH_H

#include "base/slice.h"

/* Continues `hash` (any start) with these bytes and their number: "ab", "c" is not "a", "bc". */
uint64_t mr_hash(uint64_t hash, mr_slice bytes);

#endif

/* shelf: keeps memory that was given back for the next who needs as much.
 * SPDX-License-Identifier: MIT */
#include "base/shelf.h"

#include <string.h>

#include "base/alloc.h"

#define LEAST_BITS 9

_Static_assert(1 << LEAST_BITS == MR_SHELF_LEAST, "the first step");

/* What is given back must be seen by the sanitizer as freed. */
#ifdef __SANITIZE_ADDRESS__
enum { KEEPS = false };
#else
enum { KEEPS = true };
#endif

/* The step of a size, and its bytes; MR_SHELF_STEPS: no memory of this size lies here. */
static int step_of(size_t size, size_t *bytes)
{
	*bytes = size;
	if (size < MR_SHELF_LEAST || size > MR_SHELF_MOST) return MR_SHELF_STEPS;
	int bits = 8 * (int)sizeof size - 1 - __builtin_clzl(size); /* of the power of two below */
	size_t quarter = (size_t)1 << (bits - 2);
	size_t quarters = (size - ((size_t)1 << bits) + quarter - 1) / quarter; /* 0 to 4 */
	*bytes = ((size_t)1 << bits) + quarters * quarter;
	return (bits - LEAST_BITS) * 4 + (int)quarters;
}

static size_t bytes_of(int step)
{
	size_t power = (size_t)1 << (step / 4 + LEAST_BITS);
	return power + (size_t)(step % 4) * (power / 4);
}

size_t mr_shelf_size(size_t size)
{
	size_t bytes;
	step_of(size, &bytes);
	return bytes;
}

void *mr_shelf_take(struct mr_shelf *shelf, size_t size)
{
	size_t bytes;
	int step = step_of(size, &bytes);
	void *memory = step < MR_SHELF_STEPS ? shelf->first[step] : NULL;
	if (!memory) return mr_malloc(bytes);
	memcpy(&shelf->first[step], memory, sizeof(void *));
	shelf->kept -= bytes;
	if (shelf->kept < shelf->least) shelf->least = shelf->kept;
	return memory;
}

bool mr_shelf_has(const struct mr_shelf *shelf, size_t size)
{
	size_t bytes;
	int step = step_of(size, &bytes);
	return step < MR_SHELF_STEPS && shelf->first[step];
}

void mr_shelf_give(struct mr_shelf *shelf, void *memory, size_t size)
{
	size_t bytes;
	int step = step_of(size, &bytes);
	if (!KEEPS || step >= MR_SHELF_STEPS || shelf->kept + bytes > MR_SHELF_KEPT) {
		mr_free(memory);
		return;
	}
	memcpy(memory, &shelf->first[step], sizeof(void *));
	shelf->first[step] = memory;
	shelf->kept += bytes;
}

void mr_shelf_trim(struct mr_shelf *shelf)
{
	size_t spare = shelf->least > MR_SHELF_IDLE ? shelf->least - MR_SHELF_IDLE : 0;
	size_t goal = shelf->kept - spare;
	for (int step = MR_SHELF_STEPS; shelf->kept > goal && step-- > 0;)
		while (shelf->first[step] && shelf->kept > goal) {
			void *memory = shelf->first[step];
			memcpy(&shelf->first[step], memory, sizeof(void *));
			shelf->kept -= bytes_of(step);
			mr_free(memory);
		}
	shelf->least = shelf->kept;
}

void mr_shelf_fini(struct mr_shelf *shelf)
{
	for (int step = 0; step < MR_SHELF_STEPS; step++)
		for (void *memory = shelf->first[step], *next; memory; memory = next) {
			memcpy(&next, memory, sizeof next);
			mr_free(memory);
		}
	*shelf = (struct mr_shelf){0};
}

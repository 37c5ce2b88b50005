/* field_size: the sizes of field tables' values.
 * SPDX-License-Identifier: MIT */
#ifndef MR_CODEC_FIELD_SIZE_H
#define MR_CODEC_FIELD_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of a value of fixed size; SIZE_MAX for types with a length, and for unknown types. */
static inline size_t mr_field_size(uint8_t type)
{
	switch (type) {
	case 'V': return 0;
	case 't':
	case 'b':
	case 'B': return 1;
	case 's':
	case 'u': return 2;
	case 'I':
	case 'i':
	case 'f': return 4;
	case 'D': return 5;
	case 'l':
	case 'L':
	case 'd':
	case 'T': return 8;
	default: return SIZE_MAX;
	}
}

#endif

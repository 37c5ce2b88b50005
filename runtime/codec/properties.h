/* properties: encodes and decodes basic's 14 properties.
 * SPDX-License-Identifier: MIT
 * Pure; any thread. moonrabbit.h declares struct mr_properties. */
#ifndef MR_CODEC_PROPERTIES_H
#define MR_CODEC_PROPERTIES_H

#include "base/buffer.h"
#include "base/value.h"

/* Checks, then decodes, at any depth. Strings are borrowed from `data`; headers are *given*. */
enum mr_status mr_properties_decode(const uint8_t *data, size_t size, mr_properties *out);
/* Appends flags and fields. MR_BAD_ARGUMENT: a string over 255 bytes, a bad table. */
enum mr_status mr_properties_put(struct mr_buffer *out, const mr_properties *properties,
	mr_error *error);

#endif

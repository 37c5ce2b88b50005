/* declarations: what the public headers declare, as text for LuaJIT's FFI.
 * SPDX-License-Identifier: MIT */
#include "moonrabbit.h"

/* The bytes between the marks "ffi: begin" and "ffi: end" of the headers, and a NUL: CMakeLists.txt
 * writes them. */
static const char text[] = {
#include "declarations.inc"
};

const char *mr_declarations(void) { return text; }

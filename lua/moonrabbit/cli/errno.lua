--- errno: the operating system's error of the last failed call.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

-- Under our own name, because a script may declare strerror differently.
ffi.cdef [[char *mr_strerror(int) __asm__("strerror");]]

--- The text of a code, or of errno.
-- @tparam[opt] number code
return function(code) return ffi.string(ffi.C.mr_strerror(code or ffi.errno())) end

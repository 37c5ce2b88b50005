--- errno: what the operating system says of the last call that failed.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

-- By a name of our own: a script may declare strerror as it likes.
ffi.cdef [[char *mr_strerror(int) __asm__("strerror");]]

--- The text of a code, or of errno.
-- @tparam[opt] number code
return function(code) return ffi.string(ffi.C.mr_strerror(code or ffi.errno())) end

--- each: pairs, under a name that the compiler does not know.
-- SPDX-License-Identifier: MIT
-- The JIT compiler of LuaJIT 2.1 of spring 2022 (Debian 12) has a fault in loops that it sees as `in pairs(t)` or
-- `in next, t`: now and then such a loop begins with the key 0 and the value 0 instead of the table's. It goes by the
-- name. A test forbids `in pairs(` in this library.
return pairs

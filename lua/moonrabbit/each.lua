--- each: pairs, kept from the compiler.
-- SPDX-License-Identifier: MIT
-- The JIT compiler of LuaJIT 2.1 of spring 2022 (Debian 12, x64) compiles `next` with a fault: where the registers of its
-- two results have to change places, it exchanges their lower halves only (`xchg eax, edx`), and the pointer to key and
-- value is cut to 32 bits. Such a loop sees the key 0 and the value 0, or the process crashes. So the step of these loops
-- is a function that is never compiled; a test forbids `in pairs(` in this library.
local next = next

local function step(t, k) return next(t, k) end
jit.off(step)

return function(t) return step, t, nil end

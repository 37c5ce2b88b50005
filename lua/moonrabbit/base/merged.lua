--- merged: a new table with what two others have; where both have a name, the second one's value.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"

--- Merges two tables. Their values are not copied.
-- @tparam ?table first
-- @tparam[opt] table second
-- @treturn table
return function(first, second)
   local all = {}
   if first then
      for name, v in each(first) do all[name] = v end
   end
   if second then
      for name, v in each(second) do all[name] = v end
   end
   return all
end

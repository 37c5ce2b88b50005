--- look: what a console shows that only Lua knows: the handlers at work.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local in_flight = require "moonrabbit.channel.in_flight"
local printing = require "moonrabbit.console.printing"
local value = require "moonrabbit.base.value"

local look = {}

local MOST = 1000 -- lines of one look

--- The handlers at work. Ids and routing keys may hold what is nobody's to see.
-- @treturn table mr.array of tables, for JSON
function look.handlers()
   local list = {}
   for i, h in ipairs(in_flight.list()) do
      if i > MOST then break end
      local one = {}
      for name, v in each(h) do one[name] = type(v) == "string" and printing.redact(v) or v end
      list[i] = one
   end
   return value.array(list)
end

return look

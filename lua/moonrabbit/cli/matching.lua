--- cli.matching: chooses messages by --match FIELD=PATTERN.
-- SPDX-License-Identifier: MIT
local dead_letter = require "moonrabbit.cli.dead_letter"
local glob = require "moonrabbit.base.glob"
local properties = require "moonrabbit.base.properties"

local matching = {}

local FIELDS = { routing_key = true, exchange = true, body = true }
for _, name in ipairs(properties.NAMES) do FIELDS[name] = name ~= "headers" or nil end
local DEAD = { reason = true, error = true, attempts = true, queue = true }

local function field_of(msg, name)
   if DEAD[name] then return dead_letter.of(msg)[name] end
   if FIELDS[name] then return msg[name] end
   local headers = msg.properties.headers
   return headers and headers[name:match "^headers%.(.*)$" or name]
end

--- A function that tells whether a message has all of this.
-- @tparam table list of FIELD=PATTERN; a field is reason, error, attempts or queue of a dead letter, a property, routing_key,
-- exchange, body, or a header
-- @treturn[1] function fn(msg) -> boolean; nil: the list is empty
-- @treturn[2] nil, string what is wrong
function matching.of(list)
   if not list or #list == 0 then return nil end
   local wanted = {}
   for i, text in ipairs(list) do
      local name, pattern = text:match "^([^=]+)=(.*)$"
      if not name then return nil, ('--match takes FIELD=PATTERN, not "%s"'):format(text) end
      wanted[i] = { name, glob(pattern) }
   end
   return function(msg)
      for _, one in ipairs(wanted) do
         local v = field_of(msg, one[1])
         if v == nil or not one[2](tostring(v)) then return false end
      end
      return true
   end
end

return matching

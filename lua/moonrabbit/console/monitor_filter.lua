--- monitor_filter: which settled messages a monitor shows, and how much of them.
-- SPDX-License-Identifier: MIT
local glob = require "moonrabbit.base.glob"

local monitor_filter = {}

local NAME_SIZE = 255   -- bytes that a queue's name or a routing key has at most
local BODY_SIZE = 65536 -- bytes of a body

-- A function of base.glob, nil if there is none; or nil and what is wrong.
local function pattern(what, text)
   if text == nil then return nil end
   if text == "" then return nil, ("%s takes a name or a pattern, not an empty text"):format(what) end
   if #text > NAME_SIZE then return nil, ("%s takes at most %d bytes, not %d"):format(what, NAME_SIZE, #text) end
   return glob(text)
end

local function number(what, text, most)
   if text == nil then return nil end
   local n = tonumber(text)
   if n and n >= 1 and n <= most and n % 1 == 0 then return n end
   return nil, ('%s takes a whole number from 1 to %d, not "%s"'):format(what, most, tostring(text))
end

--- Reads a filter.
-- @tparam table fields queue, key (patterns), headers (not nil: show them), body (the number of bytes to show)
-- @tparam[opt] string dashes before each name in what is wrong: "--" for a command line
-- @treturn[1] table queue, key (functions that say whether a name fits, or nil), headers (boolean), body (number, or nil)
-- @treturn[2] nil, string what is wrong
function monitor_filter.read(fields, dashes)
   dashes = dashes or ""
   local queue, key, body, why
   queue, why = pattern(dashes .. "queue", fields.queue)
   if why then return nil, why end
   key, why = pattern(dashes .. "key", fields.key)
   if why then return nil, why end
   body, why = number(dashes .. "body", fields.body, BODY_SIZE)
   if why then return nil, why end
   return { queue = queue, key = key, headers = fields.headers ~= nil, body = body }
end

monitor_filter.number = number

return monitor_filter

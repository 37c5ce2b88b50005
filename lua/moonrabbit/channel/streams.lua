--- streams: what a consumer of a stream may ask for. (RabbitMQ closes the connection for much of the rest.)
-- SPDX-License-Identifier: MIT
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local value = require "moonrabbit.base.value"

local streams = {}

streams.OFFSET = "x-stream-offset"

local WORDS = { first = true, last = true, next = true }
local UNITS = "^%d+[YMDhms]$" -- "2h": what is younger than that

-- Numbers as of Lua, or of the types that mr.int and the codec make.
local function number_of(v)
   if type(v) == "table" and value.type_of(v) then v = v.value end
   return tonumber(v)
end

--- Checks a value of x-stream-offset.
-- @tparam string name of the option, for the error
-- @tparam any v
function streams.check_offset(name, v)
   if type(v) == "string" and (WORDS[v] or v:find(UNITS)) then return end
   if value.type_of(v) == "T" then return end
   local n = type(v) ~= "string" and number_of(v)
   if n and n >= 0 and n == math.floor(n) and n < 2 ^ 53 then return end
   options.blame(('%s must be "first", "last", "next", a whole number, an age such as "2h", or mr.timestamp(seconds)'):format(name))
end

--- Checks the options of a consume with x-stream-offset.
function streams.check(opts)
   local arguments = opts.arguments
   local offset = arguments and arguments[streams.OFFSET]
   if offset == nil then return end
   streams.check_offset("x-stream-offset", offset)
   if opts.no_ack then options.blame 'option "no_ack": a stream is consumed with acks; they ask for more' end
   if opts.priority then options.blame 'option "priority": the consumers of a stream have none; each of them gets all messages' end
end

--- The options of a consume that begins at another offset.
-- @tparam table flags of basic.consume
-- @tparam any offset
-- @treturn table
function streams.at(flags, offset)
   return merged(flags, { arguments = merged(flags.arguments, { [streams.OFFSET] = offset }) })
end

return streams

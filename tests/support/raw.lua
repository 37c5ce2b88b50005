--- raw: properties as bytes, built by hand: what the library's own encoder refuses, too.
-- SPDX-License-Identifier: MIT
local message = require "moonrabbit.channel.message"
local properties = require "moonrabbit.base.properties"
local publish = require "moonrabbit.channel.publish"
local ticket = require "moonrabbit.channel.confirm"

local raw = {}

--- A number in so many bytes, the first the highest.
function raw.number(n, size)
   local out = {}
   for i = size, 1, -1 do
      out[i] = string.char(n % 256)
      n = math.floor(n / 256)
   end
   return table.concat(out)
end

--- A long string, with its length.
function raw.long(bytes) return raw.number(#bytes, 4) .. bytes end

--- A field: key, type and the value's bytes.
function raw.field(key, type_, value) return string.char(#key) .. key .. type_ .. value end

--- A table of fields, with its length; an array of values ("type" .. bytes) likewise.
raw.table = function(fields) return raw.long(table.concat(fields)) end

local NAMES = { "content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to",
   "expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id" }
local AS_THEY_ARE = { headers = true, delivery_mode = true, priority = true, timestamp = true }

--- Properties as they go over the wire.
-- @tparam table given strings; headers, delivery_mode, priority and timestamp as bytes
function raw.properties(given)
   local flags, parts = 0, {}
   for i, name in ipairs(NAMES) do
      local v = given[name]
      if v then
         flags = flags + 2 ^ (16 - i)
         parts[#parts + 1] = AS_THEY_ARE[name] and v or string.char(#v) .. v
      end
   end
   return raw.number(flags, 2) .. table.concat(parts)
end

--- Publishes with such properties into a queue, on a channel in confirm mode. True, or nil and an error.
function raw.publish(ch, queue, body, bytes)
   local t = ticket.new(0)
   local ok, err = publish.post(ch, t, "", queue, body, { mandatory = true }, bytes)
   if not ok then return nil, err end
   return t:wait(10)
end

local OURS = { ["x-death"] = true }
for _, what in ipairs { "attempt", "first-failure", "queue", "exchange", "routing-key", "user-id", "error", "reason",
   "traceback" } do OURS["x-mr-" .. what] = true end
for _, which in ipairs { "first", "last" } do
   for _, what in ipairs { "exchange", "queue", "reason" } do OURS[("x-%s-death-%s"):format(which, what)] = true end
end

-- The same without a table of headers that is empty: whether there was one nobody can tell from a message with ours.
local function plain(bytes)
   local flags = bytes:byte(1)
   if math.floor(flags / 32) % 2 == 0 then return bytes end
   local at = 3
   for i = 7, 6, -1 do
      if math.floor(flags / 2 ^ i) % 2 == 1 then at = at + 1 + bytes:byte(at) end
   end
   if bytes:sub(at, at + 3) ~= "\0\0\0\0" then return bytes end
   return string.char(flags - 32) .. bytes:sub(2, at - 1) .. bytes:sub(at + 4)
end

--- Properties without the headers that are ours, or the broker's: x-mr-..., x-death and its like.
function raw.less_ours(bytes)
   return plain(assert(properties.splice(bytes, { headers = {} }, {}, OURS)))
end

--- The properties of a message, as bytes, likewise.
function raw.received(msg) return raw.less_ours(message.raw(msg)) end

return raw

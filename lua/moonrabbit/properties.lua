--- properties: AMQP's 14 message properties, to and from C.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.ffi").C
local errors = require "moonrabbit.errors"
local options = require "moonrabbit.options"
local value = require "moonrabbit.value"

local properties = {}

local STRINGS = {
   content_type = C.MR_HAS_CONTENT_TYPE, content_encoding = C.MR_HAS_CONTENT_ENCODING,
   correlation_id = C.MR_HAS_CORRELATION_ID, reply_to = C.MR_HAS_REPLY_TO, expiration = C.MR_HAS_EXPIRATION,
   message_id = C.MR_HAS_MESSAGE_ID, type = C.MR_HAS_TYPE, user_id = C.MR_HAS_USER_ID, app_id = C.MR_HAS_APP_ID,
   cluster_id = C.MR_HAS_CLUSTER_ID,
}
local SPEC = { headers = "table", delivery_mode = "number", priority = "number", mandatory = "boolean",
   persistent = "boolean", timeout = "number" }
for name in pairs(STRINGS) do SPEC[name] = "string" end

local box = ffi.new "mr_properties"
local size = 4096
local buffer = ffi.new("char[?]", size)

local function set_strings(props)
   for name, flag in pairs(STRINGS) do
      local text = props[name]
      if text then
         box[name].data, box[name].size = text, #text
         box.flags = box.flags + flag
      end
   end
end

local function byte(name, n, most, level)
   if n ~= math.floor(n) or n < 0 or n > most then
      error(('option "%s" must be a whole number from 0 to %d'):format(name, most), level + 1)
   end
   return n
end

local function set_numbers(props, level)
   local persistent = props.persistent
   local mode = props.delivery_mode or (persistent == false and 1 or 2)
   box.delivery_mode = byte("delivery_mode", mode, 255, level + 1)
   box.flags = box.flags + C.MR_HAS_DELIVERY_MODE
   if props.priority then
      box.priority = byte("priority", props.priority, 255, level + 1)
      box.flags = box.flags + C.MR_HAS_PRIORITY
   end
   local timestamp = props.timestamp
   if timestamp then
      if type(timestamp) == "table" then timestamp = timestamp.value end
      box.timestamp = ffi.cast("uint64_t", timestamp)
      box.flags = box.flags + C.MR_HAS_TIMESTAMP
   end
end

local function check(props, level)
   local timestamp = props.timestamp
   if timestamp ~= nil then -- the one that may be a number or what mr.timestamp gives
      local copy = {}
      for k, v in pairs(props) do if k ~= "timestamp" then copy[k] = v end end
      return options.check(copy, SPEC, nil, level + 1) and props
   end
   return options.check(props, SPEC, nil, level + 1)
end

--- Encodes a properties table into a buffer that the next call uses again.
-- @treturn cdata buffer, number size
function properties.encode(props, level)
   level = (level or 1) + 1
   check(props, level)
   box.flags = 0
   box.headers = nil
   set_strings(props)
   set_numbers(props, level)
   local headers = props.headers and value.encode(props.headers, level)
   if headers then
      box.headers = headers
      box.flags = box.flags + C.MR_HAS_HEADERS
   end
   local n = C.mr_properties_encode(box, buffer, size)
   if n > size then
      size = n * 2
      buffer = ffi.new("char[?]", size)
      n = C.mr_properties_encode(box, buffer, size)
   end
   if headers then C.mr_table_free(headers) end
   if n < 0 then error(tostring(errors.of_status(-n, "publish", "a property is longer than 255 bytes")), level) end
   return buffer, n
end

--- A delivery's properties as a table; absent ones are nil, `headers` is a table or nil.
function properties.decode(d)
   local decoded = ffi.new "mr_properties"
   local status = C.mr_delivery_properties(d, decoded)
   if status ~= 0 then error(tostring(errors.of_status(status, "message", "the properties do not decode")), 3) end
   local out, flags = {}, decoded.flags
   for name, flag in pairs(STRINGS) do
      if bit.band(flags, flag) ~= 0 then out[name] = ffi.string(decoded[name].data, decoded[name].size) end
   end
   if bit.band(flags, C.MR_HAS_DELIVERY_MODE) ~= 0 then out.delivery_mode = decoded.delivery_mode end
   if bit.band(flags, C.MR_HAS_PRIORITY) ~= 0 then out.priority = decoded.priority end
   if bit.band(flags, C.MR_HAS_TIMESTAMP) ~= 0 then out.timestamp = tonumber(decoded.timestamp) end
   if bit.band(flags, C.MR_HAS_HEADERS) ~= 0 then
      out.headers = value.decode(decoded.headers)
      C.mr_table_free(decoded.headers)
   end
   return out
end

return properties

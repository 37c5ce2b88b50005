--- properties: converts AMQP's 14 message properties to and from C.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local next = require("moonrabbit.base.traversal").stock_next
local options = require "moonrabbit.base.options"
local value = require "moonrabbit.base.value"

local properties = {}

local STRINGS = {
   content_type = C.MR_HAS_CONTENT_TYPE, content_encoding = C.MR_HAS_CONTENT_ENCODING,
   correlation_id = C.MR_HAS_CORRELATION_ID, reply_to = C.MR_HAS_REPLY_TO, expiration = C.MR_HAS_EXPIRATION,
   message_id = C.MR_HAS_MESSAGE_ID, type = C.MR_HAS_TYPE, user_id = C.MR_HAS_USER_ID, app_id = C.MR_HAS_APP_ID,
   cluster_id = C.MR_HAS_CLUSTER_ID,
}
local SPEC = { headers = "table", delivery_mode = "number", priority = "number", mandatory = "boolean",
   persistent = "boolean", timeout = "number", timestamp = "number" }
for name in each(STRINGS) do SPEC[name] = "string" end

--- The names of AMQP's 14 properties.
properties.NAMES = { "headers", "delivery_mode", "priority", "timestamp" }
for name in each(STRINGS) do table.insert(properties.NAMES, name) end

local box = ffi.new "mr_properties"
local size = 4096
local buffer = ffi.new("char[?]", size)

local function put(field, text, flag)
   field.data, field.size = text, #text
   box.flags = box.flags + flag
end

-- One by one, not by a loop: a loop would end the compiler's trace of each publish.
local function set_strings(props)
   if props.content_type then put(box.content_type, props.content_type, C.MR_HAS_CONTENT_TYPE) end
   if props.content_encoding then put(box.content_encoding, props.content_encoding, C.MR_HAS_CONTENT_ENCODING) end
   if props.correlation_id then put(box.correlation_id, props.correlation_id, C.MR_HAS_CORRELATION_ID) end
   if props.reply_to then put(box.reply_to, props.reply_to, C.MR_HAS_REPLY_TO) end
   if props.expiration then put(box.expiration, props.expiration, C.MR_HAS_EXPIRATION) end
   if props.message_id then put(box.message_id, props.message_id, C.MR_HAS_MESSAGE_ID) end
   if props.type then put(box.type, props.type, C.MR_HAS_TYPE) end
   if props.user_id then put(box.user_id, props.user_id, C.MR_HAS_USER_ID) end
   if props.app_id then put(box.app_id, props.app_id, C.MR_HAS_APP_ID) end
   if props.cluster_id then put(box.cluster_id, props.cluster_id, C.MR_HAS_CLUSTER_ID) end
end

local function seconds_of(v)
   if type(v) == "table" and v.type == "T" then v = v.value end
   if type(v) == "number" and v == math.floor(v) and v >= 0 and v < 2 ^ 63 then return v end
   return (ffi.istype("int64_t", v) or ffi.istype("uint64_t", v)) and v or nil
end

local function set_numbers(props)
   local mode = props.delivery_mode
   if not mode then mode = props.persistent == false and 1 or 2 end
   box.delivery_mode = options.whole("delivery_mode", mode, 0, 255)
   box.flags = box.flags + C.MR_HAS_DELIVERY_MODE
   if props.priority then
      box.priority = options.whole("priority", props.priority, 0, 255)
      box.flags = box.flags + C.MR_HAS_PRIORITY
   end
   if props.timestamp then
      box.timestamp = ffi.cast("uint64_t", seconds_of(props.timestamp))
      box.flags = box.flags + C.MR_HAS_TIMESTAMP
   end
end

-- The C struct and its headers (the caller frees them; or nil) of a checked properties table.
local function fill(props)
   box.flags = 0
   box.headers = nil
   set_strings(props)
   set_numbers(props)
   local headers = props.headers and value.encode(props.headers)
   if headers then
      box.headers = headers
      box.flags = box.flags + C.MR_HAS_HEADERS
   end
   return headers
end

-- Calls write(buffer, size), and again if it needs more room. Returns the size, or a negative kind.
local function fit(write)
   local n = write(buffer, size)
   if n > size then
      size = n * 2
      buffer = ffi.new("char[?]", size)
      n = write(buffer, size)
   end
   return n
end

local function is(v, wanted) return v == nil or type(v) == wanted end

-- Checks the types of the values, one by one, as in set_strings.
local function has_good_values(props)
   return is(props.content_type, "string")
      and is(props.content_encoding, "string")
      and is(props.correlation_id, "string")
      and is(props.reply_to, "string")
      and is(props.expiration, "string")
      and is(props.message_id, "string")
      and is(props.type, "string")
      and is(props.user_id, "string")
      and is(props.app_id, "string")
      and is(props.cluster_id, "string")
      and is(props.headers, "table") and is(props.delivery_mode, "number") and is(props.priority, "number")
      and is(props.mandatory, "boolean") and is(props.persistent, "boolean") and is(props.timeout, "number")
      and (props.timestamp == nil or seconds_of(props.timestamp)) and true or false
end

-- The table whose names were checked last, and how often it was used in a row since. The loop over its names is not compiled
-- (see traversal), so with very many publishes of the same table its names are checked only now and then.
local known
local uses = 0
local ALWAYS, OFTEN = 20, 32 -- uses: the first ones all, then every 32nd

local function is_due(props)
   if known ~= props then
      uses = 0
      return true
   end
   uses = uses + 1
   return uses < ALWAYS or uses % OFTEN == 0
end

local function check_names(props)
   known = nil -- set below if they are good
   if type(props) ~= "table" then options.check(props, SPEC) end
   for name, v in next, props do
      if name == "timestamp" then
         if not seconds_of(v) then options.blame('option "timestamp" must be whole seconds since 1970') end
      elseif type(v) ~= SPEC[name] then
         options.check({ [name] = v }, SPEC)
      end
   end
   known = props
end
jit.off(check_names) -- so that Lua's own next may be used

--- Raises an error for a table with an unknown name, or a value of a wrong type.
function properties.check(props)
   if is_due(props) or not has_good_values(props) then check_names(props) end
   options.seconds("timeout", props.timeout)
end

--- True for the name of a property that is a string.
function properties.is_string(name) return STRINGS[name] ~= nil end

-- In a separate function: a function that makes a closure, even on a path that is not taken, prevents the compiler from
-- compiling each publish (2.5 against 0.95 million messages a second).
local function encode_into_more()
   return fit(function(into, room) return C.mr_properties_encode(box, into, room) end)
end

--- Encodes a properties table into a buffer that the next call uses again.
-- @tparam table props AMQP's properties, and mandatory, persistent, timeout, which are for the caller
-- @treturn cdata buffer
-- @treturn number size
function properties.encode(props)
   properties.check(props)
   return properties.encode_checked(props)
end

--- The same for a checked table: this function is compiled.
function properties.encode_checked(props)
   local headers = fill(props)
   local n = C.mr_properties_encode(box, buffer, size)
   if n > size then
      n = encode_into_more()
   end
   if headers then C.mr_table_free(headers) end
   if n < 0 then
      options.blame(-n == errors.numbers.no_memory and "out of memory" or
         "a property is longer than 255 bytes, or a header cannot be encoded")
   end
   return buffer, n
end

--- Encodes received properties with changes; nothing of them is decoded.
-- @tparam string raw
-- @tparam table changes properties, and headers, that replace those received
-- @tparam table without names -> true of properties that are left out
-- @tparam table headers_without names -> true of headers that are left out
-- @treturn[1] string
-- @treturn[2] nil, error of kind frame_error (the received properties are malformed), bad_argument, no_memory
function properties.splice(raw, changes, without, headers_without)
   local flags = 0
   for name in each(without) do flags = flags + STRINGS[name] end
   local names = value.encode(headers_without)
   local headers = fill(changes, 1)
   if not changes.delivery_mode then box.flags = box.flags - C.MR_HAS_DELIVERY_MODE end
   local n = fit(function(into, room)
      return C.mr_properties_splice(raw, #raw, box, flags, names, into, room)
   end)
   C.mr_table_free(names)
   if headers then C.mr_table_free(headers) end
   if n < 0 then return nil, errors.of_status(-n, "message") end
   return ffi.string(buffer, n)
end

--- A delivery's properties as a table; absent ones are nil, `headers` is a table or nil.
-- @tparam cdata d `mr_delivery`
-- @tparam[opt] boolean is_exact headers keep their types on the wire
-- @treturn table
function properties.decode(d, is_exact)
   local decoded = ffi.new "mr_properties"
   local status = C.mr_delivery_properties(d, decoded)
   if status ~= 0 then options.blame("the message's properties do not decode: " .. ffi.string(C.mr_status_text(status))) end
   local out, flags = {}, decoded.flags
   for name, flag in each(STRINGS) do
      if bit.band(flags, flag) ~= 0 then out[name] = ffi.string(decoded[name].data, decoded[name].size) end
   end
   if bit.band(flags, C.MR_HAS_DELIVERY_MODE) ~= 0 then out.delivery_mode = decoded.delivery_mode end
   if bit.band(flags, C.MR_HAS_PRIORITY) ~= 0 then out.priority = decoded.priority end
   if bit.band(flags, C.MR_HAS_TIMESTAMP) ~= 0 then out.timestamp = value.integer(decoded.timestamp) end
   if bit.band(flags, C.MR_HAS_HEADERS) ~= 0 then
      out.headers = value.decode(decoded.headers, false, is_exact)
      C.mr_table_free(decoded.headers)
   end
   return out
end

return properties

--- cli.message_json: a message as JSON and back, with the type of each property and header.
-- SPDX-License-Identifier: MIT
-- Types that JSON has stand for themselves: a string is AMQP's 'S', a whole number 'l', another number 'd', an object 'F', an
-- array 'A'. All others are an object with one field, "$" and the type's letter: {"$T": 1700000000}. What this cannot keep
-- ('L', which the library sends as 'l'; keys over 128 bytes) is recognised by encoding it again: then the encoded properties
-- are added.
local ffi = require "ffi"
local base64 = require "moonrabbit.base.base64"
local each = require "moonrabbit.base.each"
local json = require "moonrabbit.base.json"
local json_text = require "moonrabbit.cli.json_text"
local message = require "moonrabbit.channel.message"
local properties = require "moonrabbit.base.properties"
local utf8_text = require "moonrabbit.base.utf8_text"
local value = require "moonrabbit.base.value"

local message_json = {}

local NOT_FINITE = { nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge }

-- ---- to JSON ----

local to_json

local function real(type_, n)
   if n ~= n then return { ["$" .. type_] = "nan" } end
   if n == math.huge or n == -math.huge then return { ["$" .. type_] = n > 0 and "inf" or "-inf" } end
   return type_ == "d" and n ~= math.floor(n) and n or { ["$" .. type_] = n }
end

local function array(list)
   local out = {}
   for i = 1, #list do out[i] = to_json(list[i]) end
   return value.array(out)
end

-- One field that looks like a type, or a key that JSON cannot hold.
local function needs_pairs(t)
   local count, is_marked = 0, false
   for key in each(t) do
      if not utf8_text.is_valid(key) then return true end
      count, is_marked = count + 1, is_marked or key:sub(1, 1) == "$"
   end
   return count == 1 and is_marked
end

local function object(t)
   if needs_pairs(t) then
      local list = {}
      for key, v in each(t) do list[#list + 1] = value.array { to_json(key), to_json(v) } end
      return { ["$F"] = value.array(list) }
   end
   local out = {}
   for key, v in each(t) do out[key] = to_json(v) end
   return out
end

function to_json(v)
   if type(v) == "string" then return utf8_text.is_valid(v) and v or { ["$S"] = base64.encode(v) } end
   if type(v) ~= "table" or v == value.null then return v end
   local kind = value.type_of(v)
   if not kind then return object(v) end
   if kind == "l" then return v.value end
   if kind == "d" or kind == "f" then return real(kind, v.value) end
   if kind == "A" then return #v.value > 0 and array(v.value) or { ["$A"] = value.array {} } end
   if kind == "x" then return { ["$x"] = base64.encode(v.value) } end
   if kind == "D" then return { ["$D"] = value.array { v.value, v.decimals } } end
   return { ["$" .. kind] = v.value }
end

-- ---- from JSON ----

local from_json

local function bytes(text) return base64.decode(text) or error("base64 is malformed", 0) end

local function pairs_of(list)
   local out = {}
   for _, pair in ipairs(list) do out[from_json(pair[1])] = from_json(pair[2]) end
   return out
end

local function array_of(list)
   local out = {}
   for i = 1, #list do out[i] = from_json(list[i]) end
   return value.array(out)
end

local function typed(type_, v)
   if type_ == "S" then return bytes(v) end
   if type_ == "x" then return value.bytes(bytes(v)) end
   if type_ == "A" then return array_of(v) end
   if type_ == "F" then return pairs_of(v) end
   if type_ == "D" then return value.decimal(v[1], v[2]) end
   if type_ == "d" or type_ == "f" then v = NOT_FINITE[v] or v end
   if type_ == "T" and type(v) == "table" then error("a timestamp must be a number", 0) end
   return value.of_type(type_, v)
end

function from_json(v)
   if json.is_null(v) or v == value.null then return value.null end
   if type(v) ~= "table" then return v end
   local key, inner = next(v)
   if type(key) == "number" then return array_of(v) end
   if key and next(v, key) == nil and key:find "^%$.$" then return typed(key:sub(2), inner) end
   local out = {}
   for name, field in each(v) do out[name] = from_json(field) end
   return out
end

-- ---- properties ----

local box = ffi.new "mr_delivery"

--- Decodes encoded properties; headers keep their types.
-- @tparam string raw
-- @treturn table
function message_json.properties(raw)
   box.properties, box.properties_size = raw, #raw
   return properties.decode(box, true)
end

--- Encodes a table of properties, without those that it does not have.
-- @treturn string; raises a text for what cannot be encoded
function message_json.encode(props)
   properties.check(props)
   local raw, err = properties.splice("\0\0", props, {}, {})
   return raw or error(err.text, 0)
end

--- True if two decoded values are equal in type and content.
function message_json.is_same(a, b)
   if type(a) ~= "table" or type(b) ~= "table" or a == value.null then return a == b end
   local kind = value.type_of(a)
   if kind ~= value.type_of(b) then return false end
   if kind and kind ~= "A" then return a == b end
   if kind then a, b = a.value, b.value end
   for key, v in each(a) do
      if not message_json.is_same(v, b[key]) then return false end
   end
   for key in each(b) do
      if a[key] == nil then return false end
   end
   return true
end

-- The properties as a table for JSON, and the encoded ones if that table does not make the same again.
local function readable(raw)
   local exact, out = message_json.properties(raw), {}
   for name, v in each(exact) do
      if name == "headers" then out.headers = object(v) else out[name] = type(v) == "string" and to_json(v) or v end
   end
   local ok, again = pcall(function()
      return message_json.properties(message_json.encode(message_json.read_properties(json.decode(json.encode(out)))))
   end)
   return out, not (ok and message_json.is_same(exact, again)) and base64.encode(raw) or nil
end

--- The properties of a JSON object.
-- @tparam table object decoded JSON
-- @treturn table for message_json.encode; raises a text
function message_json.read_properties(object_)
   local props = {}
   for name, v in each(object_) do
      if json.is_null(v) then v = nil end
      if name == "headers" and v then
         props.headers = from_json(v)
      elseif type(v) == "table" and type(v["$S"]) == "string" then
         props[name] = bytes(v["$S"])
      else
         props[name] = v
      end
   end
   return props
end

-- ---- messages ----

--- A message as a table of what JSON has.
-- @tparam message msg
-- @treturn table queue, exchange, routing_key, redelivered, properties, body or body_base64, perhaps properties_base64
function message_json.table(msg)
   local body = msg.body
   local is_text = utf8_text.is_valid(body)
   local props, kept = readable(message.raw(msg))
   return { queue = to_json(msg.queue), exchange = to_json(msg.exchange), routing_key = to_json(msg.routing_key),
      redelivered = msg.redelivered, properties = props, properties_base64 = kept, body = is_text and body or nil,
      body_base64 = not is_text and base64.encode(body) or nil }
end

-- JSON with the names of objects in order.
local function ordered(v)
   if type(v) ~= "table" or v == value.null then return json.encode(v) end
   local parts = {}
   if value.type_of(v) == "A" then
      for i, inner in ipairs(v.value) do parts[i] = ordered(inner) end
      return "[" .. table.concat(parts, ",") .. "]"
   end
   local names = {}
   for name in each(v) do names[#names + 1] = name end
   table.sort(names)
   for i, name in ipairs(names) do parts[i] = json.encode(name) .. ":" .. ordered(v[name]) end
   return "{" .. table.concat(parts, ",") .. "}"
end

local ORDER = { "queue", "exchange", "routing_key", "redelivered", "properties", "properties_base64", "body", "body_base64" }

--- A message as a line of JSON, without an end of line.
-- @tparam message msg
-- @treturn string
function message_json.line(msg)
   local t, parts = message_json.table(msg), {}
   for _, name in ipairs(ORDER) do
      if t[name] ~= nil then parts[#parts + 1] = ('"%s":%s'):format(name, ordered(t[name])) end
   end
   return json_text("{" .. table.concat(parts, ",") .. "}")
end

local function text_of(object_, name)
   local v = object_[name]
   if type(v) == "table" and type(v["$S"]) == "string" then v = bytes(v["$S"]) end
   if v ~= nil and type(v) ~= "string" then error(name .. " must be a string", 0) end
   return v
end

local function read(line)
   local object_ = json.decode(line)
   if type(object_) ~= "table" then error("a message must be an object", 0) end
   local packed, body = text_of(object_, "body_base64"), text_of(object_, "body")
   if not packed and not body then error("body or body_base64 is missing", 0) end
   local kept, props = text_of(object_, "properties_base64"), object_.properties or {}
   if type(props) ~= "table" then error("properties must be an object", 0) end
   local raw = kept and bytes(kept) or message_json.encode(message_json.read_properties(props))
   if kept then message_json.properties(raw) end -- raises if it is malformed
   return { queue = text_of(object_, "queue"), exchange = text_of(object_, "exchange"),
      routing_key = text_of(object_, "routing_key"), body = packed and bytes(packed) or body, raw = raw }
end

--- Reads a line of JSON.
-- @treturn[1] table queue, exchange, routing_key (nil: not there), body, raw (its encoded properties)
-- @treturn[2] nil, string what is wrong
function message_json.read(line)
   local ok, made = pcall(read, line)
   if ok then return made end
   return nil, (tostring(made):gsub("^[^ ]*%.lua:%d+: ", ""))
end

return message_json

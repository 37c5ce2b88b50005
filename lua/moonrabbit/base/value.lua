--- value: converts Lua values to and from AMQP field tables, every type in both directions.
-- SPDX-License-Identifier: MIT
-- Out: string 'S', boolean 't', whole number 'l', other number 'd', int64/uint64 cdata 'l', sequence
-- 'A', other table 'F' (also an empty one), and the explicit types below. In: integers beyond 2^53 become
-- int64_t or uint64_t cdata, timestamps and decimals become the objects that mr.timestamp and mr.decimal make.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"

local value = {}

local DEPTH_MAX = 32                 -- as in base/value.h
local EXACT = 2 ^ 53                 -- below this, doubles represent every whole number exactly
local LONG = 2 ^ 63                  -- the limit of integers on the wire
local int64, uint64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local TOO_LONG = 0x8000000000000000ULL
local KEY_MAX = 128                  -- bytes; the codec cuts longer ones
local AMBIGUOUS = "AxdfbsIlBuiL"     -- types that a script cannot distinguish from others
local box = ffi.new "mr_value"

local Typed = { __name = "moonrabbit.value" }
Typed.__index = Typed
function Typed.__eq(a, b) return a.type == b.type and a.value == b.value and a.decimals == b.decimals end
function Typed.__tostring(v)
   if not v.decimals or v.decimals == 0 then return tostring(v.value) end
   return ("%.0fe-%d"):format(tonumber(v.value), v.decimals)
end

local function typed(type_, v, decimals)
   return setmetatable({ type = type_, value = v, decimals = decimals }, Typed)
end

--- The AMQP void value.
value.null = setmetatable({ type = "V" }, { __name = "moonrabbit.null", __tostring = function() return "null" end })

-- Values that fit the signed 64 bits of the wire.
local function whole(n, name)
   local fits = type(n) == "number" and n == math.floor(n) and math.abs(n) < LONG
   if fits or ffi.istype(int64, n) or ffi.istype(uint64, n) and n < TOO_LONG then return n end
   errors.blame(name .. " takes a whole number of 64 bits")
end

local function natural(n, name, most)
   if whole(n, name) < 0 or n > most then errors.blame(("%s takes numbers from 0 to %.0f"):format(name, most)) end
   return n
end

--- A signed 64-bit integer, stated explicitly; whole numbers are sent as such anyway.
-- @tparam number|cdata n a whole number that fits into signed 64 bits; beyond 2^53 as int64_t
-- @treturn table with the field `value`
function value.int(n) return typed("l", whole(n, "mr.int")) end

--- A timestamp. Received timestamps are such objects, too.
-- @tparam number|cdata n seconds since 1970; 2^63 and more as uint64_t
-- @treturn table with the field `value`
function value.timestamp(n)
   if ffi.istype(uint64, n) then return typed("T", n) end
   return typed("T", natural(n, "mr.timestamp", LONG))
end

--- A byte array ('x'), for receivers that distinguish it from a string. Received byte arrays are plain strings.
-- @tparam string s any bytes
-- @treturn table with the field `value`
function value.bytes(s)
   if type(s) ~= "string" then errors.blame("mr.bytes takes a string") end
   return typed("x", s)
end

--- An array, which may be empty; use mr.null for holes.
-- @tparam table t a sequence
function value.array(t)
   if type(t) ~= "table" then errors.blame("mr.array takes a table") end
   return typed("A", t)
end

--- A decimal: digits / 10^decimals. Received decimals are such objects, too.
-- @tparam number digits 0 to 2^32 - 1
-- @tparam[opt=0] number decimals 0 to 255
-- @treturn table with the fields `value` (the digits) and `decimals`
function value.decimal(digits, decimals)
   return typed("D", natural(digits, "mr.decimal's digits", 2 ^ 32 - 1), natural(decimals or 0, "mr.decimal", 255))
end

--- A value of any type on the wire.
-- @tparam string type_ its letter: "b", "I", "d"...
-- @param v a number, or for "V" nothing
-- @treturn table with the fields `type` and `value`; raises a text for another type
function value.of_type(type_, v)
   if type_ == "V" then return value.null end
   if not ("bBsuIilLTfd"):find(type_, 1, true) or #type_ ~= 1 then error(('no type "%s" of numbers'):format(type_), 0) end
   local is_integer = ffi.istype(int64, v) or ffi.istype(uint64, v)
   if type(v) ~= "number" and not is_integer then error(('a value of type "%s" must be a number'):format(type_), 0) end
   if type_ ~= "f" and type_ ~= "d" and not is_integer and not (v == math.floor(v) and math.abs(v) < LONG) then
      error(('a value of type "%s" must be a whole number'):format(type_), 0)
   end
   if ("BuiLT"):find(type_, 1, true) and v < 0 then error(('a value of type "%s" must not be negative'):format(type_), 0) end
   return typed(type_, type(v) == "cdata" and (type_ == "d" or type_ == "f") and tonumber(v) or v)
end

-- ---- out ----

local encode_table
local function is_sequence(t)
   local n = #t
   if n == 0 then return false end
   for k in each(t) do
      if type(k) ~= "number" or k < 1 or k > n or k ~= math.floor(k) then return false end
   end
   return true
end

local function add(into, key)
   local status = C.mr_table_add(into, key, #key, box)
   if status ~= 0 then error(('key "%s": %s'):format(key, ffi.string(C.mr_status_text(status))), 0) end
end

local function nest(into, key, type_, t, path)
   for _, above in ipairs(path) do
      if above == t then error(('key "%s": a table that holds itself'):format(key), 0) end
   end
   if #path >= DEPTH_MAX then error(('key "%s": nested deeper than %d'):format(key, DEPTH_MAX), 0) end
   local nested = C.mr_table_nest(into, key, #key, type_:byte())
   if nested == nil then error("out of memory", 0) end
   path[#path + 1] = t
   encode_table(nested, t, type_ == "A", path)
   path[#path] = nil
end

local function add_number(into, key, n)
   if n == math.floor(n) and math.abs(n) < LONG then
      box.type = 108 -- 'l'
      box.as.integer = n
   elseif n ~= n or math.abs(n) == math.huge then
      error(('key "%s": RabbitMQ drops the connection at a number that is %s'):format(key, n), 0)
   else
      box.type = 100 -- 'd'
      box.as.real = n
   end
   add(into, key)
end

local function add_bytes(into, key, type_, s)
   box.type = type_
   box.as.bytes.data = s
   box.as.bytes.size = #s
   add(into, key)
end

local function add_typed(into, key, v, path)
   if v.type == "A" then return nest(into, key, "A", v.value, path) end
   if v.type == "x" then return add_bytes(into, key, 120, v.value) end
   box.type = v.type:byte()
   if ("bsIl"):find(v.type, 1, true) then
      box.as.integer = ffi.cast(int64, v.value)
   elseif v.type == "d" or v.type == "f" then
      box.as.real = v.value
   elseif v.type ~= "V" then
      box.as.natural, box.decimals = ffi.cast(uint64, v.value), v.decimals or 0
   end
   add(into, key)
end

local function encode(into, key, v, path)
   local kind = type(v)
   if kind == "string" then
      add_bytes(into, key, 83, v) -- 'S'
   elseif kind == "number" then
      add_number(into, key, v)
   elseif kind == "boolean" then
      box.type = 116 -- 't'
      box.as.boolean = v
      add(into, key)
   elseif kind == "cdata" and (ffi.istype(int64, v) or ffi.istype(uint64, v)) then
      if ffi.istype(uint64, v) and v >= TOO_LONG then
         error(('key "%s": an integer over 2^63 - 1 does not fit'):format(key), 0)
      end
      box.type = 108
      box.as.integer = ffi.cast(int64, v)
      add(into, key)
   elseif kind == "table" and (getmetatable(v) == Typed or v == value.null) then
      add_typed(into, key, v, path)
   elseif kind == "table" then
      nest(into, key, is_sequence(v) and "A" or "F", v, path)
   else
      error(('key "%s": a %s has no AMQP type'):format(key, kind), 0)
   end
end

function encode_table(into, t, is_array, path)
   if is_array then
      for i = 1, #t do encode(into, "", t[i], path) end
      return
   end
   for k, v in each(t) do
      if type(k) ~= "string" then error(("a table key must be a string, not a %s"):format(type(k)), 0) end
      if #k > KEY_MAX then error(('key "%s...": longer than %d bytes'):format(k:sub(1, 32), KEY_MAX), 0) end
      encode(into, k, v, path)
   end
end

-- Encodes into a new root; raises an error for values that cannot be encoded.
local function encode_root(fill, t)
   local root = C.mr_table_new()
   if root == nil then errors.blame("out of memory") end
   local ok, why = pcall(fill, root, t, false, { t })
   if ok then return root end
   C.mr_table_free(root)
   errors.blame(why)
end

--- Makes a C table from a Lua one; the caller owns it (mr_table_free). Raises an error for values that cannot be encoded.
-- @tparam table t
function value.encode(t)
   return encode_root(encode_table, t)
end

local function encode_pairs(into, list, _, path)
   for _, pair in ipairs(list) do encode(into, pair[1], pair[2], path) end
end

--- The same as value.encode for a list of {key, value}: keeps the order.
function value.encode_list(list)
   return encode_root(encode_pairs, list)
end

-- ---- in ----

local function integer(n)
   local double = tonumber(n)
   return (double < EXACT and double > -EXACT) and double or n
end
value.integer = integer

local decode_value = {
   t = function(v) return v.as.boolean end,
   f = function(v) return tonumber(v.as.real) end,
   d = function(v) return tonumber(v.as.real) end,
   S = function(v) return ffi.string(v.as.bytes.data, v.as.bytes.size) end,
   x = function(v) return ffi.string(v.as.bytes.data, v.as.bytes.size) end,
   T = function(v) return typed("T", integer(v.as.natural)) end,
   D = function(v) return typed("D", integer(v.as.natural), v.decimals) end,
   V = function() return value.null end,
}
for c in ("bsIl"):gmatch "." do decode_value[c] = function(v) return integer(ffi.cast(int64, v.as.integer)) end end
for c in ("BuiL"):gmatch "." do decode_value[c] = function(v) return integer(ffi.cast(uint64, v.as.natural)) end end

--- Makes a Lua table from a C one, which the caller still owns.
-- @tparam cdata t
-- @tparam[opt] boolean is_array
-- @tparam[opt] boolean is_exact values keep their types on the wire, for value.encode
-- @treturn table
function value.decode(t, is_array, is_exact)
   local root = {}
   local todo = { { t, is_array, root } } -- a list and no recursion, because a peer chooses the depth
   while todo[1] do
      local level = table.remove(todo)
      local from, of_array, out = level[1], level[2], level[3]
      for i = 0, from.count - 1 do
         local field = from.fields[i]
         local type_ = string.char(field.value.type)
         local v
         if type_ == "F" or type_ == "A" then
            v = {}
            todo[#todo + 1] = { field.value.as.nested, type_ == "A", v }
         else
            v = decode_value[type_](field.value)
         end
         if is_exact and AMBIGUOUS:find(type_, 1, true) then v = typed(type_, v) end
         if of_array then out[i + 1] = v else out[ffi.string(field.key.data, field.key.size)] = v end
      end
   end
   return root
end

--- The wire type that a value keeps, or nil.
function value.type_of(v) return getmetatable(v) == Typed and v.type or nil end

return value

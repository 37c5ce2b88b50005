--- show: any value of a script as a short text, or the reason why not.
-- SPDX-License-Identifier: MIT
-- Never raises an error, and ends for tables that contain themselves.
local each = require "moonrabbit.base.each"

local DEPTH, FIELDS = 4, 32

local show_value

local function show_field(key, v, path, depth)
   local text, why = show_value(v, path, depth)
   if not text then return nil, why end
   return type(key) == "number" and text or ("%s=%s"):format(tostring(key), text)
end

local function by_name(a, b)
   if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then return a < b end
   return type(a) < type(b)
end

local function show_table(t, path, depth)
   if path[t] then
      if path.is_whole then return "{...}" end
      return nil, "it is a table that contains itself"
   end
   if depth >= DEPTH then return "{...}" end
   local keys, out = {}, {}
   for key in each(t) do keys[#keys + 1] = key end
   if #keys > FIELDS and not path.is_whole then return ("a table of %d fields"):format(#keys) end
   table.sort(keys, by_name)
   path[t] = true
   for i, key in ipairs(keys) do
      if i > FIELDS then
         out[#out + 1] = ("%d more"):format(#keys - FIELDS)
         break
      end
      local text, why = show_field(key, rawget(t, key), path, depth + 1)
      if not text then return nil, why end
      out[#out + 1] = text
   end
   path[t] = nil
   return "{" .. table.concat(out, ", ") .. "}"
end

function show_value(v, path, depth)
   local meta = debug.getmetatable(v)
   if type(v) == "table" and not (meta and rawget(meta, "__tostring")) then return show_table(v, path, depth) end
   local ok, text = pcall(tostring, v)
   if ok and type(text) == "string" then return text end
   if path.is_whole then return ("a %s whose __tostring fails"):format(type(v)) end
   return nil, "its __tostring fails"
end

--- A value as text.
-- @param v
-- @tparam[opt] boolean is_whole shows as much as possible of a value that cannot be shown completely
-- @treturn[1] string
-- @treturn[2] nil, string why it cannot be shown; not with is_whole
return function(v, is_whole)
   return show_value(v, { is_whole = is_whole }, 0)
end

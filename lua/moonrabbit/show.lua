--- show: any value of a script's as a few words, or why not.
-- SPDX-License-Identifier: MIT
-- Never raises an error, and ends for tables that contain themselves.
local each = require "moonrabbit.each"

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
   if path[t] then return nil, "it is a table that contains itself" end
   if depth >= DEPTH then return "{...}" end
   local keys, out = {}, {}
   for key in each(t) do keys[#keys + 1] = key end
   if #keys > FIELDS then return ("a table of %d fields"):format(#keys) end
   table.sort(keys, by_name)
   path[t] = true
   for _, key in ipairs(keys) do
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
   if not ok or type(text) ~= "string" then return nil, "its __tostring fails" end
   return text
end

--- A value in words.
-- @treturn[1] string
-- @treturn[2] nil, string why it cannot be shown
return function(v)
   return show_value(v, {}, 0)
end

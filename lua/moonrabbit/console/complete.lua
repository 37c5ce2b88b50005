--- complete: the ways in which a line at a console may go on.
-- SPDX-License-Identifier: MIT
-- Looks up names without calling anything of the script's: fields, and the tables that metatables name as __index.
local each = require "moonrabbit.base.each"
local evaluate = require "moonrabbit.console.evaluate"

local complete = {}

local MOST = 200
local DEEP = 8 -- tables that metatables lead to, one after the other

local WORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
   "repeat", "return", "then", "true", "until", "while" }

-- The tables in which an object's fields are found.
local function places(v)
   local list = {}
   if type(v) == "table" then list[1] = v end
   local meta = debug.getmetatable(v)
   while type(meta) == "table" and #list < DEEP do
      local index = rawget(meta, "__index")
      if type(index) ~= "table" then
         if type(rawget(meta, "methods")) == "table" then list[#list + 1] = meta.methods end
         list[#list + 1] = meta -- a class whose __index is a function has its methods beside it
         break
      end
      list[#list + 1] = index
      meta = debug.getmetatable(index)
   end
   return list
end

local function field(v, name)
   for _, t in ipairs(places(v)) do
      local found = rawget(t, name)
      if found ~= nil then return found end
   end
end

local function global(name)
   local handed = evaluate.handed[name]
   if handed ~= nil then return handed end
   local env = evaluate.environment()
   local found = rawget(env, name)
   if found == nil then found = rawget(_G, name) end
   if found == nil and name == "mr" then found = require "moonrabbit" end
   return found
end

-- The object that "a.b:" leads to.
local function object_of(path)
   local v
   for name in path:gmatch "[%a_][%w_]*" do
      if v == nil then v = global(name) else v = field(v, name) end
      if v == nil then return nil end
   end
   return v
end

local function collect(into, t, prefix, only_functions)
   for key, v in each(t) do
      local fits = type(key) == "string" and key:find "^[%a_][%w_]*$" and key:sub(1, #prefix) == prefix
      if fits and not (prefix == "" and key:sub(1, 1) == "_") and (not only_functions or type(v) == "function") then
         into[key] = true
      end
   end
end

local function sorted(found, head)
   local list = {}
   for name in each(found) do list[#list + 1] = name end
   table.sort(list)
   for i = MOST + 1, #list do list[i] = nil end
   for i, name in ipairs(list) do list[i] = head .. name end
   return list
end

--- The words with which the last word of a line may go on.
-- @tparam string line up to the cursor
-- @treturn table whole last words, sorted, at most 200
function complete.line(line)
   local last = line:match "[%w_.:]*$"
   local path, sign, prefix = last:match "^(.-)([.:])([%w_]*)$"
   local found = {}
   if path and path ~= "" then
      local object = object_of(path)
      if object == nil then return {} end
      for _, t in ipairs(places(object)) do collect(found, t, prefix, sign == ":") end
      return sorted(found, path .. sign)
   end
   collect(found, evaluate.handed, last)
   collect(found, evaluate.environment(), last)
   collect(found, _G, last)
   collect(found, { mr = true }, last)
   for _, word in ipairs(WORDS) do
      if word:sub(1, #last) == last and last ~= "" then found[word] = true end
   end
   return sorted(found, "")
end

return complete

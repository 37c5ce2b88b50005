--- filter: mr.filter: a middleware that passes over messages by their headers.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local options = require "moonrabbit.base.options"

local filter = {}

-- A list of values, one of which the header must have.
local function set_of(name, list)
   local set = {}
   for i, v in ipairs(list) do
      if type(v) == "table" then options.blame(('header "%s": value %d is a table'):format(name, i)) end
      set[v] = true
   end
   if next(set) == nil then options.blame(('header "%s": the list of values is empty'):format(name)) end
   return function(v) return set[v] == true end
end

local function test_of(name, wanted)
   if type(name) ~= "string" then options.blame "mr.filter takes names of headers: mr.filter { region = \"eu\" }" end
   if type(wanted) == "function" then return wanted end
   if type(wanted) == "table" then return set_of(name, wanted) end
   return function(v) return v == wanted end
end

--- A middleware for mr.consumer that calls the handler only for messages with these headers. Others are acked: they count as
-- handled, and in a stream its offset goes on.
-- @tparam table|function wanted header -> a value, a list of values, or function(value) returning a boolean; all must hold; or a
-- function(msg) returning a boolean
-- @treturn function middleware
function filter.new(wanted)
   if type(wanted) == "function" then
      return function(msg, go_on)
         if not wanted(msg) then return true end
         return go_on(msg)
      end
   end
   options.argument(1, "wanted", wanted, "table")
   local tests = {}
   for name, v in each(wanted) do tests[#tests + 1] = { name = name, holds = test_of(name, v) } end
   if #tests == 0 then options.blame "mr.filter needs at least one header" end
   return function(msg, go_on)
      local headers = msg.headers
      for i = 1, #tests do
         if not tests[i].holds(headers[tests[i].name]) then return true end
      end
      return go_on(msg)
   end
end

return filter

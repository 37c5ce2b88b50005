--- cli.globals: the globals that a chunk reads and sets, by its bytecode.
-- SPDX-License-Identifier: MIT
local bit = require "bit"
local util = require "jit.util"

local globals = {}

-- The operation of the instruction before the last one of a function: LuaJIT's numbers differ from version to version.
local function operation_of(text)
   local fn = load(text)
   for pc = 1, util.funcinfo(fn).bytecodes - 1 do
      local ins = util.funcbc(fn, pc)
      if ins and util.funck(fn, -bit.rshift(ins, 16) - 1) == "mr_probe" then return bit.band(ins, 0xff) end
   end
end

-- Functions have no constant of such a number: then it is none.
local function constant(fn, number)
   local ok, v = pcall(util.funck, fn, number)
   return ok and v or nil
end

local READ, SET

local function walk(fn, found)
   local info = util.funcinfo(fn)
   for pc = 1, info.bytecodes - 1 do
      local ins = util.funcbc(fn, pc)
      local op = bit.band(ins, 0xff)
      if op == READ or op == SET then
         local name = constant(fn, -bit.rshift(ins, 16) - 1)
         found[#found + 1] = { name = name, line = util.funcinfo(fn, pc).currentline, is_set = op == SET }
      end
   end
   local at = -1
   while true do
      local inner = constant(fn, at)
      if inner == nil then return end
      if type(inner) == "proto" then walk(inner, found) end
      at = at - 1
   end
end

--- The uses of globals in a function and the functions within.
-- @tparam function fn
-- @treturn table list of {name, line, is_set}, by line
function globals.of(fn)
   READ, SET = READ or operation_of "return mr_probe", SET or operation_of "mr_probe = 1"
   local found = {}
   walk(fn, found)
   table.sort(found, function(a, b) return a.line < b.line end)
   return found
end

--- The mistakes among them: what nothing sets, with the nearest name that exists.
-- @tparam table found of globals.of
-- @tparam table known the globals that exist
-- @treturn table list of {line, text}
function globals.mistakes(found, known)
   local set, list, seen = {}, {}, {}
   for _, use in ipairs(found) do
      if use.is_set then set[use.name] = true end
   end
   local names
   for _, use in ipairs(found) do
      if not use.is_set and not set[use.name] and known[use.name] == nil and not seen[use.name] then
         seen[use.name] = true
         if not names then
            names = {}
            for _, of in ipairs { known, set } do
               for name in require("moonrabbit.base.each")(of) do
                  if type(name) == "string" then names[#names + 1] = name end
               end
            end
         end
         local nearest = require("moonrabbit.base.options").nearest(use.name, names)
         list[#list + 1] = { line = use.line, text = ("nothing sets the global %s%s"):format(use.name,
            nearest and (": did you mean %s?"):format(nearest) or "") }
      end
   end
   return list
end

return globals

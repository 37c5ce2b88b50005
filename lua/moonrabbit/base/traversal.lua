--- traversal: pairs and next that the compiler never sees, where it has a fault in them.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 121 122
-- The JIT compiler of LuaJIT 2.1 of spring 2022 (Debian 12, x64) compiles `next` with a fault: where the registers of its
-- two results have to change places, it exchanges their lower halves only (`xchg eax, edx`), and the pointer to key and
-- value is cut to 32 bits (LuaJIT issue 829, mended on 5 April 2022). Such a loop sees the key 0 and the value 0, or the
-- process crashes. These step by a function for which the compiler is off; for all else they do what Lua's do.
local traversal = {}

local raise, kind_of = error, type

-- Blames the caller of the function at that level, and names the function as the caller does.
local function refuse(v, level)
   local name = debug.getinfo(level, "n").name or "?"
   raise(("bad argument #1 to '%s' (table expected, got %s)"):format(name, kind_of(v)), level + 1)
end

--- The two functions over Lua's own.
-- @tparam function stock_next
-- @tparam function stock_pairs
-- @treturn function next
-- @treturn function pairs
function traversal.over(stock_next, stock_pairs)
   local function step(t, k)
      if kind_of(t) ~= "table" then refuse(t, 2) end
      return stock_next(t, k)
   end
   jit.off(step)

   local function replaced(f, ...)
      if f == stock_next then return step, ... end
      return f, ...
   end

   local heeds_tables = stock_pairs(setmetatable({}, { __pairs = function() return true end })) == true

   -- What has a __pairs. Those of tables count in a LuaJIT built for Lua 5.2 only.
   local function other(t)
      if kind_of(t) == "table" then return replaced(stock_pairs(t)) end
      local ok, f, state, first = pcall(stock_pairs, t)
      if ok then return replaced(f, state, first) end
      local why = kind_of(f) == "string" and f or ""
      if why:find("^bad argument #1 to '%?' ") then refuse(t, 3) end
      if why:find("^'.-' has no '__pairs' metamethod$") then raise(f, 3) end
      raise(f, 0)
   end

   return step, function(t)
      if kind_of(t) ~= "table" or heeds_tables then
         local f, state, first = other(t) -- no tail call: refuse counts the levels
         return f, state, first
      end
      return step, t, nil
   end
end

-- Lua's own: another copy of the library may have been here before.
local registry = debug.getregistry()
local stock = registry["moonrabbit.traversal"] or { next = next, pairs = pairs }
registry["moonrabbit.traversal"] = stock

local safe_next, safe_pairs = traversal.over(stock.next, stock.pairs)

--- Lua's next, never compiled.
traversal.next = safe_next

local stock_next = stock.next
--- Lua's own next, for functions that are themselves kept from the compiler.
traversal.stock_next = stock_next

--- The same for who knows that it is a table: a quarter cheaper.
function traversal.step(t, k) return stock_next(t, k) end
jit.off(traversal.step)

--- Has the compiler of a LuaJIT the fault? By its version, which those before (of 2017, which leave `next` to the
-- interpreter anyway) and those up to the summer of 2023 have as well: for them it costs, and mends nothing.
function traversal.is_faulty(version, arch)
   return arch == "x64" and version == "LuaJIT 2.1.0-beta3"
end

--- Puts them in the place of Lua's, if need be: for all that is loaded from now on, and what looks at the globals.
-- table.foreach has such a loop within.
-- @tparam table globals
function traversal.install(globals)
   if not traversal.is_faulty(jit.version, jit.arch) then return end
   globals.next, globals.pairs = safe_next, safe_pairs
   if table.foreach then jit.off(table.foreach) end
end

return traversal

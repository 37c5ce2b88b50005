--- traversal: replaces pairs and next by functions that are never compiled, if LuaJIT has a bug in them.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 121 122
-- The JIT compiler of LuaJIT 2.1 of spring 2022 (Debian 12, x64) has a bug in `next`: if the registers of its two results
-- must be swapped, it swaps only the lower halves (`xchg eax, edx`), and the pointer to key and value is cut to 32 bits
-- (LuaJIT issue 829, fixed on 5 April 2022). Such a loop sees the key 0 and the value 0, or the process crashes. The
-- replacements step by a function that is never compiled; otherwise they do the same as Lua's functions.
local traversal = {}

local raise, kind_of = error, type

-- Raises an error at the caller of the function at that level, with the function's name as the caller uses it.
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

   -- Objects with __pairs. For tables it is used only by a LuaJIT built for Lua 5.2.
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

-- Lua's own functions: another copy of the library may have replaced them before.
local registry = debug.getregistry()
local stock = registry["moonrabbit.traversal"] or { next = next, pairs = pairs }
registry["moonrabbit.traversal"] = stock

local safe_next, safe_pairs = traversal.over(stock.next, stock.pairs)

--- Lua's next, never compiled.
traversal.next = safe_next

local stock_next = stock.next
--- Lua's own next, for functions that are never compiled themselves.
traversal.stock_next = stock_next

--- The same for arguments that are known to be tables: a quarter faster.
function traversal.step(t, k) return stock_next(t, k) end
jit.off(traversal.step)

--- True if a LuaJIT may have the bug, by its version. Earlier LuaJITs (of 2017, which never compile `next`) and those up to
-- the summer of 2023 have the same version without the bug: for them the replacement costs time without a benefit.
function traversal.is_faulty(version, arch)
   return arch == "x64" and version == "LuaJIT 2.1.0-beta3"
end

--- Replaces Lua's functions if necessary, for code that is loaded from now on, and code that uses the globals. table.foreach
-- contains such a loop, too.
-- @tparam table globals
function traversal.install(globals)
   if not traversal.is_faulty(jit.version, jit.arch) then return end
   globals.next, globals.pairs = safe_next, safe_pairs
   if table.foreach then jit.off(table.foreach) end
end

return traversal

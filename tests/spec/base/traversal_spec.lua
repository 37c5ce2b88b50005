--- traversal: pairs and next that are never compiled, on a LuaJIT whose compiler has a fault in them.
-- Covers: lua/moonrabbit/base/each.lua by traversal
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 121 122
local traversal = require "moonrabbit.base.traversal"

local stock = debug.getregistry()["moonrabbit.traversal"]

-- What fn(next, pairs) gives or raises, and how many results it has.
local function outcome(fn, ...) return { n = select("#", pcall(fn, ...)), pcall(fn, ...) } end

-- The same, with Lua's own and with ours, in their place among the globals.
local function both(fn)
   local was_next, was_pairs = next, pairs
   next, pairs = stock.next, stock.pairs
   local wanted = outcome(fn)
   next, pairs = traversal.over(stock.next, stock.pairs)
   local got = outcome(fn)
   next, pairs = was_next, was_pairs
   return wanted, got
end

-- An error names its caller as Lua's own does, at the same place.
local function same(fn)
   local wanted, got = both(fn)
   assert.same(wanted, got)
end

describe("pairs and next that are never compiled", function()
   it("give what Lua's own give", function()
      same(function() return next {} end)
      same(function() return next { "a" } end)
      same(function() return next({ "a" }, 1) end)
      same(function() return next({ "a", x = 1 }, 1) end)
      same(function()
         local all = {}
         for k, v in pairs { 1, 2, nil, 4, x = "y", [true] = false, [2.5] = {} } do all[k] = v end
         for k, v in next, { z = 1 } do all[k] = v end
         for k, v in pairs(all) do if v == 2 then all[k] = nil end end -- what is met may be cleared
         return all
      end)
      same(function() return next ~= nil and (pairs {}) == next, select("#", pairs {}), select(3, pairs {}) end)
      same(function() return coroutine.wrap(next)({ 7 }) end)
      same(function() return pcall(next, { 7 }) end)
   end)

   it("blame the caller by the name that it calls them", function()
      same(function() next(5) end)
      same(function() local nx = next nx "text" end)
      same(function() local o = { n = next } o.n(print) end)
      same(function() for k in next, 5 do print(k) end end)
      same(function() for k in pairs(5) do print(k) end end)
      same(function() local each = pairs each(nil) end)
      same(function() pairs(io.stdout) end)
      same(function() pairs(require("ffi").new "int") end)
      same(function() return pcall(next, 5) end)
      same(function() return pcall(pairs, 5) end)
      same(function() return next({}, "no such key") end)
      same(function() for k in next, {}, 7 do print(k) end end)
   end)

   it("heed __pairs of cdata and of userdata, as Lua's own do, and of tables where those do", function()
      local ffi = require "ffi"
      ffi.cdef "typedef struct { int x; } traversal_spec;"
      local made = ffi.metatype("traversal_spec", { __pairs = function(o) return next, { x = o.x }, nil, "and more" end })
      same(function()
         local all = {}
         for k, v in pairs(made(3)) do all[k] = v end
         return all
      end)
      same(function() return select("#", pairs(setmetatable({}, { __pairs = function() return 1, 2, 3, 4 end }))) end)

      local function of_52(t) -- as a LuaJIT built for 5.2 has it
         local mt = getmetatable(t)
         if mt and mt.__pairs then return mt.__pairs(t) end
         return stock.pairs(t)
      end
      local safe_next, safe_pairs = traversal.over(stock.next, of_52)
      local hidden = { secret = 1 }
      local t = setmetatable({ shown = 1 }, { __pairs = function() return stock.next, hidden, nil end })
      local f, state = safe_pairs(t)
      assert.equal(safe_next, f)
      assert.equal(hidden, state)
      assert.equal(safe_next, (safe_pairs {}))
      assert.has_error(function() safe_pairs(setmetatable({}, { __pairs = function() error("mine", 0) end })) end, "mine")
   end)

   it("are put in their place where the fault is, and nowhere else", function()
      assert.is_true(traversal.is_faulty("LuaJIT 2.1.0-beta3", "x64"))
      assert.is_false(traversal.is_faulty("LuaJIT 2.1.0-beta3", "arm64")) -- the instruction is x64's
      assert.is_false(traversal.is_faulty("LuaJIT 2.1.1693350652", "x64"))
      assert.is_false(traversal.is_faulty("LuaJIT 2.0.5", "x64"))
      local globals = {}
      traversal.install(globals)
      if not traversal.is_faulty(jit.version, jit.arch) then return assert.same({}, globals) end
      assert.equal(traversal.next, globals.next)
      assert.equal(traversal.next, (globals.pairs {}))
   end)

   it("are the same ones after package.loaded was emptied", function()
      package.loaded["moonrabbit.base.traversal"] = nil
      local again = require "moonrabbit.base.traversal"
      package.loaded["moonrabbit.base.traversal"] = traversal
      local globals = {}
      again.install(globals)
      if globals.pairs then assert.has_error(function() globals.pairs(5) end) end
      assert.equal(stock, debug.getregistry()["moonrabbit.traversal"])
   end)
end)

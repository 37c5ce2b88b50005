--- pool: the rows of the capability contract that pool_spec.lua does not name, by what a program sees of a pool.
-- Feature: rows of the capability contract
local mr = require "moonrabbit"
local embedded = require "embedded"
local waits = require "waits"

local broker, eventually = embedded.broker, waits.eventually

local function pool(b, options)
   local all = { url = b.url }
   for k, v in pairs(options or {}) do all[k] = v end
   return embedded.keep(assert(mr.pool(all)))
end

local function connections(b) return #b:report().connections end

describe("a pool", function()
   after_each(function()
      embedded.close_all()
      mr.log.configure "error"
   end)

   it("is of either strategy; what it is made of are the options of a connection (A3, R1, R2)", function()
      local b = broker()
      for _, strategy in ipairs { "pooled", "shared" } do
         local p = pool(b, { strategy = strategy, name = "of " .. strategy, heartbeat = 7 })
         p:with(function(ch)
            assert(ch:queue_declare { exclusive = true })
            local c = b:report().connections[1]
            assert.same({ "of " .. strategy, 7 }, { c.client_properties.connection_name, c.timeout })
         end)
         p:close()
         eventually("the end of all", function() return connections(b) == 0 end)
      end
   end)

   it("holds its connections: none when it is made, one for its users by turns, none when it is closed (A5, A6)", function()
      local b = broker()
      local p = pool(b)
      assert.equal(0, connections(b))
      for _ = 1, 3 do
         local c = assert(p:acquire { block = true, timeout = 5 })
         assert(c:connect())
         assert.equal(1, p.active)
         p:release(c)
         assert.same({ 0, 1 }, { p.active, connections(b) })
      end
      p:close()
      eventually("the end of all", function() return connections(b) == 0 end)
   end)

   it("lends ten when it is not told how many, and counts the lent and all (R3, R7, R14)", function()
      local p = pool(broker())
      local held = {}
      for i = 1, 10 do
         held[i] = assert(p:acquire { block = false })
         assert.equal(i, p.active)
      end
      assert.same({ nil, "pool_exhausted" }, { nil, select(2, p:acquire { block = false }).kind })
      assert.equal(10, p.total)
      for _, c in ipairs(held) do p:release(c) end
      assert.same({ 0, 10 }, { p.active, p.total })
   end)

   it("has errors of its own: exhausted, over its limit, out of time (R15, T3, X8)", function()
      local p = pool(broker(), { max_connections = 1 })
      local c = assert(p:acquire())
      local began = mr.now()
      for _, case in ipairs { { "pool_exhausted", { block = false } }, { "pool_exhausted", { timeout = 0 } },
         { "timeout", { timeout = 0.1 } } } do
         local none, err = p:acquire(case[2])
         assert.is_nil(none)
         assert.same({ case[1], "pool" }, { err.kind, err.scope })
         assert.is_true(#err.hint > 0)
      end
      assert.is_true(mr.now() - began >= 0.09)
      local grown, err = p:grow(1)
      assert.is_nil(grown)
      assert.same({ "pool_limit_exceeded", "pool" }, { err.kind, err.scope })
      p:release(c)
   end)
end)

--- pool: acquire, release, and all that can go wrong between them. CONTRACT A1 to A8, R1 to R15, T3.
-- Covers: lua/moonrabbit/pool/items.lua by purpose
-- Covers: lua/moonrabbit/pool/lease.lua by acquire
-- Covers: lua/moonrabbit/pool/size.lua by resize
local mr = require "moonrabbit"
local loop = require "moonrabbit.loop.loop"
local embedded = require "embedded"

local broker, clean, eventually = embedded.broker, embedded.close_all, require("waits").eventually

local function pool(options)
   local all = { url = options.broker and options.broker.url or broker().url }
   for k, v in pairs(options) do if k ~= "broker" then all[k] = v end end
   return embedded.keep(assert(mr.pool(all)))
end

local function counts(p) return { p.active, p.idle, p.total } end

describe("a pool of connections", function()
   after_each(clean)

   it("connects nothing before it is used (A4)", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 3 }
      assert.same({ 0, 0, 0 }, counts(p))
      assert.equal(0, #b:report().connections)
      local c = assert(p:acquire())
      assert.equal(0, #b:report().connections)
      assert(c:connect())
      assert.equal(1, #b:report().connections)
      p:release(c)
      assert.same({ 0, 1, 1 }, counts(p))
      assert.equal(1, #b:report().connections) -- it stays open for the next one
   end)

   it("lends as many as it has, and one more is refused (R6, PEER 66)", function()
      local p = pool { max_connections = 10 }
      local held = {}
      for i = 1, 10 do held[i] = assert(p:acquire()) end
      assert.same({ 10, 0, 10 }, counts(p))
      for _, opts in ipairs { { block = false }, { timeout = 0 } } do
         local c, err = p:acquire(opts)
         assert.is_nil(c)
         assert.same({ "pool_exhausted", "pool" }, { err.kind, err.scope })
      end
      local _, err = p:acquire { timeout = 0.02 }
      assert.equal("timeout", err.kind)
      p:release(table.remove(held))
      assert.same({ 9, 1, 10 }, counts(p))
      p:release(assert(p:acquire { block = false }))
      for _, c in ipairs(held) do p:release(c) end
      assert.same({ 0, 10, 10 }, counts(p))
   end)

   it("serves those who wait in their order (T3)", function()
      local p = pool { max_connections = 1 }
      local first, order = assert(p:acquire()), {}
      for i = 1, 3 do
         mr.spawn(function()
            local c = assert(p:acquire())
            order[#order + 1] = i
            mr.sleep(0)
            p:release(c)
         end)
      end
      assert.same({}, order)
      p:release(first)
      eventually("all three", function() return #order == 3 end)
      assert.same({ 1, 2, 3 }, order)
   end)

   it("reuses what it lent (A1)", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 5 }
      for _ = 1, 20 do
         local c = assert(p:acquire())
         assert(c:connect())
         p:release(c)
      end
      assert.equal(1, #b:report().connections)
   end)

   it("names the release of what is released or used after it (R12)", function()
      local p = pool { max_connections = 1 }
      local c = assert(p:acquire())
      assert.equal("idle", c.state)
      p:release(c)
      for _, misuse in ipairs { function() p:release(c) end, function() return c.state end,
         function() return c:connect() end, function() p:replace(c) end } do
         local ok, why = pcall(misuse)
         assert.is_false(ok)
         assert.truthy(tostring(why):find("released", 1, true), why)
         assert.truthy(tostring(why):find("pool_spec.lua:", 1, true), why)
      end
      assert.same({ 0, 1, 1 }, counts(p))
      assert.has_error(function() p:release {} end, "this was not acquired from a pool")
      for _, wrong in ipairs { function() p:release {} return nil end, function() p:with(print, { purpose = "x" }) return nil end,
         function() p:with(function(ch) ch:release() end) return nil end } do
         local _, why = pcall(wrong)
         assert.truthy(why:find "^[^:]*pool_spec.lua:%d+: ", why) -- the script's line, not one of ours
      end
   end)

   it("is known to what it lends, whose own release gives back (Q10, Q39)", function()
      local b = broker()
      local p, q = pool { broker = b, max_connections = 1 }, pool { broker = b, strategy = "shared" }
      local c = assert(p:acquire())
      assert.equal(p, c.pool)
      assert.is_nil(embedded.connect(b.url).pool)
      assert(c:connect())
      assert.is_true(c:release())
      assert.same({ 0, 1, 1 }, counts(p))
      assert.equal(1, #b:report().connections)
      for _, misuse in ipairs { function() c:release() end, function() p:release(c) end } do
         local ok, why = pcall(misuse)
         assert.is_false(ok)
         assert.truthy(why:find("pool_spec.lua:", 1, true) and why:find("released", 1, true), why)
      end
      local ch = assert(q:acquire())
      assert.equal(q, ch.connection.pool)
      assert.is_true(ch:release())
      assert.same({ 0, 1, 1 }, counts(q))
   end)

   it("gets back what was collected without a release", function()
      local p = pool { max_connections = 1 }
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      do assert(p:acquire()) end
      eventually("the collector", function()
         collectgarbage()
         return p.active == 0
      end)
      assert.same({ 0, 1, 1 }, counts(p))
   end)

   it("closes a broken one and makes another (R13, PEER 69)", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 1 }
      local c = assert(p:acquire())
      assert(c:connect())
      p:replace(c)
      eventually("the close", function() return #b:report().connections == 0 end)
      local fresh = assert(p:acquire { block = false })
      assert.equal("idle", fresh.state)
      p:release(fresh)
   end)

   it("keeps its size when a connect fails (PEER 67)", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 2 }
      b:refuse_logins()
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      local c = assert(p:acquire())
      assert.equal("authentication_failed", select(2, c:connect()).kind)
      p:release(c)
      assert.same({ 0, 1, 1 }, counts(p))
   end)

   it("opens as many as it is told beforehand, and says why it cannot (R4, R5)", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 5, preconnect = 3 }
      assert.equal(3, #b:report().connections)
      assert.same({ 0, 3, 3 }, counts(p))
      b:refuse_logins()
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      local none, err = mr.pool { url = b.url, preconnect = 1 }
      assert.is_nil(none)
      assert.equal("authentication_failed", err.kind)
   end)

   it("grows to its limit and not beyond (R10, R11), and is resized", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 3 }
      assert.is_true(p:grow(2, { connect = true }))
      assert.equal(2, #b:report().connections)
      local ok, err = p:grow(2)
      assert.is_nil(ok)
      assert.equal("pool_limit_exceeded", err.kind)
      assert.equal(3, p.total) -- the one that fitted stays
      p:resize(1)
      assert.equal(1, p.total)
      p:resize(2)
      local one, two = assert(p:acquire()), assert(p:acquire { block = false })
      assert.is_nil((p:acquire { block = false }))
      p:release(one)
      p:release(two)
   end)

   it("closes all, lent or not, as often as it is told, and can be used again (A8, R8)", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 3, preconnect = 2 }
      local c = assert(p:acquire())
      p:close()
      p:close()
      eventually("the end of all", function() return #b:report().connections == 0 end)
      assert.has_error(function() return c.state end)
      assert.same({ 0, 0, 0 }, counts(p))
      local again = assert(p:acquire())
      assert(again:connect())
      p:release(again)
   end)

   it("runs a function with a channel and takes it back, whatever happens (A7)", function()
      local p = pool { max_connections = 1 }
      assert.equal("q", p:with(function(ch) return assert(ch:queue_declare { queue = "q" }).queue end))
      assert.same({ false, "boom" }, { pcall(p.with, p, function() error("boom", 0) end) })
      assert.same({ 0, 1, 1 }, counts(p))
   end)

   it("tries a function again while connections fail (R9)", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 1 }
      local seen, runs = {}, 0
      b:refuse_logins()
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      local declare = p:ensure(function(ch, name)
         runs = runs + 1
         return ch:queue_declare { queue = name }
      end, { interval_start = 0.01, interval_step = 0.01, errback = function(err, interval)
         seen[#seen + 1] = { err.kind, interval }
         if #seen == 2 then b:refuse_logins(false) end
      end })
      assert.equal("wanted", assert(declare "wanted").queue)
      assert.same({ { "authentication_failed", 0.01 }, { "authentication_failed", 0.02 } }, seen)
      assert.equal(1, runs)
   end)

   it("ends a wait at its time, by whatever clock (T3)", function()
      local p = pool { max_connections = 1 }
      local c, err = assert(p:acquire()), nil
      mr.spawn(function() err = select(2, p:acquire { timeout = 3600 }) end)
      mr.testing.advance(3540) -- time goes on by itself, too
      assert.same({ nil, 1 }, { err, p.waiting })
      mr.testing.advance(120)
      eventually("the end of the wait", function() return err end)
      assert.same({ "timeout", "pool", "none of 1 was released in time" }, { err.kind, err.scope, err.text })
      assert.same({ 1, 0 }, { p.active, p.waiting })
      p:release(c)
   end)

   it("tells those who wait that it was closed", function()
      local p = pool { max_connections = 1 }
      assert(p:acquire())
      local told = {}
      for _ = 1, 3 do
         mr.spawn(function() table.insert(told, (select(2, p:acquire()))) end)
      end
      p:close()
      eventually("the end of the waits", function() return #told == 3 end)
      for _, err in ipairs(told) do assert.same({ "closed", "pool" }, { err.kind, err.scope }) end
      p:release(assert(p:acquire { block = false }))
   end)

   it("takes back only what it lent", function()
      local b = broker()
      local one, two = pool { broker = b }, pool { broker = b }
      local c = assert(one:acquire())
      assert.has_error(function() two:release(c) end, "this was acquired from another pool")
      assert.has_error(function() two:replace(c) end, "this was acquired from another pool")
      assert.same({ 1, 0 }, { one.active, two.active })
      one:release(c)
   end)

   it("does not keep what its user has released for good", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 1 }
      local c = assert(p:acquire())
      assert(c:channel()).connection:release() -- not the lease's
      assert.same({ 1, 0, 1 }, counts(p))
      p:release(c)
      assert.same({ 0, 0, 0 }, counts(p))
      eventually("the close", function() return #b:report().connections == 0 end)
   end)

   it("keeps a connection through a loss, and through a handover", function()
      local b = broker()
      local p = pool { broker = b, max_connections = 1 }
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      local c = assert(p:acquire())
      assert(c:connect())
      b:drop()
      eventually("the recovery", function() return c.epoch == 2 and c.is_open end)
      assert(c:handover())
      p:release(c)
      assert.same({ 0, 1, 1 }, counts(p))
      c = assert(p:acquire { block = false })
      assert.is_true(c.is_open)
      p:release(c)
      p:close()
      eventually("the close", function() return #b:report().connections == 0 end)
   end)

   it("begins anew after the end of the runtime", function()
      local p = pool { max_connections = 1 }
      local c = assert(p:acquire())
      assert(c:connect())
      require("moonrabbit.loop.loop").close(1)
      assert.same({ 0, 0, 0 }, counts(p))
      p:release(c)
      c = assert(p:acquire { block = false })
      assert(c:connect())
      p:release(c)
      assert.same({ 0, 1, 1 }, counts(p))
   end)

   it("refuses options that make no sense", function()
      for _, case in ipairs { { { strategy = "many" }, "strategy" }, { { max_connections = 0 }, "max_connections" },
         { { max_conections = 3 }, "max_connections" }, { { preconnect = -1 }, "preconnect" } } do
         local ok, why = pcall(mr.pool, case[1])
         assert.is_false(ok)
         assert.truthy(tostring(why):find(case[2], 1, true), why)
      end
   end)
end)

describe("a pool of channels", function()
   after_each(clean)

   it("has one connection for publishing and one for consuming (A2, T8)", function()
      local b = broker()
      local p = pool { broker = b, strategy = "shared", max_channels = 4 }
      assert.equal(0, #b:report().connections)
      local out, into = assert(p:acquire()), assert(p:acquire { purpose = "consume" })
      assert.equal(2, #b:report().connections)
      assert(into:queue_declare { queue = "q" })
      assert(out:publish("", "q", "x"))
      local got = {}
      assert(into:consume("q", function(msg) got[#got + 1] = msg.body end))
      eventually("the message", function() return got[1] == "x" end)
      local more = { assert(p:acquire()), assert(p:acquire()) }
      assert.equal(2, #b:report().connections)
      assert.equal("pool_exhausted", select(2, p:acquire { block = false }).kind) -- PEER 74
      for _, ch in ipairs { out, into, more[1], more[2] } do p:release(ch) end
      assert.same({ 0, 4, 4 }, counts(p))
   end)

   it("serves those who wait, whichever channel they want", function()
      local p = pool { strategy = "shared", max_channels = 1 }
      local ch, order = assert(p:acquire()), {}
      for _, purpose in ipairs { "publish", "consume", "publish" } do
         mr.spawn(function()
            local mine = assert(p:acquire { purpose = purpose })
            assert(mine.is_open)
            order[#order + 1] = purpose
            p:release(mine)
         end)
      end
      assert.equal(3, p.waiting)
      p:release(ch)
      eventually("all three", function() return #order == 3 end)
      assert.same({ "publish", "consume", "publish" }, order)
      assert.same({ 0, 1, 1 }, counts(p))
   end)

   it("says why no channel can be opened, and keeps its places", function()
      local b = broker()
      local p = pool { broker = b, strategy = "shared", max_channels = 5, channel_max = 2 }
      local held = { assert(p:acquire()), assert(p:acquire()) }
      assert.equal("channel_limit_reached", select(2, p:acquire()).kind)
      assert.equal(2, p.active)
      for _, ch in ipairs(held) do p:release(ch) end
      p:close()
      b:refuse_logins()
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      local _, err = p:acquire()
      assert.same({ "authentication_failed", "connection" }, { err.kind, err.scope })
      assert.same({ 0, 0, 0 }, counts(p))
   end)

   it("asks a function for the password before it connects", function()
      local b, asked = broker(), 0
      b:add_user("fay", "secret")
      local p = pool { broker = b, strategy = "shared", userid = "fay", password = function()
         asked = asked + 1
         return "secret"
      end, url = b.url }
      p:release(assert(p:acquire()))
      p:release(assert(p:acquire()))
      assert.equal(1, asked)
   end)

   it("gets back a channel that was collected without a release", function()
      local p = pool { strategy = "shared", max_channels = 1 }
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      do assert(p:acquire()) end
      local served
      mr.spawn(function() served = assert(p:acquire()) end) -- one waits for it
      eventually("the collector", function()
         collectgarbage()
         return served
      end)
      p:release(served)
      assert.same({ 0, 1, 1 }, counts(p))
   end)

   it("starts nothing anew for what is collected after the end of the runtime", function()
      mr.spawn(function() assert(assert(pool { max_connections = 1 }:acquire()):connect()) end)
      loop.close()
      collectgarbage()
      collectgarbage()
      local is_running = loop.is_running()
      clean()
      assert.is_false(is_running)
   end)

   it("is whole again after a loss", function()
      local b = broker()
      local p = pool { broker = b, strategy = "shared", max_channels = 2, recover = false }
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      local held, idle = assert(p:acquire()), assert(p:acquire())
      p:release(idle)
      b:drop()
      eventually("the loss", function() return not held.is_open end)
      assert.is_true(assert(p:acquire()).is_open)
      p:release(held)
      assert.equal(1, p.total)
   end)

   it("drops a channel that was closed", function()
      local p = pool { strategy = "shared", max_channels = 1 }
      local ch = assert(p:acquire())
      assert.is_nil((ch:queue_declare { queue = "missing", passive = true }))
      p:release(ch)
      assert.same({ 0, 0, 0 }, counts(p))
      ch = assert(p:acquire { block = false })
      assert.is_true(ch.is_open)
      p:release(ch)
   end)
end)

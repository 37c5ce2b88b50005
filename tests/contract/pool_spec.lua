--- pool: what only a broker with limits of its own can say to a pool. H1, H2.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local broker = require "broker"

local function pool(options)
   options.url, options.port = nil, broker.port
   return assert(mr.pool(options))
end

describe("a pool", function()
   broker.it_rabbitmq(it, "reports the broker's limit of connections, and keeps its places (H1, H2)", function()
      local vhost = broker.name "limited"
      local pooled, shared
      finally(function()
         for _, p in pairs { pooled, shared } do p:close() end
         broker.ctl("clear_vhost_limits -p " .. vhost)
         broker.ctl("delete_vhost " .. vhost)
         mr.log.configure "warn"
      end)
      mr.log.configure "off"
      for _, command in ipairs { "add_vhost " .. vhost, ("set_permissions -p %s guest '.*' '.*' '.*'"):format(vhost),
         ([[set_vhost_limits -p %s '{"max-connections": 1}']]):format(vhost) } do
         assert.equal(0, (select(2, broker.ctl(command))))
      end
      pooled = pool { hostname = "127.0.0.1", virtual_host = vhost, max_connections = 2 }
      local one, two = assert(pooled:acquire()), assert(pooled:acquire())
      assert(one:connect())
      assert.equal("connection_limit_reached", select(2, two:connect()).kind)
      pooled:release(one)
      pooled:release(two)
      assert.same({ 0, 2 }, { pooled.active, pooled.idle })
      local _, err = pooled:grow(1, { connect = true })
      assert.equal("pool_limit_exceeded", err.kind)
      pooled:resize(3)
      _, err = pooled:grow(1, { connect = true })
      assert.equal("connection_limit_reached", err.kind)
      assert.same({ 0, 2 }, { pooled.active, pooled.idle })
      pooled:close()
      -- One connection is enough for a shared pool that only publishes.
      shared = pool { hostname = "127.0.0.1", virtual_host = vhost, strategy = "shared", max_channels = 3 }
      local ch
      broker.eventually("the broker to forget the others", function()
         ch, err = shared:acquire()
         return ch
      end)
      assert.is_true(ch.is_open)
      _, err = shared:acquire { purpose = "consume" }
      assert.same({ "connection_limit_reached", "connection" }, { err.kind, err.scope })
      assert.equal(1, shared.active)
   end)

   it("reports that its connection has no channel left (docs/troubleshooting.md)", function()
      local p = assert(mr.pool { url = broker.url, strategy = "shared", max_channels = 5, channel_max = 2 })
      finally(function() p:close() end)
      local held = { assert(p:acquire()), assert(p:acquire()) }
      local none, err = p:acquire()
      assert.is_nil(none)
      assert.same({ "channel_limit_reached", 2 }, { err.kind, p.active })
      local page = assert(io.open "docs/troubleshooting.md"):read "*a"
      assert.truthy(page:find("`" .. err.kind .. ": " .. err.text .. " [", 1, true), "it is not told of")
      p:release(held[1])
      assert.is_true(assert(p:acquire()).is_open)
   end)

   it("publishes by one connection and consumes by another", function()
      local p = assert(mr.pool { url = broker.url, strategy = "shared", max_channels = 5 })
      finally(function() p:close() end)
      local q = broker.name "pooled"
      local into = assert(p:acquire { purpose = "consume" })
      assert(into:queue_declare { queue = q, auto_delete = true })
      local got = {}
      assert(into:consume(q, function(msg) got[#got + 1] = msg.body end))
      for i = 1, 20 do
         mr.spawn(function()
            assert(p:with(function(ch)
               assert(ch:confirm_select())
               return ch:publish("", q, tostring(i))
            end))
         end)
      end
      broker.eventually("all messages and confirms", function() return #got == 20 and p.active == 1 end)
      assert.equal(4, p.idle)
   end)

   -- Under the sanitizers, too: whatever meets whatever, no place is lost and nothing hangs.
   it("keeps its counts when everything happens at once", function()
      if broker.kind ~= "memory" then return end
      local b = assert(mr.testing.broker())
      mr.log.configure "off"
      finally(function()
         b:close()
         mr.log.configure "warn"
      end)
      local seed = os.time()
      math.randomseed(seed)
      local random, pools, left = math.random, {}, 16
      for i, strategy in ipairs { "pooled", "shared", "shared" } do
         pools[i] = assert(mr.pool { url = b.url, strategy = strategy, max_connections = 3, max_channels = 4,
            recover = i ~= 3 })
      end
      local stop = mr.now() + 1
      local acts = {
         function(ch) ch:queue_declare { auto_delete = true, timeout = 1 } end,
         function(ch) ch:close() end,
         function(ch) ch.connection:close() end,
         function(ch) ch.connection:release() end,
         function(ch) ch.connection:handover { drain = 0.01 } end,
      }
      local function use(p, c)
         local ch = c
         if p.strategy == "pooled" then ch = c:default_channel() end
         if ch then acts[math.max(random(16) - 11, 1)](ch) end
      end
      local function work()
         while mr.now() < stop do
            local p = pools[random(3)]
            local c = p:acquire { timeout = random(4) == 1 and random() * 0.004 or random(5) == 1 and 0 or nil,
               purpose = random(2) == 1 and "publish" or "consume" }
            if c then
               pcall(use, p, c) -- a close of the pool ends the lease
               pcall(random(5) > 1 and p.release or p.replace, p, c)
            else
               mr.sleep(0.001)
            end
         end
         left = left - 1
      end
      for _ = 1, left do mr.spawn(work) end
      local trouble = {
         function(p) p:close() end, function(p) p:resize(random(5)) end, function(p) p:grow(1) end,
         function() b:drop() end, function() b:refuse_logins(random(2) == 1) end,
      }
      while mr.now() < stop do
         mr.sleep(0.02)
         trouble[random(#trouble)](pools[random(3)])
      end
      b:refuse_logins(false)
      broker.eventually("the end of all, seed " .. seed, function() return left == 0 end, 30)
      for _, p in ipairs(pools) do
         assert.same({ 0, 0, true }, { p.active, p.waiting, p.idle <= p.limit }, "seed " .. seed)
         p:close()
      end
      broker.eventually("the last close, seed " .. seed, function() return #b:report().connections == 0 end)
   end)
end)

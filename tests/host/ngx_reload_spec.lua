-- Tests that reloads and stops of nginx lose nothing: handlers finish, requests are answered, publishes are confirmed.
-- SPDX-License-Identifier: MIT
-- Covers: lua/moonrabbit/host/ngx_driver.lua by drain
local broker = require "broker"
local mr = require "moonrabbit"
local nginx = require "nginx"
local site = require "ngx_site"
local waits = require "waits"

local function queue()
   local ch, q = broker.channel(), broker.name "queue"
   assert(ch:queue_declare { queue = q, durable = true })
   return q, ch
end

local function count(ch, q) return assert(ch:queue_declare { queue = q, passive = true }).message_count end

local function stops(n)
   local code, log = n:stop()
   assert.equal(0, code)
   assert.is_nil(log:find("exited on signal", 1, true), log)
   assert.is_nil(log:find("[alert]", 1, true), log)
   return log
end

describe("a reload of nginx", function()
   after_each(function()
      nginx.end_all()
      broker.close_all()
   end)

   it("lets handlers and requests of old workers finish", function()
      local q, ch = queue()
      local done = queue()
      local n = site.start { queue = q, script = ([[
         local mr = require "moonrabbit"
         local done = mr.publisher { routing_key = %q }
         mr.on_stop(function() done:publish "the hook" end)
         mr.consumer { queue = %q, handler = function(msg)
            mr.log.info("at work", { body = msg.body })
            mr.sleep(0.5)
            return done:publish(msg.body .. (msg.redelivered and " again" or ""))
         end }
         while true do mr.sleep(3600) end
      ]]):format(done, q), pages = [[
         location = /late { content_by_lua_block {
            ngx.sleep(1)
            assert(require("app").publish "late")
            ngx.say(ngx.worker.pid(), " ", tostring(ngx.worker.exiting()))
         } } ]] }
      local _, old = n:ask "/pid"
      assert.equal(204, (n:ask("/publish", "POST", "early")))
      n:says "at work"
      local late = waits.background(function()
         local status, body = n:ask "/late"
         return { status, body }
      end)
      mr.sleep(0.05)
      local drained = n:reload()
      broker.eventually("the new worker", function() return select(2, n:ask "/pid") ~= old end)
      drained(15)
      assert.same({ 200, old:sub(1, -2) .. " true\n" }, late.result)
      local got = {}
      broker.eventually("the messages", function()
         local msg = ch:get(done, { no_ack = true })
         if msg then got[msg.body] = (got[msg.body] or 0) + 1 end
         return got.early and got.late and got["the hook"]
      end)
      assert.same({ early = 1, late = 1, ["the hook"] = 1 }, got)
      stops(n)
      assert.equal(0, count(ch, q))
   end)

   it("gives up handlers after the drain, and their messages come again", function()
      local q, ch = queue()
      local n = site.start { queue = q, start = 'script = "consumers.lua", drain = 0.3', script = ([[
         local mr = require "moonrabbit"
         mr.consumer { queue = %q, handler = function() mr.log.info("at work") mr.sleep(60) end }
      ]]):format(q) }
      assert.equal(204, (n:ask("/publish", "POST", "long")))
      n:says "at work"
      local began = mr.now()
      assert.truthy(stops(n):find("msg=abandoned", 1, true))
      assert.is_true(mr.now() - began < 5)
      broker.eventually("the message", function() return count(ch, q) == 1 end)
   end)

   it("is done while nginx closes what is left at worker_shutdown_timeout", function()
      local q, ch = queue()
      local n = site.start { queue = q, main = "worker_shutdown_timeout 300ms;", script = ([[
         local mr = require "moonrabbit"
         mr.consumer { queue = %q, handler = function() mr.log.info("at work") mr.sleep(60) end }
      ]]):format(q) }
      assert.equal(204, (n:ask("/publish", "POST", "long")))
      n:says "at work"
      local began = mr.now()
      assert.truthy(stops(n):find("nginx does not wait any longer", 1, true))
      assert.is_true(mr.now() - began < 5)
      broker.eventually("the message", function() return count(ch, q) == 1 end)
   end)

   it("takes no more messages after mr.stop, and goes on with requests", function()
      local q, ch = queue()
      local n = site.start { queue = q, script = ([[
         local mr = require "moonrabbit"
         mr.consumer { queue = %q, handler = mr.stop }
         mr.log.info("ran", { well = mr.run() })
      ]]):format(q) }
      assert.equal(204, (n:ask("/publish", "POST", "stop")))
      n:says "well=true"
      for i = 1, 3 do assert.equal(204, (n:ask("/publish", "POST", "kept " .. i))) end
      broker.eventually("the messages", function() return count(ch, q) == 3 end)
      stops(n)
   end)

   it("runs the script in one worker if told so", function()
      local q, ch = queue()
      local script = ([[ require("moonrabbit").consumer { queue = %q, handler = print } ]]):format(q)
      local n = site.start { queue = q, workers = 2, script = script, start = 'script = "consumers.lua", workers = "one"' }
      local function consumers() return assert(ch:queue_declare { queue = q, passive = true }).consumer_count end
      broker.eventually("the consumer", function() return consumers() == 1 end)
      broker.eventually("health", function() return n:ask "/health" == 200 end)
      assert.equal(1, consumers())
      n:configure(site.options({ queue = q, workers = 2, script = script }, 'script = "consumers.lua"'))
      n:reload()()
      broker.eventually("the consumers", function() return consumers() == 2 end)
      stops(n)
   end)

   it("fails no request under load, and loses nothing", function()
      local q, ch = queue()
      local n = site.start { queue = q, workers = 2 }
      local ledger, is_over, alive = {}, false, 8
      for client = 1, alive do
         mr.spawn(function()
            local number = 0
            while not is_over do
               number = number + 1
               local body = client .. "/" .. number
               ledger[body] = n:ask("/publish", "POST", body) or "no answer"
            end
            alive = alive - 1
         end)
      end
      for _ = 1, 2 do
         mr.sleep(0.5)
         n:reload()(15)
      end
      is_over = true
      broker.eventually("the clients", function() return alive == 0 end)
      local sent, other, missing, twice = 0, {}, 0, 0
      for body, status in pairs(ledger) do
         sent = sent + 1
         if status ~= 204 then other[#other + 1] = body .. ": " .. status end
      end
      assert.same({}, other)
      assert.is_true(sent > 200, sent .. " requests only")
      local got = {}
      for msg in function() return ch:get(q, { no_ack = true }) end do
         if got[msg.body] then twice = twice + 1 end
         got[msg.body] = true
      end
      for body in pairs(ledger) do
         if not got[body] then missing = missing + 1 end
      end
      assert.same({ missing = 0, twice = 0 }, { missing = missing, twice = twice })
      stops(n)
   end)
end)

describe("a worker of nginx that is killed", function()
   after_each(function()
      nginx.end_all()
      broker.close_all()
   end)

   it("leaves no folder: the next one removes it, and those of others stay", function()
      local q, ch = queue()
      local n = site.start { queue = q, workers = 2 }
      local function folders()
         local list = {}
         for path in broker.shell("find " .. n.dir .. " -maxdepth 1 -name 'moonrabbit*'"):gmatch "[^\n]+" do list[#list + 1] = path end
         return list
      end
      broker.eventually("health", function() return n:ask "/health" == 200 end)
      assert.equal(2, #folders())
      for _ = 1, 3 do
         local victim = n:workers()[1]
         os.execute("kill -KILL " .. victim)
         broker.eventually("another worker", function()
            local workers = n:workers()
            return #workers == 2 and workers[1] ~= victim and workers[2] ~= victim
         end)
         broker.eventually("health", function() return n:ask "/health" == 200 end)
         broker.eventually("the new folder, and no other", function() return #folders() == 2 end)
      end
      for i = 1, 4 do assert.equal(204, (n:ask("/publish", "POST", "kept " .. i))) end
      assert.equal(4, count(ch, q))
      local code = n:stop()
      assert.equal(0, code)
   end)
end)

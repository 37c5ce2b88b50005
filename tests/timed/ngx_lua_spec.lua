-- Tests what nginx's workers need of time: nothing when idle, little while the broker is away, publishes by the thousand.
-- SPDX-License-Identifier: MIT
-- The broker is `moonrabbit broker`, in a process of its own that can be frozen.
local broker = require "broker"
local mr = require "moonrabbit"
local nginx = require "nginx"
local process = require "process"
local site = require "ngx_site"
local waits = require "waits"

local function ticks(pid) -- of the processor, in hundredths of a second
   local file = assert(io.open(("/proc/%d/stat"):format(pid)))
   local user, system = file:read "*a":match "%) %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)"
   file:close()
   return tonumber(user) + tonumber(system)
end

local function start(opts)
   local served = process.start(broker.command .. " broker --listen 127.0.0.1:0")
   served:says "Serving"
   opts.url = ("amqp://guest:guest@127.0.0.1:%s/"):format(served:output():match "127%.0%.0%.1:(%d+)")
   opts.queue = "site"
   local ch = assert(mr.connect { url = opts.url }:channel())
   assert(ch:queue_declare { queue = "site", arguments = { ["x-max-length"] = 1000 } })
   ch.connection:release()
   return site.start(opts), served
end

describe("a worker of nginx", function()
   after_each(function()
      nginx.end_all()
      process.end_all()
      broker.close_all()
   end)

   it("uses no processor while nothing happens", function()
      local n = start { script = [[require("moonrabbit").consumer { queue = "work", handler = print }]] }
      for i = 1, 20 do assert.equal(204, (n:ask("/publish", "POST", "x" .. i))) end
      mr.sleep(0.5) -- what the start had to do is over
      local pid = n:workers()[1]
      local before = ticks(pid)
      mr.sleep(3)
      assert.is_true(ticks(pid) - before <= 1, ("%d ticks in 3 s"):format(ticks(pid) - before))
      n:stop()
   end)

   it("answers other pages within 10 ms while the broker is away", function()
      local n, served = start {}
      assert.equal(204, (n:ask("/publish", "POST", "x")))
      served:signal "STOP"
      local waiting = {}
      for i = 1, 10 do waiting[i] = waits.background(function() return n:ask("/publish", "POST", "away " .. i) end) end
      mr.sleep(0.1)
      local took = {}
      for i = 1, 300 do
         local began = mr.now()
         assert.equal(200, (n:ask "/"))
         took[i] = mr.now() - began
      end
      for i = 1, 10 do assert.is_nil(waiting[i].done) end
      table.sort(took)
      print(("note: another page while the broker is away: p50 %.2f ms, p99 %.2f ms"):format(took[150] * 1000, took[297] * 1000))
      assert.is_true(took[297] < 0.01, ("p99 %.1f ms"):format(took[297] * 1000))
      served:signal "CONT"
      for i = 1, 10 do broker.eventually("the publish", function() return waiting[i].done end) end
      for i = 1, 10 do assert.equal(204, waiting[i].result) end
      n:stop()
   end)

   it("publishes by the thousand", function()
      local n = start { workers = 2, reuseport = true, pages = [[
         location = /quick { content_by_lua_block {
            local channel = package.loaded.channel
            if not channel then
               local new = assert(require("app").conn:channel())
               assert(new:confirm_select())
               package.loaded.channel = new
               channel = new
            end
            ngx.status = channel:publish("", "site", "an order") and 204 or 503
         } } ]] }
      assert.equal(204, (n:ask "/quick"))
      local out = broker.shell(("wrk -t1 -c16 -d3 --latency http://127.0.0.1:%d/quick"):format(n.port))
      local rate = tonumber(out:match "Requests/sec:%s*([%d.]+)")
      print(("note: nginx: %.0f confirmed publishes/s, p50 %s"):format(rate, out:match "50%%%s+(%S+)"))
      assert.is_nil(out:find "Non%-2xx", out)
      assert.is_true(rate > 5000, out) -- 20 000 on two idle processors: docs/performance.md
      n:stop()
   end)
end)

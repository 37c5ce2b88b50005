--- sampling: the oldest running handler and the memory of Lua, on the page; and what a queue's messages have come to.
local http = require "http"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local mr = require "moonrabbit"
local prometheus = require "prometheus"
local working = require "working"

local function value(port, name, queue)
   local _, body = http.ask(port, "/metrics")
   for _, s in ipairs((prometheus(body))) do
      if s.name == name and (not queue or s.labels.queue == queue) then return s.value end
   end
end

describe("the metrics of handlers", function()
   local conn, ch, port
   before_each(function()
      loop.close(1)
      local _
      _, conn, ch = working.setup()
      port = assert(mr.health.listen "127.0.0.1:0")
   end)
   after_each(function()
      working.clean()
      loop.close(1)
   end)

   it("say for how long the oldest one has run, while it waits, and 0 when it has ended", function()
      local go = mr.event()
      working.consumer(conn, { handler = function(msg) if msg.body == "slow" then go:wait() end end })
      assert(ch:publish("", "q", "slow"))
      working.eventually("its age", function() return value(port, "moonrabbit_handler_oldest_seconds", "q") >= 1 end)
      local before = value(port, "moonrabbit_handler_oldest_seconds", "q")
      assert(ch:publish("", "q", "slow")) -- a younger one
      working.advance_until("the next look", function()
         return value(port, "moonrabbit_handler_oldest_seconds", "q") > before + 2
      end, 10)
      go:set()
      working.advance_until("its end", function() return value(port, "moonrabbit_handler_oldest_seconds", "q") == 0 end, 10)
   end)

   it("say it of one that keeps the script busy, without its help", function()
      local seen
      working.consumer(conn, { handler = function()
         local from = mr.now()
         while mr.now() - from < 1.5 do end -- the I/O thread looks once a second
         local pipe = io.popen(("curl -s 127.0.0.1:%d/metrics"):format(port))
         seen = pipe:read "*a"
         pipe:close()
      end })
      assert(ch:publish("", "q", "x"))
      working.eventually("the page", function() return seen end)
      local oldest = tonumber(seen:match '\nmoonrabbit_handler_oldest_seconds{queue="q"} (%S+)\n')
      assert.is_true(oldest > 0.2 and oldest < 60, seen)
   end)

   it("count retries, dead letters and redeliveries", function()
      local times = 0
      local w = working.consumer(conn, { retry = mr.retry.fixed { delay = 0.01, attempts = 3 }, handler = function(msg)
         if msg.body == "back" and not msg.redelivered then return "requeue" end
         if msg.body == "fail" then
            times = times + 1
            error "in vain"
         end
      end })
      assert(ch:publish("", "q", "fail"))
      assert(ch:publish("", "q", "back"))
      working.eventually("the dead letter", function() return value(port, "moonrabbit_dead_letters_total", "q") == 1 end)
      assert.same({ 3, 2, 3, 1 }, { times, value(port, "moonrabbit_retries_total", "q"),
         value(port, "moonrabbit_handler_failures_total", "q"), value(port, "moonrabbit_redeliveries_total") })
      w:cancel()
      assert.equal(1, mr.stats().redelivered)
   end)

   it("measure the memory of Lua", function()
      local before = value(port, "moonrabbit_lua_memory_bytes")
      assert.is_true(before > 100000)
      local list = {}
      for i = 1, 200000 do list[i] = { i } end
      working.eventually("the next look", function() return value(port, "moonrabbit_lua_memory_bytes") > before + 5e6 end)
      assert.equal(200000, #list)
      assert.is_true(marks.mark.memory > 5e6)
   end)
end)

--- cli.status_text: a page /status for people.
local status_text = require "moonrabbit.cli.status_text"

local function page(time, handled)
   return { version = "1", pid = 7, time = time, uptime = 65, status = "unhealthy", reasons = { "connected: no\27" }, stopping = false,
      script = { state = "stalled", busy = 3.21, memory = 2097152, where = 'the handler of queue "q", a.lua:3', traceback = "a.lua:4\nb" },
      messages = { delivered = handled, redelivered = 0, settled = handled, in_flight = 2, last = 0.5 },
      publishes = { published = 4, confirmed = 3, returned = 0, lost = 0, outbound = 2048, confirm = { p50 = 0.00025, p99 = 0.01 } },
      queues = { { queue = "q", handled = handled, failed = 1, retried = 2, dead = 3, messages = 9, handler = { p50 = 1e-5, p99 = 2 } } },
      connections = { { number = 1, state = "waiting", since = 4000, host = "h:5672", virtual_host = "/", user = "u", opened = 3,
         channels = { {} }, error = "refused" } },
      consumers = { { queue = "q", state = "consuming" }, { queue = "q", state = "away" }, { queue = "other", state = "consuming" } } }
end

describe("a status", function()
   it("says what the process is at, and why it is not well", function()
      local text = table.concat(status_text.lines(page(100, 50), "worker.lua"), "\n")
      for _, part in ipairs { "worker.lua (pid 7): unhealthy, up 1m05s, script stalled for 3.2s, Lua 2.0 MiB", "connected: no\\x1b",
         'busy with the handler of queue "q", a.lua:3', "    a.lua:4\n    b", "waiting  1h06m  h:5672", "refused", "1, 1 away",
         "10us", "2.0s", "other", "2 in flight", "2.0 KiB not yet written", "p50 250us, p99 10ms" } do
         assert.truthy(text:find(part, 1, true), part .. " is missing in\n" .. text)
      end
      assert.is_nil(text:find "/s")
   end)
   it("has rates when there is an earlier one", function()
      local text = table.concat(status_text.lines(page(102, 250), "w", page(100, 50)), "\n")
      assert.truthy(text:find("delivered    250  100/s", 1, true), text)
   end)
   it("has a line for the Redis behind its connections, and says why it is not reached", function()
      local p = page(100, 50)
      p.stores = {
         { server = "r:6379/0", state = "lost", since = 65, losses = 2, commands = 7, bytes_in = 2048, bytes_out = 10, fetched = 3,
            unacked = 4, waiting = 5, error = "nothing listens" },
         { server = "s:6379/1", state = "reached", since = 1, version = "7.0.15", role = "master", round_trip = 0.00035, losses = 0,
            commands = 1, bytes_in = 0, bytes_out = 0, fetched = 0, unacked = 0, waiting = 0 },
      }
      local text = table.concat(status_text.lines(p, "w"), "\n")
      assert.truthy(text:find "r:6379/0%s+lost%s+1m05s%s+2%s+7%s+2.0 KiB%s+10 B%s+3%s+4%s+5%s+nothing listens", text)
      assert.truthy(text:find "s:6379/1, 7.0.15 master%s+reached%s+1.0s%s+0%s+350us%s+1 ", text)
      assert.is_nil(table.concat(status_text.lines(page(100, 50), "w"), "\n"):find("Redis", 1, true))
   end)
   it("writes durations short", function()
      local d = status_text.duration
      assert.same({ "35us", "12ms", "3.2s", "4m05s", "2h10m", "3d04h" },
         { d(35e-6), d(0.012), d(3.2), d(245), d(7800), d(3 * 86400 + 4 * 3600) })
   end)
end)

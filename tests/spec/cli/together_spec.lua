--- cli.together: the pages of several workers as one.
local together = require "moonrabbit.cli.together"

local function page(number, change)
   local p = { version = "1", pid = 100 + number, time = 1000 + number, uptime = 5, status = "healthy", stopping = false,
      script = { state = "idle", busy = 0, memory = 1000 },
      messages = { delivered = 10, redelivered = 1, settled = 8, in_flight = 2, last = number },
      publishes = { published = 4, confirmed = 4, returned = 0, lost = 0, outbound = 10,
         confirm = { mean = number, p50 = 1, p99 = number } },
      totals = { losses = 1 },
      queues = { { queue = "q", handled = 10 * number, failed = 1, retried = 2, dead = 3, messages = 7, oldest = number,
         handler = { mean = number, p50 = number, p99 = 5 } } },
      connections = { { number = 1, state = "open" } }, consumers = { { queue = "q", state = "consuming" } },
      pools = { { strategy = "shared", active = 1 } } }
   for k, v in pairs(change or {}) do p[k] = v end
   return { worker = number, pid = p.pid, console = "/c/" .. number, page = p }
end

local function head() return { version = "1", pid = 7, uptime = 60, restarts = 3, time = 1 } end

describe("the pages of several workers", function()
   it("are added up", function()
      local sum = together.page(head(), { page(1), page(3) })
      assert.same({ 7, 60, 3, "healthy", 1003 }, { sum.pid, sum.uptime, sum.restarts, sum.status, sum.time })
      assert.is_nil(sum.reasons)
      assert.same({ delivered = 20, redelivered = 2, settled = 16, in_flight = 4, last = 1 }, sum.messages)
      assert.same({ published = 8, confirmed = 8, returned = 0, lost = 0, outbound = 20, confirm = { mean = 2, p50 = 1, p99 = 3 } },
         sum.publishes)
      assert.equal(2000, sum.script.memory)
      assert.equal(2, sum.totals.losses)
   end)

   it("count what waits in a queue once, and show the slowest worker's durations and the exact mean", function()
      local sum = together.page(head(), { page(1), page(3) })
      assert.same({ { queue = "q", handled = 40, failed = 2, retried = 4, dead = 6, messages = 7, oldest = 3,
         handler = { mean = 2.5, p50 = 3, p99 = 5 } } }, sum.queues)
   end)

   it("keep each connection and consumer with its worker, and each worker's own page", function()
      local sum = together.page(head(), { page(1), page(3, { consumers_left_out = 4 }) })
      assert.same({ 1, 3 }, { sum.connections[1].worker, sum.connections[2].worker })
      assert.same({ { worker = 1, strategy = "shared", active = 1 }, { worker = 3, strategy = "shared", active = 1 } }, sum.pools)
      assert.same({ 1, 3 }, { sum.consumers[1].worker, sum.consumers[2].worker })
      assert.equal(4, sum.consumers_left_out)
      assert.same({ 101, 103, "/c/3" }, { sum.workers[1].pid, sum.workers[2].page.pid, sum.workers[2].console })
   end)

   it("show the script that is stuck, and the reasons of each with its number", function()
      local busy = { state = "busy", busy = 9, memory = 1, where = "a.lua:1", traceback = "t" }
      local stalled = { state = "stalled", busy = 4, memory = 2, where = "b.lua:2" }
      local sum = together.page(head(), { page(1, { script = busy }), page(2, { script = stalled, status = "unhealthy",
         reasons = { "stalled: for 4 s" } }) })
      assert.same({ state = "stalled", busy = 4, memory = 3, where = "b.lua:2", worker = 2 }, sum.script)
      assert.same({ "unhealthy", { "worker 2: stalled: for 4 s" } }, { sum.status, sum.reasons })
   end)

   it("say which workers have none: one that died is a reason, one that has ended its work is not", function()
      local sum = together.page(head(), { page(1), { worker = 2, reason = "is not running; deaths in a row: 1" }, { worker = 3 } })
      assert.same({ "unhealthy", { "worker 2 is not running; deaths in a row: 1" }, 3 }, { sum.status, sum.reasons, #sum.workers })
      sum = together.page(head(), { { worker = 1 } })
      assert.same({ "healthy", 1, 0 }, { sum.status, sum.time, sum.messages.delivered })
   end)

   it("are JSON with empty lists as lists", function()
      local text = require("moonrabbit.base.json").encode(together.for_json(together.page(head(), {})))
      for _, name in ipairs { "queues", "publishers", "connections", "consumers", "workers" } do
         assert.truthy(text:find(('"%s":[]'):format(name), 1, true), text)
      end
   end)
end)

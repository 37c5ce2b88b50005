--- cli.top_rows: what top lists, of two pages.
local top_rows = require "moonrabbit.cli.top_rows"

-- A page with a queue that two consumers of two channels read.
local function page(time, count, more)
   local p = { pid = 7, time = time, messages = { delivered = count, settled = count - 2 }, publishes = { published = 3 * count,
      confirmed = 2 * count, confirm = { p99 = 0.5 } },
      queues = { { queue = "q", handled = count, failed = 1, retried = 2, dead = 3, messages = 9, handler = { p50 = 1, p99 = 2 } },
         { queue = "resting", handled = 5, failed = 0, retried = 0, dead = 0, paused = 2, handler = {} } },
      consumers = { { connection = 1, channel = 1, number = 1, queue = "q", state = "consuming", delivered = count, in_flight = 1,
         settled = count - 1 }, { connection = 1, channel = 2, number = 2, queue = "q", state = "away" } },
      connections = { { number = 1, host = "h", state = "open", since = 1, user = "u", virtual_host = "/", channels = {}, opened = 3,
         outbound = 0, bytes_in = 100 * count, bytes_out = 10 * count } },
      publishers = { { publisher = "out", accepted = count, in_line = 4, in_flight = 5, aside = 6 } } }
   for k, v in pairs(more or {}) do p[k] = v end
   return p
end

local function workers(time, a, b) return { pid = 1, time = time, workers = {
   { worker = 1, pid = 7, console = "/1", page = page(time, a) },
   { worker = 2, pid = 8, console = "/2", page = page(time, b, { pid = 8 }) }, { worker = 3, reason = "is not running" } } } end

local function named(rows, name)
   for _, row in ipairs(rows) do
      if row.name == name then return row end
   end
end

describe("the consumers that top lists", function()
   it("have rates per second, what is in flight, durations and counts", function()
      local row = named(top_rows.consumers(page(12, 50), page(10, 30)), "q")
      assert.same({ 2, 1, 0, 10, 10, 1 }, { row.consumers, row.on, row.paused, row.coming, row.settling, row.in_flight })
      assert.same({ 1, 2, 1, 2, 3, 9 }, { row.p50, row.p99, row.failed, row.retried, row.dead, row.lag })
      assert.same({ q = true }, row.names)
   end)

   it("have no rates of one page, and count from nothing what began anew", function()
      assert.is_nil(named(top_rows.consumers(page(12, 50)), "q").coming)
      assert.equal(5, named(top_rows.consumers(page(12, 10), page(10, 30)), "q").coming)
   end)

   it("are there while they are paused", function()
      local row = named(top_rows.consumers(page(12, 50)), "resting")
      assert.same({ 2, 0, 2, { resting = true } }, { row.consumers, row.on, row.paused, row.names })
   end)

   it("share a label where the broker has named the queues", function()
      local rows = top_rows.consumers(page(1, 1, { queues = {}, consumers = {
         { connection = 1, channel = 1, number = 1, queue = "amq.gen-a", state = "consuming" },
         { connection = 1, channel = 1, number = 2, queue = "amq.gen-b", state = "consuming" } } }))
      assert.same({ 1, "(server-named)", 2, { ["amq.gen-a"] = true, ["amq.gen-b"] = true } },
         { #rows, rows[1].name, rows[1].consumers, rows[1].names })
   end)

   it("are those of all workers together, or of each", function()
      local now, before = workers(12, 50, 70), workers(10, 30, 30)
      local row = named(top_rows.consumers(now, before), "q")
      assert.same({ 4, 2, 30, 2, 9, 6 }, { row.consumers, row.on, row.coming, row.in_flight, row.lag, row.dead })
      assert.same({ "/1", "/2" }, row.consoles)
      local apart = top_rows.consumers(now, before, true)
      assert.equal(4, #apart)
      assert.same({ 2, 20, { "/2" } }, { apart[3].worker, apart[3].coming, apart[3].consoles })
   end)

   it("leave out the rate of a worker that was started again", function()
      local now, before = workers(12, 50, 70), workers(10, 30, 30)
      now.workers[2].pid, now.workers[2].page.pid = 9, 9
      assert.equal(10, named(top_rows.consumers(now, before), "q").coming)
   end)
end)

describe("the connections and publishers that top lists", function()
   it("have their losses, and bytes per second", function()
      local row = top_rows.connections(page(12, 50), page(10, 30))[1]
      assert.same({ "h", "open", 2, 1000, 100 }, { row.name, row.state, row.losses, row.receiving, row.sending })
      assert.same({ 1, 2 }, { top_rows.connections(workers(1, 1, 1))[1].worker, top_rows.connections(workers(1, 1, 1))[2].worker })
   end)

   it("have what waits in line, is in flight and is aside", function()
      local row = top_rows.publishers(workers(12, 50, 70), workers(10, 30, 30))[1]
      assert.same({ "out", 8, 10, 12, 30, 0.5 }, { row.name, row.line, row.in_flight, row.aside, row.publishing, row.p99 })
      assert.equal(2, #top_rows.publishers(workers(1, 1, 1), nil, true))
   end)

   it("are summed up in a head", function()
      assert.same({ delivered = 30, settled = 30, published = 90, confirmed = 60 },
         top_rows.totals(workers(12, 50, 70), workers(10, 30, 30)))
      assert.same({}, top_rows.totals(page(1, 1)))
   end)
end)

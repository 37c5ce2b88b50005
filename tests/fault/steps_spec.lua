--- Every step of a reconnect fails, and every pair of steps: the connection is cut when the broker has just got the i-th
-- frame of one try, and the j-th of the next.
local broker = require "broker"
local embedded = require "embedded"
local peer = require "peer"
local proxy = require "proxy"
local recovering = require "recovering"

if broker.kind ~= "memory" then return end

local eventually = broker.eventually

local CONSUME = "\0\60\0\20" -- basic.consume

-- The ends of the protocol header and of each frame in what a client said, up to its last basic.consume.
local function ends_of(bytes)
   local ends, at, last = { 8 }, 8, 1
   while at + 11 <= #bytes do
      local a, b, c, d = bytes:byte(at + 4, at + 7)
      local method = bytes:sub(at + 8, at + 11)
      at = at + 8 + ((a * 256 + b) * 256 + c) * 256 + d
      ends[#ends + 1] = at
      if method == CONSUME then last = #ends end
   end
   return ends, last
end

describe("a reconnect", function()
   before_each(recovering.quiet)
   after_each(function()
      recovering.clean()
      peer.stop_all()
   end)

   -- A connection with some of everything, through a proxy.
   local function rich()
      local b = embedded.broker { listen = "127.0.0.1:0" }
      local between = proxy.start(b.port)
      local ch, seen, conn = recovering.open { url = ("amqp://127.0.0.1:%d"):format(between.port),
         transport_options = { interval_start = 0, interval_step = 0 }, connect_timeout = 5 }
      local handler, got = recovering.counter()
      local pub = assert(conn:channel())
      assert(pub:confirm_select())
      assert(ch:qos { prefetch_count = 5 })
      assert(ch:exchange_declare { exchange = "x", type = "topic" })
      local named = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:queue_declare { queue = "q", durable = true })
      assert(ch:queue_bind { queue = "q", exchange = "x", routing_key = "k" })
      assert(ch:queue_bind { queue = named, exchange = "x", routing_key = "k" })
      local consumers = { assert(ch:consume("q", handler)), assert(ch:consume(named, handler)) }
      local rounds = 0
      -- One socket, each consumer once, and messages flow.
      local function check(what)
         repeat -- a cut behind the last step may come after the recovery
            rounds = rounds + 1
         until pub:publish("x", "k", tostring(rounds), { timeout = 10 })
         eventually("both copies after " .. what, function() return got[tostring(rounds)] == 2 end)
         eventually("an open connection", function() return conn.is_open and seen[#seen].type == "recovered" end)
         local report = b:report()
         assert.equal(1, #report.connections, what)
         for _, q in ipairs(report.queues) do assert.equal(1, q.consumers, what .. ": " .. q.name) end
         assert.equal(2, #report.queues, what)
         for _, c in ipairs(consumers) do assert.equal("consuming", c.state) end
         assert.equal(2, report.connections[1].channels, what)
      end
      -- Loses the connection; the next tries are cut after so many bytes.
      local function through(what, cuts)
         between.cuts_up = cuts
         local count = #cuts
         local n, lost = seen.count.recovered, seen.count.lost
         local tries = seen.count.connecting
         b:drop()
         eventually("the recovery after " .. what, function()
            return #between.cuts_up == 0 and seen.count.recovered > n and seen[#seen].type == "recovered"
         end)
         assert.equal(seen.count.retrying, seen.count.connecting - 1, what) -- none without its pause
         assert.is_true(seen.count.lost - lost <= 1 + count and seen.count.connecting - tries <= 1 + 2 * count, what)
         check(what)
      end
      between.record = ""
      through("nothing", {})
      local ends, last = ends_of(between.record)
      between.record = nil
      return ends, last, through
   end

   it("that is cut after any frame, and again after any frame, ends well (T17)", function()
      local ends, last, through = rich()
      assert.is_true(last >= 14, last)
      for i = 1, last do through("frame " .. i, { ends[i] }) end
      for i = 1, last do
         for j = 1, last do through(("frames %d and %d"):format(i, j), { ends[i], ends[j] }) end
      end
   end)
end)

--- swap: which consumers of a new edition take whose place.
local consumer = require "moonrabbit.consumer.consumer"
local generation = require "moonrabbit.loop.generation"
local embedded = require "embedded"
local exchange = require "swapping"
local mr = require "moonrabbit"
local swap = require "moonrabbit.program.swap"
local task = require "moonrabbit.loop.task"
local waits = require "waits"

describe("consumers of a new edition", function()
   local conn, broker, seen

   before_each(function()
      seen = {}
      broker = embedded.broker {}
      conn = embedded.connect { url = broker.url }
   end)
   after_each(function()
      generation.drop()
      consumer.each(function(w) w:cancel() end)
      embedded.close_all()
   end)

   local function make(word, more)
      local opts = { queue = "q", connection = conn, dead_letter = false, handler = function(msg) seen[#seen + 1] = word .. msg.body end }
      for k, v in pairs(more or {}) do opts[k] = v end
      return mr.consumer(opts)
   end
   local function put(body)
      local ch = assert(conn:channel())
      assert(ch:publish("", "q", body))
      ch:close()
   end
   local function says(list) waits.eventually(list[#list], function() return #seen == #list end) assert.same(list, seen) end

   it("take over channel, tag and messages to come; the new object is the consumer, the old one is none any more", function()
      local old = make "old "
      assert(old:wait(5))
      local tag, channel, new = old.tag, old.channel, nil
      put "1"
      says { "old 1" }
      local function around(msg, next) return next(msg) end
      assert.same({ 1, 0, 0 }, { exchange(function() new = make("new ", { concurrency = 3, middleware = { around } }) end) })
      assert.same({ "consuming", tag, "cancelled" }, { new.state, new.tag, old.state })
      assert.equal(channel, new.channel)
      put "2"
      says { "old 1", "new 2" }
      assert.is_true(old:cancel())
      put "3"
      says { "old 1", "new 2", "new 3" }
      waits.eventually("the ack", function() return broker:queue "q".messages_unacknowledged == 0 end)
      mr.log.configure "off"
      finally(function() mr.log.configure "warn" end)
      waits.loss(channel.connection, function() broker:close_connections(320, "CONNECTION_FORCED - a test") end)
      assert(new:wait(10))
      put "4"
      says { "old 1", "new 2", "new 3", "new 4" }
      assert(new:cancel())
      assert.equal(0, broker:queue "q".consumers)
   end)

   it("are others when the broker must be told of a change", function()
      for _, more in ipairs { { prefetch = 3 }, { bindings = { { exchange = "amq.topic", routing_key = "x" } } }, { priority = 2 },
         { dead_letter = "d" }, { name = "other" }, { manual_ack = true }, { queue = { queue = "q", durable = true } } } do
         local old = make "old "
         assert(old:wait(5))
         local new
         local kept, started, ended = exchange(function() new = make("new ", more) end)
         local is_same = type(more.queue) == "table" -- spelled otherwise only
         assert.same(is_same and { 1, 0, 0 } or { 0, 1, 1 }, { kept, started, ended })
         assert(new:wait(5))
         assert(new:cancel())
         waits.eventually("the end of both", function() return broker:queue "q".consumers == 0 end)
      end
   end)

   it("finish what came to the old one, by the old one, and repeat nothing", function()
      local old = make("old ", { prefetch = 10, concurrency = 1, handler = function(msg)
         mr.sleep(0.002)
         seen[#seen + 1] = "old " .. msg.body .. tostring(msg.redelivered)
      end })
      assert(old:wait(5))
      for i = 1, 10 do put(tostring(i)) end
      waits.eventually("the first", function() return #seen > 0 end)
      exchange(function() make("new ", { prefetch = 11 }) end)
      waits.eventually("all", function() return #seen == 10 end)
      for i = 1, 10 do assert.equal(("old %dfalse"):format(i), seen[i]) end
   end)

   it("keep to another concurrency from then on, and leave nothing waiting", function()
      local tokens = {}
      local function handler(msg)
         seen[#seen + 1] = msg.body
         tokens[msg.body] = task.token()
         task.wait(tokens[msg.body])
      end
      local old = make("", { handler = handler })
      assert(old:wait(5))
      put "1"
      put "2"
      says { "1", "2" }
      exchange(function() make("", { handler = handler, concurrency = 1 }) end)
      put "3"
      put "4"
      waits.eventually("all of them", function() return broker:queue "q".messages_unacknowledged == 4 end)
      task.wake(tokens["1"])
      task.wake(tokens["2"])
      says { "1", "2", "3" }
      exchange(function() make("", { handler = handler, concurrency = 2 }) end)
      says { "1", "2", "3", "4" }
      for _, body in ipairs { "3", "4" } do task.wake(tokens[body]) end
   end)

   it("that conflict with the broker are found before anything changes", function()
      local old = make "old "
      assert(old:wait(5))
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "taken", durable = false })
      local plan
      task.spawn(function()
         local staged = generation.stage()
         make("new ", { queue = "taken" })
         generation.chunk_ended()
         plan = swap.plan(staged.workers)
      end)
      local ok, err, which = swap.check(plan)
      assert.same({ nil, "precondition_failed", "taken" }, { ok, err.kind, which.name })
      assert.equal("consuming", old.state)
   end)

   it("that are cancelled while they start do not consume", function()
      local worker = make "never "
      assert(worker:cancel())
      waits.eventually("the connection", function() return conn.is_open end)
      local ch = assert(conn:channel())
      waits.eventually("the end of its channel", function()
         local q = broker:queue "q"
         return broker:report().connections[1].channels == 1 and (not q or q.consumers == 0)
      end)
      assert.equal("cancelled", worker.state)
      ch:close()
   end)
end)

--- waiting: where a script can wait, and what it is told where it cannot.
-- Covers: lua/moonrabbit/loop/obstacle.lua by table.sort
-- Feature: where a wait is refused, for every function that waits
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local loop = require "moonrabbit.loop.loop"
local waits = require "waits"

-- Ways into a function of C that calls fn; each gives what fn raised, as far as it passes it on.
local boundaries = {
   ["table.sort"] = function(fn) table.sort({ 2, 1 }, function(a, b)
      fn()
      return a < b
   end) end,
   ["string.gsub"] = function(fn) return (("a"):gsub("a", function() fn() end)) end,
   ["require"] = function(fn)
      package.preload["waiting_spec.module"], package.loaded["waiting_spec.module"] = fn, nil
      require "waiting_spec.module"
   end,
   ["load's reader"] = function(fn) assert(load(function() fn() end)) end,
   ["a __tostring that string.format calls"] = function(fn)
      return ("%s"):format(setmetatable({}, { __tostring = function()
         fn()
         return ""
      end }))
   end,
   ["a __gc"] = function(fn)
      local why
      getmetatable(newproxy(true)).__gc = function() why = select(2, pcall(fn)) end
      collectgarbage()
      collectgarbage()
      error(why, 0)
   end,
   ["a coroutine within table.sort"] = function(fn) table.sort({ 2, 1 }, function(a, b)
      coroutine.wrap(fn)()
      return a < b
   end) end,
   ["a coroutine within a coroutine within string.gsub"] = function(fn)
      return (("a"):gsub("a", function() coroutine.wrap(function() coroutine.wrap(fn)() end)() end))
   end,
}

describe("a wait within a function of C", function()
   local conn, ch, names

   local function new_queue()
      local name = assert(ch:queue_declare { exclusive = true }).queue
      names[#names + 1] = name
      return name
   end

   before_each(function()
      names = {}
      conn = mr.connect "memory://waiting"
      ch = assert(conn:channel())
   end)

   after_each(function() loop.close(1) end)

   -- Runs fn in a task and waits for its end.
   local function in_task(fn)
      local box = waits.background(function()
         local ok, why = pcall(fn)
         return { ok = ok, why = why }
      end)
      waits.eventually("the end of the task", function() return box.done end)
      return box.result
   end

   for name, boundary in pairs(boundaries) do
      it("is refused in " .. name .. ", with a line that names the cure (FIELD-W17)", function()
         local got = in_task(function() boundary(function() mr.sleep(0.001) end) end)
         assert.is_false(got.ok)
         assert.is_truthy(tostring(got.why):find("waiting_spec%.lua:%d+: this cannot wait within a function of C.*mr%.spawn"),
            tostring(got.why))
         assert.is_nil(tostring(got.why):find("\n", 1, true))
      end)
   end

   -- Every wait of the library, called where it cannot wait.
   local function all_waits()
      local q, spare = new_queue(), assert(conn:channel())
      local confirming = assert(conn:channel())
      assert(confirming:confirm_select())
      local ticket = assert(confirming:publish_async("", q, "x"))
      local pub = mr.publisher { connection = conn, exchange = "", routing_key = q }
      local pool = assert(mr.pool { url = "memory://waiting" })
      local shared = assert(mr.pool { url = "memory://waiting", strategy = "shared" })
      local consumer = assert(spare:consume(new_queue(), function() end))
      local worker = mr.consumer { queue = new_queue(), connection = conn, declare = false, dead_letter = false,
         handler = function() end }
      assert(worker:wait(10))
      local event, semaphore, channel = mr.event(), mr.semaphore(1), mr.channel(0)
      semaphore:acquire()
      local iterator = assert(spare:messages(new_queue()))
      local simple = assert(conn:simple_queue { queue = "waiting.simple", exclusive = true, durable = false })
      local topology = mr.topology { queues = { { queue = "waiting.topology", auto_delete = true } } }
      return {
         sleep = function() mr.sleep(0) end, wait_fd = function() mr.wait_fd(0, "r", 1) end,
         event = function() event:wait(1) end, acquire = function() semaphore:acquire() end,
         with = function() semaphore:with(print) end,
         put = function() channel:put(1) end, get = function() channel:get() end,
         connect = function() mr.connect("memory://waiting"):connect() end,
         channel = function() conn:channel() end, close = function() conn:close() end,
         release = function() conn:release() end, handover = function() conn:handover() end,
         drain_events = function() conn:drain_events { timeout = 1 } end,
         update_secret = function() conn:update_secret "x" end,
         ensure_connection = function() conn:clone():ensure_connection() end,
         declare = function() ch:queue_declare { queue = q, passive = true } end,
         exchange_declare = function() ch:exchange_declare { exchange = "waiting.x" } end,
         bind = function() ch:queue_bind { queue = q, exchange = "amq.topic" } end,
         purge = function() ch:queue_purge { queue = q } end, qos = function() ch:qos { prefetch_count = 1 } end,
         get_message = function() ch:get(q) end, confirm_select = function() ch:confirm_select() end,
         publish = function() confirming:publish("", q, "must not be sent") end,
         wait_for_confirms = function()
            assert(confirming:publish_async("", q, "y"))
            confirming:wait_for_confirms(1)
         end,
         ticket = function()
            ticket = assert(confirming:publish_async("", q, "z"))
            ticket:wait()
         end,
         consume = function() ch:consume(q, function() end) end, messages = function() ch:messages(q) end,
         iterator = function() iterator() end, cancel = function() consumer:cancel() end,
         close_channel = function() spare:close() end, publisher = function() pub:publish "must not be sent" end,
         flush = function()
            assert(pub:publish_async "f")
            pub:flush()
         end,
         close_publisher = function() pub:close() end, acquire_pool = function() pool:acquire() end,
         with_pool = function() pool:with(print) end, shared_pool = function() shared:acquire() end,
         call = function() mr.rpc.call(q, "must not be sent", { connection = conn }) end,
         serve = function() mr.rpc.serve { queue = q, handler = print, connection = conn } end,
         simple_put = function() simple:put "must not be sent" end, simple_get = function() simple:get() end,
         simple_size = function() simple:qsize() end, topology = function() topology:apply(conn) end,
         worker_cancel = function() worker:cancel() end, health = function() mr.health.report() end,
         listen = function() mr.health.listen "127.0.0.1:0" end, advance = function() mr.testing.advance(0.001) end,
      }, q, consumer, worker, function()
         assert(pub:flush())
         assert(confirming:wait_for_confirms(10))
      end
   end

   it("is refused before anything is sent or noted, for every wait there is (FIELD-W17)", function()
      local list, q, consumer, worker, end_publishes = all_waits()
      local refused, others = {}, {}
      for name, wait in pairs(list) do
         local got = in_task(function()
            table.sort({ 2, 1 }, function(a, b)
               wait()
               return a < b
            end)
         end)
         local is_refused = not got.ok and tostring(got.why):find("within a function of C", 1, true)
         table.insert(is_refused and refused or others, name .. ": " .. tostring(got.why))
      end
      assert.same({}, others)
      assert.is_true(#refused > 40)
      -- All is as it was: what waited for nothing has lost nothing, and nothing has gone out.
      assert.is_true(conn.is_open)
      assert.equal("consuming", consumer.state)
      assert.equal("consuming", worker.state)
      end_publishes()
      local bodies = {}
      local msg = ch:get(q, { no_ack = true })
      while msg do
         bodies[#bodies + 1] = msg.body
         msg = ch:get(q, { no_ack = true })
      end
      table.sort(bodies)
      assert.same({ "f", "x", "y", "z" }, bodies)
      assert(conn:release())
   end)

   it("leaves the waits of the others alone: each sleep takes its time, each task runs (FIELD-W17)", function()
      in_task(function() boundaries["table.sort"](function() mr.sleep(0.001) end) end)
      in_task(function() boundaries["string.gsub"](function() assert(ch:queue_declare { exclusive = true }) end) end)
      local ran, slept, declared = 0, {}, {}
      for i = 1, 5 do
         mr.spawn(function()
            local from = mr.now()
            mr.sleep(0.05 * i)
            slept[i] = mr.now() - from >= 0.05 * i
            declared[i] = assert(ch:queue_declare { queue = "waiting." .. i, auto_delete = true }).queue
            ran = ran + 1
         end)
      end
      waits.eventually("all of them", function() return ran == 5 end)
      assert.same({ true, true, true, true, true }, slept)
      assert.same({ "waiting.1", "waiting.2", "waiting.3", "waiting.4", "waiting.5" }, declared)
   end)

   it("fails the handler it is in, and no other (FIELD-W17)", function()
      local q, outcomes = new_queue(), {}
      mr.consumer { queue = q, connection = conn, declare = false, dead_letter = false, retry = false,
         middleware = { function(msg, next)
            local ok, why = pcall(next, msg)
            outcomes[#outcomes + 1] = msg.body .. " " .. (ok and "ended" or tostring(why):match "cannot wait" or tostring(why))
         end },
         handler = function(msg)
            if msg.body == "bad" then boundaries["table.sort"](function() mr.sleep(0.001) end) end
            mr.sleep(0.001)
         end }
      for _, body in ipairs { "bad", "good", "bad", "good" } do assert(ch:publish("", q, body)) end
      waits.eventually("four ends", function() return #outcomes == 4 end)
      table.sort(outcomes)
      assert.same({ "bad cannot wait", "bad cannot wait", "good ended", "good ended" }, outcomes)
   end)

   it("works in the main chunk, where waits pump (FIELD-W17)", function()
      for _, name in ipairs { "table.sort", "string.gsub", "require", "a coroutine within table.sort" } do
         local waited = 0
         boundaries[name](function()
            mr.sleep(0.001)
            assert(ch:queue_declare { exclusive = true })
            waited = waited + 1
         end)
         assert.is_true(waited > 0, name)
      end
   end)

   it("may start a task, which waits by itself (FIELD-W17)", function()
      local ended = 0
      in_task(function()
         boundaries["table.sort"](function()
            mr.spawn(function()
               mr.sleep(0.001)
               ended = ended + 1
            end)
         end)
      end)
      waits.eventually("the task's end", function() return ended > 0 end)
   end)

   it("is refused in a turn of the loop that a __gc interrupts (FIELD-W17)", function()
      local why
      local proxy = newproxy(true)
      getmetatable(proxy).__gc = function() why = select(2, pcall(mr.sleep, 0.001)) end
      proxy = nil -- luacheck: ignore
      loop.after_event(function() -- called by the loop itself
         collectgarbage()
         collectgarbage()
      end)
      assert(ch:queue_declare { exclusive = true })
      mr.sleep(0.001)
      assert.is_truthy(why and why:find("cannot wait", 1, true), tostring(why))
   end)
end)

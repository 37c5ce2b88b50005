--- watchdog: marks, stall reports and time limits in any program, without the command's signal; the clock is moved.
-- Covers: lua/moonrabbit/loop/mark.lua by lend
-- Covers: lua/moonrabbit/loop/time_limit.lua by time_limit
local ffi = require "ffi"
local mr = require "moonrabbit"
local embedded = require "embedded"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local waits = require "waits"

local within = waits.within
ffi.cdef [[
   int dup(int fd);
   int dup2(int from, int to);
   int close(int fd);
   int pipe(int fds[2]);
   int creat(const char *path, int mode);
]]

local b, conn, ch -- the broker of the test, a connection, and a channel for looking and publishing

local function setup()
   mr.log.configure "off"
   b = embedded.broker {}
   conn = embedded.connect { url = b.url }
   ch = assert(conn:channel())
   assert(ch:confirm_select())
   assert(ch:queue_declare { queue = "q" })
end

local function clean()
   embedded.close_all()
   mr.watchdog { stall = 10 }
   mr.log.configure "warn"
end

-- Consumes "q" on a channel of its own.
local function consume(handler, opts) return assert(assert(conn:channel()):consume("q", handler, opts)) end
local function put(body) assert(ch:publish("", "q", body or "")) end
local function eventually(what, condition) return within(what, 10, condition) end
local function is_settled()
   local q = b:queue "q"
   return q.messages_ready + q.messages_unacknowledged == 0
end

-- A handler that keeps what call(...) raised; the message is acked.
local function catching(call, seen)
   return function(msg)
      seen.begun = true
      local ok, why = pcall(call, msg)
      seen[#seen + 1] = ok and "nothing" or why
   end
end

-- Runs call() in a handler with a limit of 5 s, and moves the clock until it has ended: what it raised, after how long.
local function limited(call)
   local seen = {}
   local consumer = consume(catching(call, seen), { time_limit = 5 })
   put()
   eventually("the handler", function() return seen.begun end)
   local began = mr.now()
   while not seen[1] and mr.now() < began + 60 do mr.testing.advance(0.5, 0.5) end
   consumer:cancel()
   return seen[1], mr.now() - began
end

local function assert_over(why, after)
   assert.is_true(mr.is_error(why), tostring(why))
   assert.equal("timeout", why.kind)
   assert.is_truthy(why.text:find("time limit of 5 s", 1, true), why.text)
   assert.is_true(after >= 4 and after < 8, after)
end

describe("a time limit", function()
   before_each(setup)
   after_each(clean)

   it("ends a sleep", function() assert_over(limited(function() mr.sleep(100) end)) end)

   it("ends the wait for a confirm", function()
      local silent = embedded.broker {}
      local other = assert(embedded.connect({ url = silent.url, rpc_timeout = 100 }):channel())
      assert(other:confirm_select())
      silent:delay(1000)
      local why, after = limited(function() assert(other:publish("", "q", "x")) end)
      silent:delay(0)
      assert_over(why, after)
   end)

   it("ends the wait for a descriptor, which is not watched any more", function()
      local fds = ffi.new "int[2]"
      assert(ffi.C.pipe(fds) == 0)
      assert_over(limited(function() mr.wait_fd(fds[0], "r") end))
      ffi.C.close(fds[0])
      ffi.C.close(fds[1])
   end)

   it("ends the wait for a place in a pool, which goes to the next", function()
      local pool = assert(mr.pool { url = b.url, strategy = "pooled", max_connections = 1 })
      local lent = assert(pool:acquire())
      assert_over(limited(function() pool:acquire() end))
      local next_one
      mr.spawn(function() next_one = pool:acquire() end)
      pool:release(lent)
      eventually("the place", function() return next_one end)
      pool:release(next_one)
      pool:close()
   end)

   it("ends the wait for an answer", function()
      local rpc_queue = assert(ch:queue_declare { exclusive = true }).queue
      assert_over(limited(function() mr.rpc.call(rpc_queue, "anybody?", { connection = conn, timeout = 50 }) end))
      assert.is_nil(next(conn.rpc_client.waiting))
   end)

   it("ends the wait for room in a publisher, whose room is whole again", function()
      local silent = embedded.broker {}
      local away = embedded.connect { url = silent.url }
      local publisher = mr.publisher { connection = away, exchange = "", routing_key = "x", buffer = { max_bytes = 100 } }
      assert(away:connect())
      silent:delay(1000)
      publisher:publish_async(("x"):rep(80))
      assert_over(limited(function() publisher:publish_async(("y"):rep(80)) end))
      silent:delay(0)
      publisher:close()
   end)

   it("ends a loop over messages()", function()
      local other = assert(conn:channel())
      local queue = assert(other:queue_declare { exclusive = true }).queue
      local iterator, reader
      assert_over(limited(function()
         iterator, reader = other:messages(queue)
         for _ in iterator do error "there is none" end
      end))
      reader:cancel()
   end)

   it("is heeded by a request before it is sent, and never cuts one short", function()
      local asked = 0
      assert_over(limited(function()
         while true do
            assert(ch:queue_declare { queue = "q", passive = true })
            asked = asked + 1
         end
      end))
      assert.is_true(asked > 0)
   end)

   it("counts for each message anew, over all its waits", function()
      local ended, failed = 0, 0
      local function handler(msg)
         for _ = 1, tonumber(msg.body) do mr.sleep(1) end
         ended = ended + 1
      end
      local worker = mr.consumer { queue = "q", declare = false, connection = conn, handler = handler, time_limit = 5,
         dead_letter = false, concurrency = 1, retry = function(ctx)
            failed = failed + 1
            assert.equal("timeout", ctx.err.kind)
            return "drop"
         end }
      assert(worker:wait(5))
      for _, n in ipairs { 3, 3, 8, 3 } do put(tostring(n)) end
      local began = mr.now()
      while not is_settled() and mr.now() < began + 100 do mr.testing.advance(0.25, 0.25) end
      assert.same({ 3, 1 }, { ended, failed })
      worker:cancel()
   end)

   it("sends the message on its way as any failure does", function()
      assert(ch:queue_declare { queue = "dead", durable = true }) -- declare = false: the consumer does not
      local worker = mr.consumer { queue = "q", declare = false, connection = conn, dead_letter = "dead", retry = false,
         time_limit = 5, middleware = { function(msg, next) return next(msg) end }, handler = function() mr.sleep(50) end }
      assert(worker:wait(5))
      put()
      eventually("the handler", function() return worker.running == 1 end)
      mr.testing.advance(6, 0.5)
      eventually("the dead letter", function() return (b:queue "dead" or { messages_ready = 0 }).messages_ready == 1 end)
      local msg = assert(ch:get "dead")
      assert.is_truthy(msg.headers["x-mr-error"]:find("time limit of 5 s", 1, true))
      assert(msg:ack())
      eventually("the end", is_settled)
      worker:cancel()
   end)

   it("meets a handler that catches it at each further wait, and keeps nobody from his work", function()
      local raised, ticks = 0, 0
      local timer = mr.every(0.001, function() ticks = ticks + 1 end)
      local consumer = consume(function()
         while raised < 50 do
            if not pcall(mr.sleep, 100) then raised = raised + 1 end
         end
      end, { time_limit = 5 })
      put()
      eventually("the handler", function() return consumer.running == 1 end)
      mr.testing.advance(6, 1)
      local before = ticks
      eventually("the end of it", is_settled)
      mr.sleep(0.01)
      assert.equal(50, raised)
      assert.is_true(ticks > before)
      timer:cancel()
      consumer:cancel()
   end)

   it("is not that of a task the handler has spawned", function()
      local ended = false
      local consumer = consume(function()
         mr.spawn(function()
            mr.sleep(8)
            ended = true
         end)
      end, { time_limit = 5 })
      put()
      eventually("the message's end", is_settled)
      mr.testing.advance(9, 0.5)
      eventually("the task's end", function() return ended end)
      consumer:cancel()
   end)

   it("leaves nothing behind after a thousand", function()
      local count = 0
      local worker = mr.consumer { queue = "q", declare = false, connection = conn, time_limit = 5, dead_letter = false,
         prefetch = 1000, retry = function()
            count = count + 1
            return "drop"
         end, handler = function() mr.sleep(1000) end }
      assert(worker:wait(5))
      local function round()
         local from = count
         for _ = 1, 250 do put() end
         eventually("the handlers", function() return worker.running == 250 end)
         mr.testing.advance(6, 1)
         eventually("the end of them", function() return count == from + 250 and is_settled() end)
         collectgarbage()
         collectgarbage()
         return collectgarbage "count"
      end
      local first = round()
      round()
      round()
      assert.is_true(round() - first < 600, "KiB more") -- the coroutines that the first round made are kept
      worker:cancel()
      assert.equal(0, marks.mark.deadline)
      assert.is_nil(next(marks.limits))
      eventually("timers", loop.is_idle)
   end)

   it("must make sense", function()
      for _, case in ipairs {
         { { time_limit = 0 }, '"time_limit" must be more than 0' }, { { time_limit = -1 }, '"time_limit"' },
         { { time_limit = "x" }, '"time_limit" must be a number' }, { { stall = -1 }, '"stall"' },
         { { time_limt = 1 }, 'did you mean "time_limit"' },
      } do
         local ok, why = pcall(ch.consume, ch, "q", print, case[1])
         assert.is_false(ok)
         assert.is_truthy(why:find(case[2], 1, true), why)
      end
      assert.has_error(function() ch:messages("q", { time_limit = 1 }) end)
      assert.has_error(function() mr.watchdog { stal = 1 } end)
      assert.has_error(function() mr.watchdog { stall = -1 } end)
   end)
end)

describe("the program's mark", function()
   before_each(setup)
   after_each(clean)

   it("names the consumer whose handler runs, through waits and tasks", function()
      local seen = {}
      local function note(what) seen[#seen + 1] = { what, marks.mark.consumer } end
      local first = consume(function()
         note "begun"
         mr.spawn(function()
            note "spawned"
            mr.sleep(0.001)
            note "spawned, later"
         end)
         note "spawner"
         mr.sleep(0.05)
         note "resumed"
      end)
      put()
      eventually("it", is_settled)
      note "main"
      local n = first.number
      assert.same({ { "begun", n }, { "spawned", 0 }, { "spawner", n }, { "spawned, later", 0 }, { "resumed", n }, { "main", 0 } },
         seen)
      first:cancel()
   end)

   it("makes a new turn of each message", function()
      local turns = {}
      local consumer = consume(function() turns[#turns + 1] = marks.mark.turn end)
      for _ = 1, 3 do put() end
      eventually("them", function() return #turns == 3 end)
      assert.is_true(turns[1] < turns[2] and turns[2] < turns[3])
      consumer:cancel()
   end)

   it("makes a new turn of what comes after a handler, which is not charged with its time", function()
      local inside, asleep, after
      local consumer = consume(function()
         inside = marks.mark.turn
         mr.after(0, function() asleep = asleep or marks.mark.turn end)
         mr.sleep(0.01)
         after = marks.mark.turn
      end)
      put()
      eventually("it", function() return after and consumer.running == 0 end)
      assert.is_true(asleep - inside >= 2, "the handler's wait is no turn") -- the wait, then the timer
      assert.is_true(marks.mark.turn - after >= 2, "the handler's end is no turn") -- that end, then the main chunk
      consumer:cancel()
   end)
end)

-- What fn() has the runtime write to standard error.
local function errors_of(fn)
   local path = os.tmpname()
   local kept, fd = ffi.C.dup(2), ffi.C.creat(path, 384)
   ffi.C.dup2(fd, 2)
   ffi.C.close(fd)
   local ok, why = pcall(fn)
   ffi.C.dup2(kept, 2)
   ffi.C.close(kept)
   local file = assert(io.open(path))
   local text = file:read "*a"
   file:close()
   os.remove(path)
   assert(ok, why)
   return text
end

describe("a script that does not wait", function()
   -- Runtimes that other specs have left are of this process, too, and report their stalls.
   setup(function()
      collectgarbage()
      collectgarbage()
   end)

   before_each(setup)
   after_each(clean)

   local function spin(seconds)
      local ends = mr.now() + seconds
      while mr.now() < ends do end
   end

   it("is reported while it spins, with the queue and the handler's place, and when it goes on", function()
      mr.log.configure "warn"
      mr.watchdog { stall = 0.1 }
      local line
      local text = errors_of(function()
         local consumer = consume(function()
            line = debug.getinfo(1, "S").linedefined
            spin(0.3)
         end)
         put()
         eventually("it", is_settled)
         mr.sleep(0.1)
         consumer:cancel()
      end)
      local stalled, over = text:match '([^\n]*"the script is stalled"[^\n]*)\n([^\n]*"the script goes on after a stall"[^\n]*)\n$'
      assert.is_truthy(stalled, text)
      assert.is_truthy(stalled:find("queue=q origin=tests/spec/loop/watchdog_spec.lua:" .. line .. " doing=running", 1, true), stalled)
      assert.is_truthy(stalled:find "seconds=0%.%d ", stalled)
      assert.is_true(tonumber(over:match "seconds=([%d.]+)") >= 0.3, over)
   end)

   it("of a host with a loop of its own is one that does not come when it is called", function()
      mr.log.configure "warn"
      mr.watchdog { stall = 0.1 }
      local function rest() -- what a game does between two frames
         repeat until not mr.poll(0)
         spin(0.3)
      end
      local quiet = errors_of(rest)
      local called = errors_of(function()
         repeat until not mr.poll(0)
         ch:publish_async("", "q", "x") -- its confirm calls
         spin(0.5)
         marks.lend(false)
         ch:wait_for_confirms()
         mr.sleep(0.1)
      end)
      assert.equal("", quiet)
      assert.is_truthy(called:find('msg="the script is stalled" seconds=0%.%d doing=running'), called)
   end)

   it("is left alone when its consumer says so, and when messages just follow each other", function()
      mr.log.configure "warn"
      mr.watchdog { stall = 0.5 }
      local text = errors_of(function()
         local patient = consume(function() spin(0.6) end, { stall = 0 })
         put()
         eventually("it", is_settled)
         patient:cancel()
         local quick = consume(function() spin(0.1) end)
         for _ = 1, 7 do ch:publish_async("", "q", "x") end
         ch:wait_for_confirms()
         eventually("them", is_settled)
         quick:cancel()
      end)
      assert.equal("", text)
   end)
end)

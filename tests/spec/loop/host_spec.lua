--- host: waits in the coroutines of a host that has a scheduler of its own.
-- Covers: lua/moonrabbit/loop/answer.lua by message_count
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local mr = require "moonrabbit"
local loop = require "moonrabbit.loop.loop"

ffi.cdef [[
struct host_pollfd { int fd; short events, revents; };
int host_poll(struct host_pollfd *fds, unsigned long count, int milliseconds) __asm__("poll");
int host_pipe(int *fds) __asm__("pipe");
long host_write(int fd, const void *data, unsigned long size) __asm__("write");
int host_close(int fd) __asm__("close");
]]

-- The host: coroutines of its own, which it resumes from its ready list. `events` is what happened, in order.
local ready, alive, waits, posts, events, errs, current
local hooks -- what a test changes: on_wait(), on_post()

local function note(...) events[#events + 1] = table.concat({ ... }, " ") end

local function waiter()
   local co, is_posted = coroutine.running(), false
   local w = {}
   function w:wait()
      assert(self == w)
      waits = waits + 1
      if hooks.on_wait then hooks.on_wait() end
      repeat
         coroutine.yield()
         if alive[co] == "killed" then error("killed", 0) end
      until is_posted
   end
   function w:post()
      assert(self == w)
      assert(not require("moonrabbit.loop.task").is_inside(), "a post within a task")
      posts, is_posted = posts + 1, true
      if hooks.on_post then hooks.on_post() end
      if alive[co] then ready[#ready + 1] = co end
   end
   return w
end

local function request(fn, ...)
   local n, args = select("#", ...), { ... }
   local co = coroutine.create(function() fn(unpack(args, 1, n)) end)
   alive[co] = true
   ready[#ready + 1] = co
   return co
end

local function resume(co)
   if not alive[co] then return end
   current = co
   local ok, why = coroutine.resume(co)
   current = nil
   if not ok then errs[#errs + 1] = tostring(why) end
   if coroutine.status(co) == "dead" then alive[co] = nil end
end

local function resume_next() resume(table.remove(ready, 1)) end

-- Runs all that is ready, then sleeps until the descriptor is readable and polls; until condition().
local function run_until(condition)
   while true do
      local list = ready
      ready = {}
      for _, co in ipairs(list) do resume(co) end
      if condition() then return end
      local fds = ffi.new("struct host_pollfd[1]", { { mr.fd(), 1, 0 } })
      local is_readable = #ready > 0 or ffi.C.host_poll(fds, 1, 10000) == 1
      assert(is_readable, "nothing comes any more after: " .. table.concat(events, "; ") .. table.concat(errs, "; "))
      mr.poll(0)
   end
end

local function run()
   run_until(function() return not next(alive) end)
end

before_each(function()
   ready, alive, waits, posts, events, errs, hooks = {}, {}, 0, 0, {}, {}, {}
   mr.host { waiter = waiter }
end)

after_each(function()
   mr.host { waiter = false }
   loop.close(1)
   collectgarbage()
end)

local function index_of(what)
   for i, event in ipairs(events) do
      if event == what then return i end
   end
   error("did not happen: " .. what .. "\n" .. table.concat(events, "\n"))
end

-- All of `befores` happened before all of `afters`.
local function in_order(befores, afters)
   for _, before in ipairs(befores) do
      for _, after in ipairs(afters) do
         assert(index_of(before) < index_of(after), before .. " after " .. after .. "\n" .. table.concat(events, "\n"))
      end
   end
end

describe("a wait in a coroutine of the host", function()
   it("suspends only that coroutine: requests overlap, each with connect, channel, confirm, rpc, get and sleep (D5)", function()
      local served_in = {}
      mr.spawn(function()
         local conn = mr.connect "memory://host"
         assert(mr.rpc.serve { queue = "double", connection = conn, handler = function(text)
            served_in[#served_in + 1] = current or "a task"
            mr.sleep(0.001)
            return text .. text
         end })
         mr.every(0.001, function() served_in[#served_in + 1] = current or "a task" end)
      end)
      for i = 1, 4 do
         request(function(name)
            local conn = assert(mr.connect("memory://host"):connect())
            note("connected", name)
            local ch = assert(conn:channel())
            assert(ch:confirm_select())
            local q = assert(ch:queue_declare { exclusive = true }).queue
            note("declared", name)
            assert(ch:publish("", q, "hello " .. name))
            note("confirmed", name)
            local answer = assert(mr.rpc.call("double", name, { connection = conn, timeout = 10 }))
            assert(answer == name .. name, "the answer")
            note("answered", name)
            local msg = assert(ch:get(q))
            assert(msg.body == "hello " .. name, "the message")
            assert(msg:ack())
            note("got", name)
            mr.sleep(0.3)
            note("slept", name)
            assert(conn:close())
         end, "r" .. i)
      end
      run()
      assert.same({}, errs)
      local steps = { "connected", "declared", "confirmed", "answered", "got", "slept" }
      for i = 1, #steps do
         for r = 1, 4 do assert.is_number(index_of(steps[i] .. " r" .. r)) end
      end
      in_order({ "connected r1", "connected r2", "connected r3", "connected r4" }, { "slept r1", "slept r2", "slept r3", "slept r4" })
      in_order({ "got r1", "got r2", "got r3", "got r4" }, { "slept r1" })
      in_order({ "confirmed r1", "confirmed r2", "confirmed r3", "confirmed r4" }, { "slept r1" })
      assert.is_true(#served_in >= 4)
      for _, where in ipairs(served_in) do assert.equal("a task", where) end
      assert.equal(waits, posts)
   end)

   it("lets another coroutine go on while one waits for long", function()
      local event = mr.event()
      request(function()
         note "first waits"
         note("first has", event:wait())
      end)
      request(function()
         for i = 1, 3 do
            mr.sleep(0.001)
            note("second slept", i)
         end
         event:set "it"
      end)
      run()
      assert.same({ "first waits", "second slept 1", "second slept 2", "second slept 3", "first has it" }, events)
   end)

   it("wakes a host that sleeps on the descriptor, when another coroutine has what it waits for", function()
      local pool = assert(mr.pool { url = "memory://host", max_connections = 1, max_channels = 1 })
      local gate = mr.event()
      request(function()
         local conn = assert(pool:acquire())
         note "first has it"
         gate:wait()
         conn:release()
         note "first gave it"
      end)
      request(function()
         mr.sleep(0.005)
         gate:set()
         local conn = assert(pool:acquire())
         note "second has it"
         conn:release()
         pool:close()
      end)
      run()
      assert.same({}, errs)
      assert.same({ "first has it", "first gave it", "second has it" }, events)
   end)

   it("is told to the host once, for publishers and long lines, too", function()
      local out = mr.publisher { connection = mr.connect "memory://host", exchange = "amq.topic", routing_key = "x", mandatory = false }
      local semaphore = mr.semaphore(1)
      for i = 1, 5 do
         request(function()
            semaphore:with(function()
               note("in", i)
               assert(out:publish "x")
               note("out", i)
            end)
         end)
      end
      run()
      assert.same({}, errs)
      assert.same({ "in 1", "out 1", "in 2", "out 2", "in 3", "out 3", "in 4", "out 4", "in 5", "out 5" }, events)
      assert.equal(waits, posts)
      request(function() assert(out:close()) end)
      run()
   end)

   it("may be resumed within post, which is called outside of all tasks", function()
      local co
      mr.host { waiter = function()
         local w, posted = {}, false
         function w.wait() while not posted do coroutine.yield() end end
         function w.post()
            posted = true
            note "post"
            assert(coroutine.resume(co))
         end
         return w
      end }
      co = coroutine.create(function()
         mr.sleep(0.001)
         note "once"
         mr.sleep(0.001)
         note "twice"
      end)
      assert(coroutine.resume(co))
      while coroutine.status(co) ~= "dead" do
         assert.equal(1, ffi.C.host_poll(ffi.new("struct host_pollfd[1]", { { mr.fd(), 1, 0 } }), 1, 10000))
         mr.poll(0)
      end
      assert.same({ "post", "once", "post", "twice" }, events)
   end)

   it("waits for events and descriptors, too", function()
      local pipe = ffi.new "int[2]"
      assert(ffi.C.host_pipe(pipe) == 0)
      request(function()
         note("readable", assert(mr.wait_fd(pipe[0], "r", 10)))
      end)
      request(function()
         local conn = mr.connect "memory://host"
         assert(conn:connect())
         local ch = assert(conn:channel())
         local q = assert(ch:queue_declare { exclusive = true }).queue
         assert(ch:consume(q, function() note("handled", current and "in a request" or "in a task") end, { no_ack = true }))
         ch:publish("", q, "x")
         while not events[1] do conn:drain_events { timeout = 1 } end
         note "drained"
         assert(ffi.C.host_write(pipe[1], "x", 1) == 1)
      end)
      run()
      assert.same({}, errs)
      assert.same({ "handled in a task", "drained", "readable r" }, events)
      for i = 0, 1 do ffi.C.host_close(pipe[i]) end
   end)

   it("pumps in the main chunk as before, and posts there, too", function()
      local event = mr.event()
      request(function()
         mr.sleep(0.001)
         event:set "from a request"
      end)
      resume_next()
      hooks.on_post = function() resume(current or next(alive)) end
      assert.equal("from a request", event:wait(10))
   end)

   it("ends with an error when the runtime is closed", function()
      request(function() mr.event():wait() end)
      resume_next()
      loop.close(1)
      resume_next()
      assert.equal(1, #errs)
      assert.is_truthy(errs[1]:find("host_spec%.lua:%d+: the runtime was closed while this waited"), errs[1])
   end)
end)

describe("tasks and coroutines of the host", function()
   it("nest: a request starts a task that waits, and goes on", function()
      request(function()
         local done = mr.event()
         mr.spawn(function()
            mr.sleep(0.002)
            note "task"
            done:set()
         end)
         note "request"
         done:wait()
         note "end"
      end)
      run()
      assert.same({}, errs)
      assert.same({ "request", "task", "end" }, events)
   end)

   it("wake a host that sleeps on the descriptor, when a request makes a task ready", function()
      local line = mr.channel(0)
      mr.spawn(function() note("task got", line:get()) end)
      request(function()
         mr.sleep(0.001)
         mr.spawn(function()
            coroutine.yield()
            note "another went on"
         end)
      end)
      run_until(function() return events[1] end)
      request(function()
         line:put "it"
         mr.sleep(5) -- must not put off what is ready
      end)
      run_until(function() return events[2] end)
      assert.same({ "another went on", "task got it" }, events)
      assert.is_truthy(next(alive), "it came with the end of the sleep")
   end)

   it("nest: a handler with a time limit resumes a coroutine that waits by the host, and goes on at once", function()
      local gate = mr.event()
      local co = request(function()
         gate:wait()
         note "begun"
         mr.sleep(0.001)
         note "ended"
      end)
      resume_next()
      hooks.on_post = function() alive[co] = nil end -- not by the ready list
      gate:set()
      run_until(function() return posts == 1 end)
      hooks.on_post, alive[co] = nil, true
      mr.spawn(function()
         local ch = assert(mr.connect("memory://host"):channel())
         local q = assert(ch:queue_declare { exclusive = true }).queue
         assert(ch:consume(q, function()
            coroutine.resume(co)
            note "handler goes on"
            note("over its limit", tostring(not pcall(mr.sleep, 30))) -- its own limit still holds
         end, { time_limit = 0.05 }))
         assert(ch:publish("", q, "x"))
      end)
      run_until(function() return events[4] end)
      assert.same({ "begun", "handler goes on", "ended", "over its limit true" }, events)
   end)

   it("refuses the host's own yield in a task, where it yields", function()
      local raw = debug.getregistry()["moonrabbit.coroutine"].yield -- as a function of C that yields
      local done
      mr.spawn(function()
         local ok, why = pcall(function()
            raw "for the host"
            note "went on"
         end)
         done = { ok, why }
         mr.sleep(0)
         note "lives"
      end)
      run_until(function() return events[1] end)
      assert.is_false(done[1])
      assert.is_truthy(done[2]:find("host_spec%.lua:%d+: this yields a task of Moonrabbit's to the host.*mr%.event"), done[2])
      assert.same({ "lives" }, events)
      assert.is_nil((debug.gethook()))
   end)

   it("let the script's own yields in a task be", function()
      mr.spawn(function()
         coroutine.yield()
         for i in coroutine.wrap(function() for i = 1, 2 do mr.sleep(0) coroutine.yield(i) end end) do note("value", i) end
         note "end"
      end)
      run_until(function() return events[3] end)
      assert.same({ "value 1", "value 2", "end" }, events)
      assert.equal(0, waits)
   end)
end)

describe("a coroutine of the host that dies while it waits", function()
   local conn, ch, q

   before_each(function()
      mr.host { waiter = false }
      conn = mr.connect "memory://host.dead"
      ch = assert(conn:channel())
      q = assert(ch:queue_declare { exclusive = true }).queue
      mr.host { waiter = waiter }
   end)

   -- The broker's count, asked for in a task.
   local function messages()
      local n
      mr.spawn(function() n = assert(ch:queue_declare { queue = q, passive = true }).message_count end)
      run_until(function() return n end)
      return n
   end

   local function has_messages(n, collects)
      local deadline = os.time() + 10
      while messages() ~= n do
         if collects then collectgarbage() end
         assert(os.time() < deadline, "messages are missing")
      end
   end

   local function publish(n)
      mr.spawn(function() for _ = 1, n do assert(ch:publish("", q, "x")) end end)
   end

   it("by an error of wait, gives its message back at once (the error is its own)", function()
      collectgarbage "stop"
      finally(function() collectgarbage "restart" end)
      publish(1)
      for _, kill in ipairs { "before", "after" } do
         has_messages(1)
         local co = request(function()
            ch:get(q)
            note "must not be"
         end)
         if kill == "before" then hooks.on_wait = function() error("killed", 0) end end
         hooks.on_post = function() alive[co] = "killed" end -- it was posted, and is killed before it is resumed
         run()
         hooks = {}
      end
      assert.same({ "killed", "killed" }, errs)
      assert.same({}, events)
      has_messages(1)
   end)

   it("and is abandoned, gives its message back, and leaves nothing behind", function()
      publish(50)
      has_messages(50)
      local lost = setmetatable({}, { __mode = "k" })
      for _ = 1, 50 do
         local co = request(function()
            ch:get(q)
            note "must not be"
         end)
         lost[co] = true
         resume(co)
         alive[co] = nil
         ready[#ready] = nil
      end
      run_until(function() return posts == 50 end)
      assert.equal(0, #ready)
      has_messages(50, true)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(lost))
      assert.same({}, events)
      assert.same({}, errs)
   end)

   it("and is collected when its runtime is gone, touches neither that nor the next one", function()
      publish(1)
      has_messages(1)
      local co = request(function() ch:get(q) end)
      resume_next()
      alive[co] = nil
      run_until(function() return posts == 1 end)
      loop.close(1)
      local later = assert(mr.connect("memory://host.later"):channel())
      co = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
      assert(later:queue_declare { exclusive = true })
      assert.equal(0, mr.stats().settled)
   end)

   it("is not posted, if it dies before that", function()
      local event = mr.event()
      request(function() note("first", event:wait()) end)
      local second = request(function() event:wait() end)
      hooks.on_post = function()
         alive[second] = "killed"
         resume(second)
      end
      mr.after(0.001, function() event:set "came" end)
      run()
      assert.same({ "first came" }, events)
      assert.same({ "killed" }, errs)
      assert.equal(1, posts)
   end)

   it("takes no place in a line: the next one is served", function()
      local channel = mr.channel(0)
      request(function() channel:get() end)
      hooks.on_wait = function() error("killed", 0) end
      resume_next()
      hooks = {}
      request(function() note(channel:get()) end)
      request(function() channel:put "value" end)
      run()
      assert.same({ "killed" }, errs)
      assert.same({ "value" }, events)
   end)

   it("costs no memory, if it happens again and again", function()
      local function many(n)
         for _ = 1, n do
            hooks.on_wait = function() error("killed", 0) end
            request(function() ch:queue_declare { queue = q, passive = true } end)
            resume_next()
         end
         hooks = {}
         messages()
         errs = {}
         collectgarbage()
         collectgarbage()
         return collectgarbage "count"
      end
      many(100)
      local before = many(100)
      assert.is_true(many(1000) - before < 64)
   end)

   it("costs no memory, if it ends between the making of its object and its wait", function()
      local host = require "moonrabbit.loop.host"
      local made = setmetatable({}, { __mode = "k" })
      mr.host { waiter = function()
         local w = waiter() -- knows its coroutine
         made[w] = true
         return w
      end }
      for _ = 1, 100 do
         request(function() host.prepare(coroutine.running()) end)
         resume_next()
      end
      collectgarbage()
      collectgarbage()
      local left = 0
      for _ in pairs(made) do left = left + 1 end
      assert.is_true(left <= 1, left .. " are left")
   end)
end)

describe("a bad waiter", function()
   local ch, q

   before_each(function()
      mr.host { waiter = false }
      ch = assert(mr.connect("memory://host.bad"):channel())
      assert(ch:confirm_select())
      q = assert(ch:queue_declare { exclusive = true }).queue
   end)

   local function message_count()
      mr.host { waiter = false }
      return assert(ch:queue_declare { queue = q, passive = true }).message_count
   end

   local bad = {
      ["throws"] = { function() error("no more", 0) end, "the waiter of mr%.host failed: no more" },
      ["gives nil"] = { function() end, "must return an object with the methods wait and post, not nil" },
      ["gives a number"] = { function() return 1 end, "wait and post, not this number" },
      ["gives a string"] = { function() return "w" end, "wait and post, not this string" },
      ["has no post"] = { function() return { wait = print } end, "wait and post, not this table" },
      ["waits itself"] = { function() mr.sleep(0) end, "the waiter of mr%.host must not wait itself" },
   }
   for name, case in pairs(bad) do
      it("that " .. name .. " is named by an error, before anything is sent", function()
         mr.host { waiter = case[1] }
         request(function() ch:publish("", q, "must not be sent") end)
         request(function() mr.sleep(0) end)
         resume_next()
         resume_next()
         assert.equal(2, #errs)
         for _, why in ipairs(errs) do assert.is_truthy(why:find("host_spec%.lua:%d+: .*" .. case[2]), why) end
         assert.equal(0, message_count())
      end)
   end

   it("that refuses, where its coroutine cannot be suspended, keeps anything from being sent", function()
      mr.host { waiter = function()
         if not coroutine.isyieldable() then error("not here", 0) end
         return waiter()
      end }
      request(function() table.sort({ 2, 1 }, function(a, b)
         ch:publish("", q, "must not be sent")
         return a < b
      end) end)
      resume_next()
      assert.is_truthy(errs[1]:find("the waiter of mr%.host failed: not here"), errs[1])
      assert.equal(0, message_count())
   end)

   it("that has no second object is asked once for a wait, whenever the garbage is collected", function()
      local asked, result = 0, nil
      mr.host { waiter = function()
         asked = asked + 1
         if asked > 1 then error("no more", 0) end
         return waiter()
      end }
      request(function() result = ch:publish("", q, "once") end)
      debug.sethook(function() collectgarbage() end, "", 20)
      resume_next()
      debug.sethook()
      assert.same({}, errs)
      run_until(function() return result end)
      assert.equal(1, asked)
   end)

   it("that comes back too soon ends the wait, and what it waited for is done", function()
      mr.host { waiter = function() return { wait = function() end, post = function() note "post" end } end }
      request(function() ch:publish("", q, "sent") end)
      resume_next()
      assert.is_truthy(errs[1]:find("host_spec%.lua:%d+: the waiter of mr%.host came back from wait%(%) before post%(%)"), errs[1])
      assert.equal(1, message_count())
      assert.same({}, events)
   end)

   it("whose post throws is reported, the loop lives, and a message goes back", function()
      hooks.on_post = function() error("cannot post", 0) end
      mr.host { waiter = waiter }
      local ended
      mr.spawn(function()
         assert(ch:publish("", q, "x"))
         ended = true
      end)
      run_until(function() return ended end)
      local co = request(function() ch:get(q) end)
      resume_next()
      run_until(function() return posts == 1 end)
      resume(co)
      assert.is_truthy(errs[1]:find("the post of this wait failed: .*cannot post"), errs[1])
      hooks = {}
      local n = 0
      while n == 0 do n = message_count() end
      assert.equal(1, n)
   end)

   it("is refused as an option", function()
      assert.error_matches(function() mr.host { waiter = 1 } end, 'option "waiter" must be a function')
      assert.error_matches(function() mr.host { waiter = true } end, 'option "waiter" must be a function, or false')
      assert.error_matches(function() mr.host {} end, 'option "waiter" is missing')
      assert.error_matches(function() mr.host { waiters = print } end, "waiters")
   end)
end)

describe("the main chunk as a coroutine of the host", function()
   it("waits by the waiter", function()
      local made, is_posted = 0, false
      mr.host { main = true, waiter = function()
         assert.is_nil(coroutine.running())
         made, is_posted = made + 1, false
         return { wait = function() while not is_posted do mr.poll() end end, post = function() is_posted = true end }
      end }
      mr.sleep(0.001)
      assert.equal(1, made)
      local ch = assert(mr.connect("memory://host"):channel())
      assert(ch:confirm_select())
      assert(ch:publish("amq.topic", "x", "x"))
      assert.is_true(made > 2)
      mr.host { waiter = waiter } -- without `main` it pumps, as ever
      local before = waits
      mr.sleep(0.001)
      assert.equal(before, waits)
      ch.connection:release()
   end)

   it("is on or off", function()
      assert.error_matches(function() mr.host { waiter = waiter, main = 1 } end, 'option "main" must be a boolean')
   end)
end)

describe("docs/embedding.md", function()
   it("has a complete host, which prints what the page shows", function()
      local f = assert(io.open "docs/embedding.md")
      local page = f:read "*a"
      f:close()
      local program = assert(page:match "<!%-%- file: requests%.lua %-%->\n```lua\n(.-)\n```\n")
      local shown = assert(page:match "%$ luajit requests%.lua\n(.-)\n```\n")
      local chunk = assert(loadstring(program, "@docs/embedding.md"))
      setfenv(chunk, setmetatable({ print = note }, { __index = _G }))()
      assert.equal(shown, table.concat(events, "\n"))
   end)
end)

--- Faults of FAULTS.md that no other spec of this folder is about: late and missing words, one-way traffic, blocked and
-- overloaded sides, tags, forks, failover.
local ffi = require "ffi"
local mr = require "moonrabbit"
local broker = require "broker"
local embedded = require "embedded"
local peer = require "peer"
local recovering = require "recovering"
local within = require("waits").within

ffi.cdef [[
int fork(void);
int waitpid(int pid, int *status, int options);
void _exit(int code);
]]

if broker.kind ~= "memory" then return end

local eventually, name, own = broker.eventually, broker.name, embedded.broker

local function clean()
   peer.stop_all()
   recovering.clean()
end

-- A connection to a peer that lets one in and opens one channel, then does as serve(session, channel) says.
local function half_a_broker(serve, options, heartbeat)
   local served = peer.start(function(session)
      if not session:handshake { 2047, 131072, heartbeat or 0 } then return end
      local channel = session:open_channel()
      if channel then serve(session, channel) end
   end)
   local all = { url = ("amqp://127.0.0.1:%d"):format(served.port), recover = false, close_timeout = 0.2 }
   for k, v in pairs(options or {}) do all[k] = v end
   local conn = embedded.connect(all)
   return assert(conn:channel()), conn
end

describe("a peer", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("that resets the connection is told by the system's number and words (K2)", function()
      local seen
      local _, conn = half_a_broker(function(s) s:reset() end, { on_event = function(ev)
         if ev.type == "lost" then seen = ev.err end
      end })
      eventually("the loss", function() return seen end)
      assert.same({ "stream_lost", 104, "connection", true }, { seen.kind, seen.errno, seen.scope, seen.recoverable })
      assert.truthy(seen.text:find("Connection reset by peer", 1, true), seen.text)
      assert.same({ "stream_lost", 104 }, { conn.last_error.kind, conn.last_error.errno })
   end)

   it("that never confirms costs a publish its time, not the channel; its late word is ignored (T08, X4)", function()
      local ch, conn = half_a_broker(function(s, channel)
         s:expect(85, 10)
         s:write(peer.method(channel, 85, 11))
         s:expect(50, 10)
         s:write(peer.method(channel, 60, 80, ("\0"):rep(7) .. "\1\0"))
         s:write(peer.method(channel, 50, 11, peer.short "q" .. peer.u32(0) .. peer.u32(0)))
         s:expect(60, 40)
         s:write(peer.method(channel, 60, 80, ("\0"):rep(7) .. "\2\0"))
         s:drain()
      end)
      assert(ch:confirm_select())
      local began = mr.now()
      local ok, err = ch:publish("", "q", "x", { timeout = 0.2 })
      local took = mr.now() - began
      assert.is_nil(ok)
      assert.same({ "timeout", "publish" }, { err.kind, err.scope })
      assert.is_true(took >= 0.19 and took < 2, took)
      assert(ch:queue_declare { queue = "q" })
      assert(ch:publish("", "q", "y", { timeout = 5 }))
      assert.same({ true, true, 1 }, { ch.is_open, conn.is_open, conn.epoch })
   end)

   it("that reads slowly gets the frames of two large publishes of one channel unmixed (T31)", function()
      local size, order = 300000, {}
      local ch = half_a_broker(function(s)
         local plain_read = s.read
         function s:read(count) -- in small pieces, with pauses
            while #self.input < count do
               local more = plain_read(self, math.min(count, #self.input + 4096))
               if not more then return nil end
               self.input = more .. self.input
               mr.sleep(0)
            end
            return plain_read(self, count)
         end
         while #order < 2 do
            s:expect(60, 40)
            local kind, _, header = s:frame()
            assert(kind == 2, "no header after a publish")
            local letter, count = nil, 0
            while count < size do
               local k, _, payload = s:frame()
               if k ~= 3 then break end
               letter = letter or payload:sub(1, 1)
               if payload ~= letter:rep(#payload) then break end
               count = count + #payload
            end
            order[#order + 1] = ("%s %d %d"):format(letter, count, #header)
         end
         s:drain()
      end)
      local done = 0
      for _, letter in ipairs { "a", "b" } do
         mr.spawn(function()
            assert(ch:publish("", "q", letter:rep(size)))
            done = done + 1
         end)
      end
      eventually("both", function() return #order == 2 and done == 2 end, 20)
      table.sort(order)
      assert.same({ "a 300000", "b 300000" }, { order[1]:match "^%a %d+", order[2]:match "^%a %d+" })
   end)
end)

describe("a broker that closes the connection", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("says why by its code, and each code has its kind and hint (K3)", function()
      local b, hints = own(), {}
      for code, kind in pairs { [320] = "connection_forced", [501] = "frame_error", [503] = "command_invalid", [504] = "channel_error",
         [505] = "unexpected_frame", [506] = "resource_error", [530] = "not_allowed", [540] = "not_implemented",
         [541] = "internal_error" } do
         local conn = embedded.connect { url = b.url, recover = false }
         local ch = assert(conn:channel())
         b:close_connections(code, "REASON - of the test")
         eventually("the loss", function() return conn.is_closed end)
         for _, err in ipairs { conn.last_error, select(2, ch:queue_declare { queue = "q" }) } do
            assert.same({ kind, code, "connection" }, { err.kind, err.code, err.scope })
            assert.truthy(err.text:find("REASON - of the test", 1, true), err.text)
            hints[err.hint] = kind
         end
         conn:release()
      end
      assert.is_nil(hints[""])
   end)
end)

describe("heartbeats", function()
   before_each(recovering.quiet)
   after_each(clean)

   local function beats() return mr.stats().heartbeats_out end
   local function passes(seconds, each)
      for _ = 1, seconds do
         mr.testing.advance(1)
         if each then each() end
      end
   end

   it("leave only where nothing else was sent for half their interval, and nobody is dropped (T14)", function()
      local b = own()
      local one = embedded.connect { url = b.url, heartbeat = 4 }
      local ch = assert(one:channel())
      assert(ch:queue_declare { queue = "q" })
      local began = beats()
      passes(60)
      local idle = beats() - began
      assert.is_true(idle >= 20 and idle <= 31, idle)
      began = beats()
      passes(60, function() assert(ch:publish("", "q", "x")) end)
      assert.is_true(beats() - began <= 1, beats() - began)
      local other, got = embedded.connect { url = b.url, heartbeat = 4 }, 0
      assert(assert(other:channel()):consume("q", function() got = got + 1 end, { no_ack = true }))
      within("the old ones", 10, function() return got == 60 end)
      began = beats()
      passes(60, function() assert(ch:publish("", "q", "x")) end)
      within("the new ones", 10, function() return got == 120 end)
      local listening = beats() - began
      assert.is_true(listening >= 20 and listening <= 32, listening) -- of the one that only listens
      assert.same({ 1, 1, true, true }, { one.epoch, other.epoch, one.is_open, other.is_open })
   end)

   it("notice a silent broker after two intervals, not before: who consumes, who publishes, who does both (T15, FIELD-R3)", function()
      local b = own()
      local lost, n = {}, 0
      for _, role in ipairs { "consumes", "publishes", "does both" } do
         local conn = embedded.connect { url = b.url, heartbeat = 10, recover = false, on_event = function(ev)
            if ev.type == "lost" then
               n = n + 1
               lost[role] = { ev.err.kind, mr.now() }
            end
         end }
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "q" })
         if role ~= "publishes" then assert(ch:consume("q", function() end)) end
         if role ~= "consumes" then assert(ch:publish("", "q", "x")) end
      end
      mr.sleep(0.05)
      b:silent()
      local began = mr.now()
      for _ = 1, 19 do mr.testing.advance(1) end
      mr.sleep(0.05)
      assert.equal(0, n)
      for _ = 1, 4 do mr.testing.advance(1) end
      within("all three", 10, function() return n == 3 end)
      for role, of in pairs(lost) do
         assert.equal("heartbeat_timeout", of[1], role)
         assert.is_true(of[2] - began >= 19 and of[2] - began <= 22, ("%s: %g s"):format(role, of[2] - began))
      end
      assert.equal(3, n)
   end)

   it("do not fail over a slow network: a late word is in time as long as it is within the interval (L5)", function()
      local b = own()
      local seen = {}
      local conn = embedded.connect { url = b.url, heartbeat = 2, on_event = function(ev) seen[ev.type] = ev end }
      local ch = assert(conn:channel())
      b:delay(0.8) -- each byte comes so much later, on top of the second between heartbeats
      for _ = 1, 5 do assert(ch:queue_declare { exclusive = true, timeout = 30 }) end
      assert.same({ true, 1 }, { conn.is_open, conn.epoch })
      assert.is_nil(seen.lost)
   end)

   it("do not fail over a machine without time for the program: it reads before it judges (L4)", function()
      local b = own { listen = "127.0.0.1:0" }
      local path, out = broker.script(([[
         local mr = require "moonrabbit"
         local conn = mr.connect { url = "amqp://127.0.0.1:%d", heartbeat = 3, name = "starved" }
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "go" })
         assert(ch:consume("go", function(msg)
            print("epoch " .. conn.epoch)
            mr.stop()
         end))
      ]]):format(b.port)), os.tmpname()
      os.execute(("timeout 60 %s run %s >%s 2>&1 & echo $! >%s.pid"):format(broker.command, path, out, out))
      local function text(file)
         local f = assert(io.open(file))
         local all = f:read "*a"
         f:close()
         return all
      end
      finally(function()
         os.remove(out)
         os.remove(out .. ".pid")
      end)
      eventually("the program", function() return (b:queue "go" or { consumers = 0 }).consumers == 1 end)
      local child = broker.shell(("pgrep -P %d"):format(tonumber(text(out .. ".pid")))):match "%d+"
      os.execute("kill -STOP " .. child)
      mr.sleep(4) -- longer than it may hear nothing, shorter than the broker's patience (6 s)
      os.execute("kill -CONT " .. child)
      mr.sleep(0.5)
      assert.equal(1, #b:report().connections)
      assert(assert(embedded.connect(b.url):channel()):publish("", "go", "x"))
      eventually("the end", function() return text(out):find "epoch %d+" end)
      assert.truthy(text(out):find("epoch 1\n", 1, true), text(out))
      eventually("its end at the broker", function() return #b:report().connections <= 1 end)
   end)
end)

describe("a script that is behind by more than fits", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("has its connection back while it computes: what is written tells of the loss, for nothing is read (T35)", function()
      local b = own { listen = "127.0.0.1:0" }
      local ch = assert(embedded.connect(b.url):channel())
      assert(ch:queue_declare { queue = "q" })
      assert(ch:queue_declare { queue = "result" })
      assert(ch:confirm_select())
      local body = ("x"):rep(8192)
      for i = 1, 12000 do -- 96 MiB: more than the 64 that may be in the script's hands
         assert(ch:publish_async("", "q", body, { persistent = false, timeout = 60 }))
         if i % 1000 == 0 then assert(ch:wait_for_confirms(60)) end
      end
      local script = broker.script(([[
         local mr = require "moonrabbit"
         mr.log.configure "off"
         local lost, recovered
         local conn = mr.connect { url = "amqp://127.0.0.1:%d", heartbeat = 2, transport_options = { interval_start = 0 },
            on_event = function(ev)
               if ev.type == "lost" then lost = ev.err.kind end
               if ev.type == "recovered" then recovered = ev.gap end
            end }
         local ch, seen = assert(conn:channel()), 0
         assert(ch:consume("q", function()
            seen = seen + 1
            if seen > 1 then return end
            local deadline = mr.now() + 7
            repeat until mr.now() > deadline
         end, { no_ack = true }))
         while not recovered do mr.sleep(0.01) end
         assert(assert(conn:channel()):publish("", "result", ("%%s %%.1f %%d"):format(lost, recovered, conn.epoch)))
         conn:release()
         mr.stop()
      ]]):format(b.port))
      local out
      mr.spawn(function() out = { broker.shell(("%s run %s"):format(broker.command, script)) } end)
      -- It reads no more when its hands are full and its socket is: the rest waits in the broker.
      eventually("the queue to come to a halt", function()
         local before = b:queue("q").messages_ready
         if before > 11999 then return end
         mr.sleep(0.3)
         return b:queue("q").messages_ready == before and #b:report().connections == 2
      end, 20)
      local began = mr.now()
      b:drop()
      local own_conn = embedded.connect(b.url)
      assert(own_conn:connect())
      eventually("its new connection", function() return #b:report().connections >= 2 end)
      local took = mr.now() - began
      eventually("its end", function() return out end, 30)
      assert.equal(0, out[2], out[1])
      assert.is_true(took < 3, took) -- long before it looks up from its work
      local msg = broker.take(assert(own_conn:channel()), "result")
      assert.truthy(msg.body:find "^stream_lost %d%.%d 2$", msg.body) -- the rest of the recovery waits for the script
   end)
end)

describe("a broker that blocks publishers", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("is told; publishes end in time, a close too, and acks of others go on (T16, N2)", function()
      local b = own()
      local record, seen = recovering.recorder()
      local conn = embedded.connect { url = b.url, on_event = record }
      local pub, con = assert(conn:channel()), assert(embedded.connect(b.url):channel())
      assert(pub:queue_declare { queue = "q" })
      for i = 1, 3 do assert(pub:publish("", "q", tostring(i))) end
      local held = {}
      assert(con:qos { prefetch_count = 3 })
      assert(con:consume("q", function(msg)
         held[#held + 1] = msg
         eventually("the word", function() return held.go end)
      end))
      eventually("three", function() return #held == 3 end)
      b:block()
      assert(pub:publish("", "q", "noticed")) -- the broker tells those who publish
      eventually("the event", function() return seen.blocked and conn.is_blocked end)
      local began = mr.now()
      local ok, err = pub:publish("", "q", "x", { timeout = 0.3 })
      assert.is_nil(ok)
      assert.equal("blocked_timeout", err.kind)
      local took = mr.now() - began
      assert.is_true(took >= 0.29 and took < 2, took)
      held.go = true
      eventually("the acks", function()
         local q = b:queue "q"
         return q.messages_unacknowledged + q.messages_ready == 0
      end)
      began = mr.now()
      conn:close { timeout = 2 }
      assert.is_true(mr.now() - began < 3)
      assert.equal("closed", conn.state)
      b:block(false)
   end)

   it("for too long loses the connection, which comes back (N2, K5)", function()
      local b = own()
      local ch, seen, conn = recovering.open { url = b.url, blocked_connection_timeout = 20 }
      assert(ch:queue_declare { queue = "q" })
      b:block()
      assert(ch:publish("", "q", "noticed"))
      within("the word", 10, function() return conn.is_blocked end)
      mr.testing.advance(15)
      assert.is_nil(seen.lost)
      mr.testing.advance(6)
      within("the loss", 10, function() return seen.lost end)
      assert.equal("blocked_timeout", seen.lost.err.kind)
      b:block(false)
      within("the recovery", 10, function()
         mr.testing.advance(1)
         return seen.recovered
      end)
      assert(ch:publish("", "q", "x"))
   end)
end)

describe("consumers", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("may not share a tag on one channel; on two they come back both (T23)", function()
      local b = own()
      local ch, seen, conn = recovering.open { url = b.url }
      local other = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      local first, second = assert(ch:consume("q", function() end, { consumer_tag = "same" })),
         assert(other:consume("q", function() end, { consumer_tag = "same" }))
      local refused, err = ch:consume("q", function() end, { consumer_tag = "same" })
      assert.is_nil(refused)
      assert.equal("not_allowed", err.kind)
      assert(ch:queue_declare { queue = "q" }) -- the broker was not asked: it would have closed the connection
      assert.same({ true, 1 }, { conn.is_open, conn.epoch })
      recovering.through(seen, function() b:drop() end)
      eventually("both", function() return b:queue("q").consumers == 2 end)
      eventually("both states", function() return first.state == "consuming" and second.state == "consuming" end)
      assert.same({ "same", "same" }, { first.tag, second.tag })
   end)

   it("may have their messages settled by other tasks, in any order (X23)", function()
      local b = own()
      local ch = assert(embedded.connect(b.url):channel())
      assert(ch:queue_declare { queue = "q" })
      for i = 1, 20 do assert(ch:publish("", "q", tostring(i))) end
      local iterator, consumer = assert(ch:messages "q")
      local settled = 0
      for i = 1, 20 do
         local msg = assert(iterator())
         mr.after(0.001 * ((i * 7) % 20), function()
            assert(i % 5 == 0 and msg:nack { requeue = false } or msg:ack())
            settled = settled + 1
         end)
      end
      eventually("all", function() return settled == 20 and b:queue("q").messages_unacknowledged == 0 end)
      assert.equal(0, b:queue("q").messages_ready)
      assert(consumer:cancel())
   end)
end)

describe("a fork of the program", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("has calls that fail, and leaves the connection of its parent alone (T39)", function()
      local b = own { listen = "127.0.0.1:0" }
      local conn = embedded.connect { url = ("amqp://127.0.0.1:%d"):format(b.port) }
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      local pid = ffi.C.fork()
      if pid == 0 then
         local ok, all_refused = pcall(function()
            local _, of_channel = conn:channel()
            local _, of_publish = ch:publish("", q, "from the child")
            local _, of_declare = ch:queue_declare { queue = q, passive = true }
            conn, ch = nil, nil
            collectgarbage()
            collectgarbage()
            return of_channel.kind == "forked" and of_publish.kind == "forked" and of_declare.kind == "forked"
         end)
         ffi.C._exit(ok and all_refused and 0 or 1)
      end
      local status = ffi.new "int[1]"
      eventually("the child's end", function() return ffi.C.waitpid(pid, status, 1) == pid end)
      assert.equal(0, status[0])
      assert(ch:publish("", q, "from the parent"))
      assert.equal("from the parent", assert(ch:get(q, { no_ack = true })).body)
      assert.same({ 1, true }, { conn.epoch, conn.is_open })
   end)
end)

-- ---- brokers in processes of their own ----

local running = {} -- their process ids

local function end_brokers()
   clean()
   for pid in pairs(running) do os.execute("kill -9 " .. pid) end
   running = {}
end

-- A broker on a port; its port, its end, and its process id. `before` is a shell command before it.
local function serve(port, before)
   local out = os.tmpname()
   os.execute(("(%s exec %s broker --listen 127.0.0.1:%d >%s 2>&1) & echo $! >%s.pid"):format(before or "", broker.command,
      port or 0, out, out))
   local f = assert(io.open(out .. ".pid"))
   local pid = f:read "*n"
   f:close()
   running[pid] = true
   local at = eventually("the broker", function()
      for line in io.lines(out) do
         local p = line:match "^Serving .*@127%.0%.0%.1:(%d+);"
         if p then return tonumber(p) end
      end
   end)
   os.remove(out)
   os.remove(out .. ".pid")
   return at, function()
      os.execute("kill -9 " .. pid)
      running[pid] = nil
   end, pid
end

describe("a broker without descriptors", function()
   before_each(recovering.quiet)
   after_each(end_brokers)

   -- Seconds of CPU that a process has had.
   local function cpu(pid)
      local f = assert(io.open(("/proc/%d/stat"):format(pid)))
      local user, system = f:read("*a"):match "%) %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)"
      f:close()
      return (user + system) / 100
   end

   it("does not spin over those who wait, and lets them in when others have gone", function()
      local port, _, pid = serve(0, "ulimit -n 32;")
      local conns, url = {}, ("amqp://127.0.0.1:%d"):format(port)
      for i = 1, 40 do
         conns[i] = embedded.connect { url = url, recover = false, connect_timeout = 20, close_timeout = 1 }
         mr.spawn(function() conns[i]:connect() end)
      end
      eventually("most to be in", function()
         local open = 0
         for _, c in ipairs(conns) do open = open + (c.is_open and 1 or 0) end
         return open >= 10
      end)
      mr.sleep(0.3)
      local open, busy = {}, cpu(pid)
      mr.sleep(1)
      assert.is_true(cpu(pid) - busy <= 0.1, cpu(pid) - busy)
      for _, c in ipairs(conns) do if c.is_open then open[#open + 1] = c end end
      assert.is_true(#open < 40, "all of them are in: nothing was exhausted")
      for _, c in ipairs(open) do c:release() end
      eventually("the others", function()
         for _, c in ipairs(conns) do if not c.released and c.is_open then return true end end
      end)
   end)
end)

describe("two brokers in the list", function()
   before_each(recovering.quiet)
   after_each(end_brokers)

   it("stand in for each other when one is killed, and nothing confirmed since is missing (T43)", function()
      local one, kill_one = serve()
      local two, kill_two = serve()
      local q, outcomes, got = name "q", {}, {}
      local ch, seen, conn = recovering.open { hosts = "in_order", url = ("amqp://127.0.0.1:%d,127.0.0.1:%d"):format(one, two) }
      local function at(port) return conn.host == "127.0.0.1:" .. port end
      assert(ch:queue_declare { queue = q, durable = true })
      assert(ch:confirm_select())
      assert(ch:consume(q, function(msg) got[msg.body] = (got[msg.body] or 0) + 1 end))
      assert.is_true(at(one))
      local sent, stop = 0, false
      mr.spawn(function()
         while not stop do
            sent = sent + 1
            local body, epoch = tostring(sent), conn.epoch
            local ok, err = ch:publish("", q, body, { timeout = 20 })
            outcomes[body] = ok and { "acked", epoch, conn.epoch } or { err.kind, epoch, conn.epoch }
         end
      end)
      local function goes_on()
         local n = sent
         eventually("traffic", function() return sent > n + 50 end)
      end
      goes_on()
      recovering.through(seen, kill_one)
      assert.is_true(at(two), conn.host)
      goes_on()
      assert.equal(one, (serve(one)))
      recovering.through(seen, kill_two)
      assert.is_true(at(one), conn.host)
      goes_on()
      stop = true
      eventually("the last", function() return outcomes[tostring(sent)] end)
      assert.equal(3, conn.epoch)
      local lost = 0
      for i = 1, sent do
         local o = outcomes[tostring(i)]
         assert.truthy(o, "no outcome of " .. i)
         if o[1] ~= "acked" then
            lost = lost + 1
         elseif o[2] == 3 and o[3] == 3 then -- what the killed ones had is gone with them
            eventually("message " .. i, function() return got[tostring(i)] end)
         end
      end
      assert.is_true(lost <= 2, lost)
      assert.same({ 2, 2 }, { seen.count.lost, seen.count.recovered })
   end)
end)

-- client_moonrabbit: ours, beside the other clients of the bench.
-- Called as `moonrabbit run client_moonrabbit.lua MODE PORT BODY MESSAGES [view|busy]` (view: bodies by msg:view(); busy: with
-- mr.busy_poll). Modes: consume, consume-noack, publish, publish-confirm, rtt, confirm-one; stream (which stream-fill has filled);
-- mem (memory over a long run), idle (memory of MESSAGES connections that do nothing); by hand stream-worker, and for scripts.sh
-- consume-worker and suspended. Prints one JSON line. BENCH_CA=FILE: by TLS, the server's certificate verified by that file.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local mr = require "moonrabbit"

local BUSY = 0.0001             -- seconds
local PREFETCH, OUTSTANDING, TRIP_WARM_UP = 1000, 1000, 100
local MEM_STEP = 1000000        -- messages between two looks at the memory
local WAIT = 60                 -- seconds; only ever reached when something is broken

local sink = 0                  -- keeps the reading of bodies alive

-- Own C names, so that these declarations never meet the library's.
ffi.cdef [[
typedef struct { long sec, part; } bench_time;
typedef struct { bench_time user, system; long max_rss, other[13]; } bench_usage;
int bench_getrusage(int who, bench_usage *usage) __asm__("getrusage");
int bench_clock(int id, bench_time *now) __asm__("clock_gettime");
]]
local usage, now = ffi.new "bench_usage", ffi.new "bench_time"

local function wall_now()
   ffi.C.bench_clock(1, now)    -- CLOCK_MONOTONIC
   return tonumber(now.sec) + tonumber(now.part) / 1e9
end

local function cpu_now()        -- of all threads
   ffi.C.bench_getrusage(0, usage)
   return tonumber(usage.user.sec + usage.system.sec) + tonumber(usage.user.part + usage.system.part) / 1e6
end

local function rss_kib()
   for line in io.lines "/proc/self/status" do
      local kib = line:match "^VmRSS:%s*(%d+)"
      if kib then return tonumber(kib) end
   end
end

local function begin()
   return { cpu = cpu_now(), wall = wall_now() }
end

local function stop(span)
   return { cpu = cpu_now() - span.cpu, wall = wall_now() - span.wall }
end

--- Prints the result of `counted` messages since `span` began, up to now or to when `took` was taken; `more` is JSON text to add.
local function finish(run, span, counted, more, took)
   took = took or stop(span)
   local wall, cpu = took.wall, took.cpu
   print(string.format('{"client":"moonrabbit","mode":"%s","body":%d,"messages":%d,"seconds":%.6f,'
      .. '"rate":%.1f,"cpu_us_per_msg":%.4f,"max_rss_kib":%d%s}', run.mode, run.body, counted, wall,
      counted / wall, cpu * 1e6 / counted, tonumber(usage.max_rss), more or ""))
end

local function open(run)
   local conn = assert(mr.connect(run.url))
   return conn, assert(conn:channel())
end

local function properties()
   return { content_type = "text/plain", persistent = false }
end

-- The first byte of a body where it lies, as rabbitmq-c's program reads it; or all of it, as a Lua string.
local function byte_of(msg) return msg:view()[0] end
local function length_of(msg) return #msg.body end

local function consume(run, no_ack)
   local _, ch = open(run)
   local read = run.by_view and byte_of or length_of
   local total, seen, span = run.messages, 0, nil
   if not no_ack then assert(ch:qos { prefetch_count = PREFETCH }) end
   assert(ch:consume("bench", function(msg)
      if seen == 0 then span = begin() end
      seen = seen + 1
      sink = sink + read(msg)
      if seen == total then
         finish(run, span, total - 1)
         mr.stop()
      end
   end, { consumer_tag = "bench", no_ack = no_ack }))
end

-- The same by mr.consumer, with a retry policy and one middleware.
local function worker(run)
   local total, seen, span = run.messages, 0, nil
   mr.consumer { connection = mr.connect(run.url), queue = "bench", declare = false, dead_letter = false,
      prefetch = PREFETCH, consumer_tag = "bench", retry = mr.retry.exponential { attempts = 8 },
      middleware = { function(msg, next) return next(msg) end },
      handler = function(msg)
         if seen == 0 then span = begin() end
         seen = seen + 1
         sink = sink + #msg.body
         if seen == total then
            finish(run, span, total - 1)
            mr.stop()
         end
      end }
end

-- ---- a stream ----

local STREAM = "bench-stream"

local function fill(run)
   local conn, ch = open(run)
   local body, props = ("x"):rep(run.body), properties()
   assert(ch:queue_declare { queue = STREAM, durable = true, queue_type = "stream" })
   assert(ch:confirm_select())
   local span = begin()
   for n = 1, run.messages do
      assert(ch:publish_async("", STREAM, body, props))
      if n % 10000 == 0 then assert(ch:wait_for_confirms(WAIT)) end
   end
   assert(ch:wait_for_confirms(WAIT))
   finish(run, span, run.messages)
   conn:close()
end

-- A handler that counts to the end of the stream.
local function reader(run)
   local total, seen, span = run.messages, 0, nil
   return function(msg)
      if seen == 0 then span = begin() end
      seen = seen + 1
      sink = sink + #msg.body
      if seen == total then
         finish(run, span, total - 1)
         mr.stop()
      end
   end
end

local function read_stream(run)
   local _, ch = open(run)
   assert(ch:qos { prefetch_count = PREFETCH })
   assert(ch:consume(STREAM, reader(run), { consumer_tag = "bench", arguments = { ["x-stream-offset"] = "first" } }))
end

local function stream_worker(run)
   mr.consumer { connection = mr.connect(run.url), queue = STREAM, prefetch = PREFETCH, dead_letter = false,
      stream = { offset = "first" }, handler = reader(run) }
end

-- As many handlers as there are messages, all waiting at once: what a waiting one takes.
local function suspended(run)
   local ch = assert(mr.connect "memory://":channel())
   assert(ch:queue_declare { queue = "bench" })
   local body, waiting = ("x"):rep(run.body), 0
   for _ = 1, run.messages do assert(ch:publish("", "bench", body)) end
   while assert(ch:queue_declare { queue = "bench", passive = true }).message_count < run.messages do mr.sleep(0.01) end
   collectgarbage()
   local before, span = rss_kib(), begin()
   mr.consumer { connection = ch.connection, queue = "bench", declare = false, dead_letter = false, prefetch = run.messages,
      handler = function(msg)
         waiting = waiting + 1
         sink = sink + #msg.body
         mr.sleep(2)
      end }
   while waiting < run.messages do mr.sleep(0.001) end
   local after = rss_kib()
   finish(run, span, run.messages, (',"kib":%d,"bytes_per_handler":%d'):format(after - before,
      (after - before) * 1024 / run.messages))
   mr.stop()
end

--- Measured up to channel.close-ok, so that the peer has taken every message.
local function publish(run)
   local conn, ch = open(run)
   local body, props = ("x"):rep(run.body), properties()
   local span = begin()
   for _ = 1, run.messages do
      assert(ch:publish_async("", "bench", body, props))
   end
   assert(ch:close())
   finish(run, span, run.messages)
   conn:close()
end

local function publish_confirm(run)
   local conn, ch = open(run)
   local body, props, waiting = ("x"):rep(run.body), properties(), {}
   assert(ch:confirm_select())
   local span = begin()
   for n = 0, run.messages - 1 do
      local slot = n % OUTSTANDING
      local oldest = waiting[slot]
      if oldest then assert(oldest:wait(WAIT)) end
      waiting[slot] = assert(ch:publish_async("", "bench", body, props))
   end
   assert(ch:wait_for_confirms(WAIT))
   assert(ch:close())
   finish(run, span, run.messages)
   conn:close()
end

--- Sorts the times (us) of a run, and prints each.
local function finish_trips(run, span, trips)
   local took, texts = stop(span), {}
   table.sort(trips)
   for i, trip in ipairs(trips) do texts[i] = ("%.1f"):format(trip) end
   finish(run, span, run.messages, (',"median_us":%.1f,"p99_us":%.1f,"trips_us":[%s]'):format(
      trips[math.floor(#trips / 2) + 1], trips[math.floor(#trips * 0.99) + 1], table.concat(texts, ",")), took)
end

--- One confirmed publish after another.
local function confirm_one(run)
   local conn, ch = open(run)
   local body, props, trips, span = ("x"):rep(run.body), properties(), {}, nil
   assert(ch:queue_declare { queue = "bench-moonrabbit-a", exclusive = true, auto_delete = true })
   assert(ch:confirm_select())
   for n = 1 - TRIP_WARM_UP, run.messages do
      if n == 1 then span = begin() end
      local start = wall_now()
      assert(ch:publish("", "bench-moonrabbit-a", body, props))
      if n >= 1 then trips[n] = (wall_now() - start) * 1e6 end
   end
   finish_trips(run, span, trips)
   conn:close()
end

--- Publishes to one queue, whose handler replies to another, whose handler starts the next trip.
local function round_trips(run)
   local conn, ch = open(run)
   local body, props, trips = ("x"):rep(run.body), properties(), {}
   local count, start, span = 0, 0, nil

   local function ask()
      start = wall_now()
      assert(ch:publish_async("", "bench-moonrabbit-a", body, props))
   end
   local function on_request(msg)
      assert(ch:publish_async("", "bench-moonrabbit-b", msg.body, props))
   end
   local function on_answer()
      count = count + 1
      if count > TRIP_WARM_UP then trips[#trips + 1] = (wall_now() - start) * 1e6 end
      if count == TRIP_WARM_UP then span = begin() end
      if #trips < run.messages then return ask() end
      finish_trips(run, span, trips)
      conn:close()
      mr.stop()
   end

   for queue, handler in pairs { ["bench-moonrabbit-a"] = on_request, ["bench-moonrabbit-b"] = on_answer } do
      assert(ch:queue_declare { queue = queue, exclusive = true, auto_delete = true })
      assert(ch:consume(queue, handler, { no_ack = true, consumer_tag = queue }))
   end
   ask()
end

--- Resident memory at every million messages; the growth counts from the first million on.
local function memory(run)
   local _, ch = open(run)
   local total, seen, span, samples = run.messages, 0, nil, {}
   assert(ch:qos { prefetch_count = PREFETCH })
   assert(ch:consume("bench", function(msg)
      if seen == 0 then span = begin() end
      seen = seen + 1
      sink = sink + #msg.body
      if seen % MEM_STEP == 0 then samples[#samples + 1] = rss_kib() end
      if seen == total then
         local highest = math.max(unpack(samples))
         finish(run, span, total - 1, string.format(',"rss_kib":[%s],"growth_kib":%d',
            table.concat(samples, ","), highest - samples[1]))
         mr.stop()
      end
   end, { consumer_tag = "bench" }))
end

--- Resident memory of one more connection that does nothing. MESSAGES is their number.
local function idle(run)
   local conns = {}
   local function connect()
      local conn = assert(mr.connect(run.url))
      assert(conn:connect())
      conns[#conns + 1] = conn
   end
   connect()                    -- what the first one brings is not per connection
   mr.sleep(0.5)
   collectgarbage()
   local before, span = rss_kib(), begin()
   for _ = 1, run.messages do connect() end
   mr.sleep(1)
   collectgarbage()
   local after = rss_kib()
   finish(run, span, run.messages, string.format(
      ',"rss_before_kib":%d,"rss_after_kib":%d,"kib_per_connection":%.2f',
      before, after, (after - before) / run.messages))
   for _, conn in ipairs(conns) do conn:close() end
end

local modes = {
   ["consume"] = consume,
   ["consume-noack"] = function(run) consume(run, true) end,
   ["publish"] = publish,
   ["publish-confirm"] = publish_confirm,
   ["rtt"] = round_trips,
   ["confirm-one"] = confirm_one,
   ["mem"] = memory,
   ["idle"] = idle,
   ["stream"] = read_stream,
   ["stream-fill"] = fill,
   ["stream-worker"] = stream_worker,
   ["consume-worker"] = worker,
   ["suspended"] = suspended,
}

local mode, port, body, messages, how = ...
local ca = os.getenv "BENCH_CA"
if not modes[mode] or not tonumber(messages) then
   error("usage: client_moonrabbit.lua MODE PORT BODY MESSAGES [view|busy]", 0)
end
if how == "busy" then mr.busy_poll(BUSY) end
modes[mode] {
   mode = mode,
   url = ca and ("amqps://guest:guest@localhost:%s/?ssl_options.ca_certs=%s"):format(port, ca)
      or "amqp://guest:guest@127.0.0.1:" .. port .. "/",
   body = tonumber(body),
   messages = tonumber(messages),
   by_view = how == "view",
}

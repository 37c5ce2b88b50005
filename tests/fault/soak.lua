-- soak: publishes with confirms and consumes with acks while faults strike an embedded broker, and keeps a ledger.
-- Run it with: moonrabbit run tests/fault/soak.lua SECONDS [SEED]
-- It exits with 0 when the ledger balances: no message that was confirmed is missing; none came twice but where the
-- broker said "redelivered", or where it was sent again because nobody knew what had become of it; every publish had
-- exactly one outcome; descriptors and memory did not grow.
-- SPDX-License-Identifier: MIT
local descriptors = require("descriptors").count
local mr = require "moonrabbit"

local seconds = tonumber((...)) or 60
local seed = tonumber((select(2, ...))) or os.time()
local PUBLISHERS, HANDLERS = 8, 20
local QUEUE = "soak"

-- Two streams of chance: what the tasks draw must not change which faults strike.
math.randomseed(seed)
local random = math.random
local last_fate = seed % 2147483646 + 1
local function fate(n) -- Lehmer's generator, with the constants of Park, Miller and Stockmeyer 1993
   last_fate = last_fate * 48271 % 2147483647
   return n and math.floor(last_fate / 2147483647 * n) + 1 or last_fate / 2147483647
end
local function between(a, b) return a + (b - a) * fate() end

local b = assert(mr.testing.broker { listen = "127.0.0.1:0" })
local began = mr.now()
local stopping, problems = false, {}

local function problem(form, ...)
   problems[#problems + 1] = form:format(...)
end

-- A task whose error counts.
local function spawn(fn, ...)
   local arguments = { ... }
   mr.spawn(function()
      local ok, why = xpcall(function() fn(unpack(arguments)) end, debug.traceback)
      if not ok then problem("a task failed: %s", why) end
   end)
end

local function wait_until(what, limit, condition)
   local deadline = mr.now() + limit
   while not condition() do
      if mr.now() > deadline then return problem("in vain waited %d s for: %s", limit, what) end
      mr.sleep(0.01)
   end
end

-- ---- what is looked at ----

local function resident() -- MiB
   collectgarbage()
   collectgarbage()
   local f = assert(io.open "/proc/self/statm")
   local pages = tonumber(f:read("*a"):match "%d+ (%d+)")
   f:close()
   return pages * 4096 / 1048576
end

-- ---- the ledger ----

local last_id = 0
local waiting = {}                 -- id -> "sent", "confirmed": those no consumer has seen
local again = {}                   -- id -> true: its outcome was unknown, it was sent again
local tickets = {}                 -- those whose outcome is awaited
local count = setmetatable({}, { __index = function() return 0 end })

local function add(what) count[what] = count[what] + 1 end

local function confirmed(id)
   add "confirmed"
   if waiting[id] then waiting[id] = "confirmed" end
end

local function seen(id, is_redelivered)
   if id < 1 or id > last_id then return problem("message %d was never sent", id) end
   if waiting[id] then
      waiting[id] = nil
      return add "consumed"
   end
   if is_redelivered then return add "came twice, redelivered" end
   if again[id] then return add "came twice, sent twice" end
   problem("message %d came twice, and nobody said so", id)
end

-- ---- the clients ----

local function connect(name)
   return mr.connect {
      url = ("amqp://127.0.0.1:%d"):format(b.port), name = name, heartbeat = 1, connect_timeout = 2, socket_timeout = 2,
      transport_options = { interval_start = 0, interval_step = 1, interval_max = 1 },
      on_event = function(ev)
         if ev.type == "lost" and not ev.recovering then problem("%s was lost for good: %s", name, ev.err) end
         if ev.type == "lost" or ev.type == "recovered" then add(name .. " " .. ev.type) end
         if ev.type == "recovered" and #ev.failed > 0 then problem("%s came back without %d", name, #ev.failed) end
         if ev.type == "channel_closed" then problem("%s: a channel was closed: %s", name, ev.err) end
      end,
   }
end

-- Mostly small, now and then many frames long, so that a cut may hit the middle.
local function body_of(id)
   local size = random() < 0.02 and random(100000, 400000) or random(0, 2000)
   return ("%d %d "):format(id, size) .. ("m"):rep(size)
end

-- One attempt; true when it was confirmed.
local function attempt(ch, id, body)
   add "publishes"
   local t, err = ch:publish_async("", QUEUE, body, { timeout = 5, mandatory = true })
   if not t then
      add("not sent: " .. err.kind)
      return false
   end
   tickets[t] = true
   local ok, why = t:wait(30)
   if t.state == "waiting" then problem("publish of %d has no outcome", id) end
   local state = t.state
   add("outcome " .. state)
   if (state == "acked") ~= (ok == true) then problem("publish of %d: %s and %s", id, state, tostring(why)) end
   tickets[t] = nil
   return ok
end

local function publisher(ch)
   while not stopping do
      last_id = last_id + 1
      local id = last_id
      local body = body_of(id)
      waiting[id] = "sent"
      while not attempt(ch, id, body) do
         again[id] = true
         mr.sleep(0.02)
      end
      confirmed(id)
      mr.sleep(0.004)
   end
   add "publishers done"
end

local function handler(msg)
   local id, size, rest = msg.body:match "^(%d+) (%d+) (m*)$"
   if not id or #rest ~= tonumber(size) then return problem("a damaged body: %q", msg.body:sub(1, 40)) end
   seen(tonumber(id), msg.redelivered)
   if random() < 0.05 then mr.sleep(random() / 2) end -- so that a loss finds messages at work
end

-- ---- the faults: each begins, lasts, ends ----

local faults = {
   { "the connections are cut", 0, function() b:drop() end },
   { "each is cut after some more bytes", 1, function() b:cut_after(fate(60000)) end, function() b:cut_after(nil) end },
   { "the network is silent", 4, function() b:silent() end, function() b:silent(false) end },
   { "bytes are late", 2, function() b:delay(between(0.01, 0.3)) end, function() b:delay(0) end },
   { "the broker closes the connections", 0, function() b:close_connections(fate() < 0.5 and 320 or 541, "SOAK") end },
   { "publishers are blocked", 3, function() b:block() end, function() b:block(false) end },
   { "logins are refused", 2, function()
      b:refuse_logins()
      b:drop()
   end, function() b:refuse_logins(false) end },
   { "deliveries pause", 2, function() b:pause_deliveries() end, function() b:pause_deliveries(false) end },
}

-- As cards from a deck: in any order, and each once before one comes again.
local deck = {}
local function draw()
   if #deck == 0 then
      for i, fault in ipairs(faults) do table.insert(deck, fate(i), fault) end
   end
   return table.remove(deck)
end

local function strike()
   local fault = draw()
   local lasts = fault[2] > 0 and between(fault[2] / 4, fault[2]) or 0
   print(("%7.1f s  %s%s"):format(mr.now() - began, fault[1], lasts > 0 and (" for %.1f s"):format(lasts) or ""))
   add "faults"
   fault[3]()
   if lasts > 0 then mr.sleep(lasts) end
   if fault[4] then fault[4]() end
end

-- ---- the run ----

io.stdout:setvbuf "line"
print(("soak: %g s, seed %d"):format(seconds, seed))
local out, inn = connect "publisher", connect "consumer"
local ch = assert(inn:channel())
assert(ch:queue_declare { queue = QUEUE, durable = true })
assert(ch:qos { prefetch_count = 50 })
for i = 1, 2 do
   local other = i == 1 and ch or assert(inn:channel())
   assert(other:qos { prefetch_count = 50 })
   assert(other:consume(QUEUE, handler, { concurrency = HANDLERS }))
end
for i = 1, PUBLISHERS do
   local mine = assert(out:channel())
   assert(mine:confirm_select())
   spawn(publisher, mine, i)
end

mr.sleep(math.max(1, seconds / 10)) -- pools and tables grow to their size
local fds, memory = descriptors(), resident()
local most_pause = math.min(10, math.max(1.5, seconds / 10))
local half_way = memory
while mr.now() - began < seconds do
   mr.sleep(between(1, most_pause))
   strike()
   if half_way == memory and mr.now() - began > seconds / 2 then half_way = resident() end
end
print(("%7.1f s  no more faults"):format(mr.now() - began))
stopping = true
wait_until("the publishers", 60, function() return count["publishers done"] == PUBLISHERS end)
wait_until("every message", 60, function() return next(waiting) == nil end)
wait_until("every settlement", 30, function()
   local q = b:queue(QUEUE)
   return q.messages_ready + q.messages_unacknowledged == 0
end)

for id, state in pairs(waiting) do
   problem("message %d is missing (%s)", id, state)
   if state == "confirmed" then add "missing though confirmed" end
end
for t in pairs(tickets) do problem("%s has no outcome", tostring(t)) end
local outcomes = 0
for what, n in pairs(count) do
   if what:find "^outcome " or what:find "^not sent" then outcomes = outcomes + n end
end
if outcomes ~= count.publishes then problem("%d publishes, %d outcomes", count.publishes, outcomes) end
if count.confirmed ~= last_id then problem("%d messages, %d confirmed", last_id, count.confirmed) end
if count.consumed ~= last_id then problem("%d messages, %d consumed", last_id, count.consumed) end
wait_until(("%d descriptors again, not %d"):format(fds, descriptors()), 10, function() return descriptors() <= fds end)
local now = resident()
-- A sanitizer keeps what was freed.
local is_plain = not io.open("/proc/self/maps"):read("*a"):find "lib[at]san"
if is_plain and now > memory * 1.3 + 24 then problem("the memory grew from %.1f to %.1f MiB", memory, now) end
if is_plain and seconds >= 60 and now > half_way * 1.1 + 8 then
   problem("the memory still grew from %.1f to %.1f MiB", half_way, now)
end

count.messages = last_id
local names = {}
for what in pairs(count) do names[#names + 1] = what end
table.sort(names)
print ""
for _, what in ipairs(names) do print(("%-28s %9d"):format(what, count[what])) end
print(("%-28s %9d -> %d"):format("descriptors", fds, descriptors()))
print(("%-28s %9.1f -> %.1f -> %.1f"):format("resident MiB", memory, half_way, now))
for i = 1, math.min(#problems, 20) do print("PROBLEM: " .. problems[i]) end
print(#problems == 0 and "the ledger balances" or ("%d problems; seed %d"):format(#problems, seed))

out:close()
inn:close()
if #problems > 0 then error("the ledger does not balance", 0) end

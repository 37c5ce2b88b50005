-- chaos: publishers with confirms, and consumers with retries and dead letters, on three nodes that are hurt one after the other.
-- Run it with: sh tests/support/cluster.sh start DIR; . DIR/env; MR_CLUSTER_SH=tests/support/cluster.sh
--    moonrabbit run tests/cluster/chaos.lua SECONDS [SEED [FAULTS]]        (FAULTS: as kill,part; all without)
-- A ledger says at the end whether something confirmed is missing, and why messages were handled again.
-- SPDX-License-Identifier: MIT
package.path = "tests/cluster/?.lua;tests/support/?.lua;" .. package.path
local mr = require "moonrabbit"
local cluster = require "cluster"
local gaps = require "gaps"
local ledger = require "ledger"

local SECONDS, SEED = tonumber(mr.args[1]) or 60, tonumber(mr.args[2]) or os.time()
local EACH = 2      -- publishers and consumers for each queue
local PAUSE = 0.05  -- seconds between two publishes of one publisher
local AFTER = 30    -- seconds after a fault that still count as its time
-- Seconds for the last messages: by default RabbitMQ offers a dead letter that was refused again after 3 to 6 minutes.
local END = 420

local kinds = {}
for kind in (mr.args[3] or "kill,freeze,part,drain"):gmatch "%a+" do kinds[#kinds + 1] = kind end

-- Which faults strike must not depend on what the tasks draw.
local state = SEED % 2147483646 + 1
local function fate(n) -- Lehmer's generator, with the constants of Park, Miller and Stockmeyer 1993
   state = state * 48271 % 2147483647
   return n and math.floor(state / 2147483647 * n) + 1 or state / 2147483647
end

math.randomseed(SEED)
io.stdout:setvbuf "line"
print(("%g s, seed %d, %s"):format(SECONDS, SEED, table.concat(kinds, ", ")))

local began, is_over, publishing = mr.now(), false, 0
local fault_until = -math.huge -- when the last fault ended, and some time for what follows from it
ledger.set_faults(function(since) return fault_until >= since end)

local function say(form, ...) print(("%7.1f " .. form):format(mr.now() - began, ...)) end

-- Each connection has an order of hosts of its own, as without hosts = "in_order".
local function connect(name)
   local options = cluster.options(nil, { name = name })
   options.hosts = nil
   return mr.connect(options)
end

-- ---- who sends, who handles ----

local queues = {
   quorum = { queue = cluster.name "chaos-quorum", arguments = { ["x-queue-type"] = "quorum" }, durable = true },
   classic = { queue = cluster.name "chaos-classic", durable = true },
}

local last_number = 0

local function plan()
   local chance = math.random()
   if chance < 0.8 then return 0 elseif chance < 0.95 then return math.random(3) end
   return ledger.ATTEMPTS
end

-- A classic queue is missing while its node is down, and the channel nacks while a leader is elected: all is tried again.
local function policy(ctx) return math.min(0.2 * ctx.attempt, 2) end

local function publisher(kind, n)
   local pub = mr.publisher { connection = connect(("publisher %d, %s"):format(n, kind)), routing_key = queues[kind].queue,
      timeout = 180, retry = kind == "classic" and policy or nil }
   publishing = publishing + 1
   mr.spawn(function()
      while not is_over do
         last_number = last_number + 1
         local number = last_number
         local ticket = assert(pub:publish_async(ledger.new(number, kind, plan())))
         mr.spawn(function()
            local ok, err = ticket:wait()
            ledger.told(number, not ok and err or nil, ticket.job.attempt)
            if ok then gaps.mark("confirms, " .. kind) end
         end)
         mr.sleep(PAUSE)
      end
      publishing = publishing - 1
   end)
end

local workers = {}

local function consumer(kind, n)
   local conn = connect(("consumer %d, %s"):format(n, kind))
   local function handler(msg)
      local fails, number = ledger.tried(msg)
      gaps.mark("deliveries, " .. kind)
      mr.sleep(0.002)
      if msg.attempt <= fails then return nil, "as planned" end
      ledger.done(number)
   end
   workers[#workers + 1] = mr.consumer { connection = conn, queue = queues[kind], companions = { queue_type = "quorum" },
      prefetch = 50, handler = handler, retry = mr.retry.exponential { first = 1, factor = 3, jitter = false, attempts = ledger.ATTEMPTS } }
   return conn
end

-- Whoever reads the dead letters.
local function reader(kind)
   local conn = connect("dead letters, " .. kind)
   workers[#workers + 1] = mr.consumer { connection = conn, queue = queues[kind].queue .. ".dead", declare = false, retry = false,
      dead_letter = false, prefetch = 50, handler = ledger.buried }
end

-- ---- the faults ----

local LASTS = { kill = 12, freeze = 20, part = 20, drain = 12 } -- seconds at most
local CURES = 5 -- tries
local struck = {}

-- A command may fail where the node is too busy, or hangs: rabbitmq-upgrade drain does so at times.
local function try(what, fn, ...)
   local ok, why = pcall(fn, ...)
   if ok then return true end
   ledger.add("failed: " .. what)
   say("%s failed: %s", what, tostring(why))
end

local function strike()
   local kind, node = kinds[fate(#kinds)], fate(3)
   local seconds = 2 + fate() * (LASTS[kind] - 2)
   gaps.during(kind)
   fault_until = math.huge
   say("%s node %d for %.1f s", kind, node, seconds)
   try(kind, cluster.hurt, kind, node)
   mr.sleep(seconds)
   local tries = 0
   while not try("cure of " .. kind, cluster.cure, node) do
      tries = tries + 1
      if tries == CURES then error("node " .. node .. " stays away", 0) end
   end
   fault_until = mr.now() + AFTER
   struck[kind] = (struck[kind] or 0) + 1
   mr.sleep(3 + fate() * 5)
   local worst = gaps.during "none"
   say("%s over; longest gaps: confirms %.1f (quorum) %.1f (classic), deliveries %.1f, %.1f; %d open, %.0f KiB of Lua", kind,
      worst["confirms, quorum"] or 0, worst["confirms, classic"] or 0, worst["deliveries, quorum"] or 0,
      worst["deliveries, classic"] or 0, ledger.open, collectgarbage "count")
end

local function sweep()
   while not is_over do
      mr.sleep(10)
      ledger.sweep()
   end
end

-- ---- the run ----

local function left()
   local text = cluster.run("ctl", 1, "list_queues --local name messages 2>/dev/null") ..
      cluster.run("ctl", 2, "list_queues --local name messages 2>/dev/null") ..
      cluster.run("ctl", 3, "list_queues --local name messages 2>/dev/null")
   local list = {}
   for name, n in text:gmatch "(chaos%S+)%s+(%d+)" do
      if n ~= "0" then list[#list + 1] = name .. " " .. n end
   end
   return table.concat(list, ", ")
end

local function wait_until(what, seconds, condition)
   local ok = pcall(cluster.eventually, what, condition, seconds)
   if not ok then ledger.problem("in vain waited %d s for %s", seconds, what) end
end

for kind, declaration in pairs(queues) do
   local conn = cluster.connect { fate(3) } -- a classic queue stays where it is declared
   assert(assert(conn:channel()):queue_declare(declaration))
   conn:close()
   for n = 1, EACH do consumer(kind, n) end
end
for _, w in ipairs(workers) do assert(w:wait(30)) end
for kind in pairs(queues) do
   reader(kind)
   for n = 1, EACH do publisher(kind, n + 1) end
end
mr.spawn(sweep)
mr.sleep(2)
local failed, why = pcall(function() while mr.now() - began < SECONDS do strike() end end)
if not failed then ledger.problem("a fault failed: %s", tostring(why)) end
is_over = true
gaps.rest()
wait_until("the publishers", END, function() return publishing == 0 end)
wait_until("the last messages", END, function() return ledger.open == 0 end)
ledger.close()
say("left at the broker: %s", left())
for _, w in ipairs(workers) do w:cancel() end
if #ledger.problems == 0 then
   local ch = assert(connect "the end":channel())
   for _, declaration in pairs(queues) do
      for _, more in ipairs { "", ".dead", ".retry-exit" } do ch:queue_delete { queue = declaration.queue .. more } end
   end
end
for kind, n in pairs(struck) do ledger.count["fault: " .. kind] = n end
ledger.print()
gaps.print()
cluster.close_all()
print(#ledger.problems == 0 and "the ledger holds" or ("%d problems; seed %d"):format(#ledger.problems, SEED))
if #ledger.problems > 0 then error("the ledger does not hold", 0) end
mr.stop()

-- redis_worker: one of the processes of redis_ledger: it publishes with confirms, and consumes with retries, requeues, rejects and delays.
-- Run by it: moonrabbit run tests/model/redis_worker.lua URL FOLDER NAME
-- All that it does goes to FOLDER/ledger.NAME, a line each, before it acks: a kill loses no line. FOLDER/phase tells it whether to publish,
-- FOLDER/driver is the process without which it ends.
-- SPDX-License-Identifier: MIT
package.path = "tests/support/?.lua;" .. package.path
local mr = require "moonrabbit"
local files = require "files"

local url, folder, name = mr.args[1], mr.args[2], mr.args[3]
local PLANS = { "ok", "ok", "ok", "ok", "ok", "ok", "ok", "retry", "retry", "requeue", "dead", "slow" }
local PRIORITIES = { 0, 0, 3, 6, 9 }
local SLOW = 7 -- seconds: more than the visibility timeout

local book = assert(io.open(folder .. "/ledger." .. name, "a"))
book:setvbuf "line"
local function note(kind, id, more) book:write(("%.3f %s %s %s\n"):format(mr.now(), kind, id or "-", more or "")) end

local publishes, open, last = false, 0, 0
local running = 0 -- handlers
local driver = files.read(folder .. "/driver")
mr.spawn(function()
   while true do
      local status = io.open("/proc/" .. driver .. "/status")
      if not status then os.exit(1) end
      status:close()
      publishes = files.read(folder .. "/phase") == "publish"
      if not publishes and open == 0 and running == 0 then note "idle" end
      mr.sleep(0.2)
   end
end)

local conn = mr.connect { url = url, name = name }

-- ---- publishing ----

local function draw()
   last = last + 1
   local id = ("%s-%d"):format(name, last)
   local plan = PLANS[math.random(#PLANS)]
   local body = ('{"id": "%s", "plan": "%s", "fails": %d}'):format(id, plan, math.random(3))
   return id, body, { content_type = "application/json", correlation_id = id, priority = PRIORITIES[math.random(#PRIORITIES)] }
end

-- What a publish has come to: only what was confirmed may not be lost.
local function told(id, ok, attempts, err)
   open = open - 1
   note(ok and "confirmed" or "failed", id, ok and attempts or tostring(err and err.kind))
end

local function by_publisher(queue)
   local pub = mr.publisher { connection = conn, routing_key = queue, timeout = 120 }
   while true do
      for _ = 1, publishes and math.random(8) or 0 do
         local id, body, props = draw()
         if math.random() < 0.1 then props.delay = math.random() * 3 end
         note("published", id)
         open = open + 1
         local ticket = assert(pub:publish_async(body, props))
         mr.spawn(function()
            local ok, err = ticket:wait()
            told(id, ok, ticket.job.attempt, err)
         end)
      end
      mr.sleep(math.random() * 0.8)
   end
end

local function by_channel(queue)
   local ch
   while true do
      if not ch or not ch.is_open then
         ch = conn:channel()
         if ch and not ch:confirm_select() then ch = nil end
      end
      for _ = 1, ch and publishes and math.random(4) or 0 do
         local id, body, props = draw()
         note("published", id)
         open = open + 1
         local ok, err = ch:publish("", queue, body, props)
         told(id, ok, 1, err)
      end
      mr.sleep(math.random() * 0.8)
   end
end

-- ---- consuming ----

local function work(m)
   if m.plan ~= "slow" then return end
   running = running + 1
   mr.sleep(SLOW)
   running = running - 1
end

-- What is to become of a message: nothing, or what a handler of mr.consumer returns.
local function decide(msg)
   local m = msg:decode()
   note("tried", m.id, m.plan)
   work(m)
   if m.plan == "requeue" and not msg.redelivered then return "requeue" end
   if m.plan == "dead" then return "dead_letter", "as planned" end
   return nil, m
end

local function by_worker()
   local policy = mr.retry.exponential { first = 0.3, factor = 2, jitter = false, attempts = 5 }
   local worker = mr.consumer { connection = conn, queue = "led.work", prefetch = 20, retry = policy, handler = function(msg)
      local what, m = decide(msg)
      if what then return what, m end
      if m.plan == "retry" and msg.attempt <= m.fails then return nil, "as planned" end
      note("handled", m.id)
   end }
   while not worker:wait() do mr.sleep(0.1) end -- it declares the queue of the dead letters
   mr.consumer { connection = conn, queue = "led.work.dead", declare = false, retry = false, dead_letter = false, prefetch = 20,
      handler = function(msg) note("dead", msg:decode().id) end }
end

local function consume_by(ch)
   assert(ch:qos { prefetch_count = 20 })
   assert(ch:queue_declare { queue = "led.raw.dead", durable = true })
   assert(ch:queue_declare { queue = "led.raw", durable = true,
      arguments = { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "led.raw.dead" } })
   assert(ch:consume("led.raw", function(msg)
      local what, m = decide(msg)
      if what == "requeue" then return msg:nack { requeue = true } end
      if what == "dead_letter" then return msg:reject { requeue = false } end
      note("handled", m.id)
      msg:ack()
   end))
   assert(ch:consume("led.raw.dead", function(msg)
      note("dead", msg:decode().id)
      msg:ack()
   end))
end

local function by_hand()
   while true do
      local ch = conn:channel()
      if ch then
         pcall(consume_by, ch) -- a loss in between: the next channel begins again
         while ch.is_open do mr.sleep(0.05) end
      end
      mr.sleep(0.05)
   end
end

mr.spawn(by_worker)
mr.spawn(by_hand)
mr.spawn(by_publisher, "led.work")
mr.spawn(by_publisher, "led.raw")
mr.spawn(by_channel, "led.work")
mr.run()

-- settlement: each delivery is settled exactly once, by the consumer that got it.
-- Run it with: moonrabbit run tests/model/settlement.lua SECONDS [SEED]        (MODEL_URL: see model.lua)
-- Consumers begin and end in every way, several at once on a channel: consume and cancel with tags of ours and of the
-- broker's, queues that are deleted, channels that close, connections that are cut, direct reply-to, get, recover. What
-- they get is acked, rejected, requeued and retried; what becomes of each message is compared with what was told.
-- SPDX-License-Identifier: MIT
package.path = "tests/model/?.lua;" .. package.path
local mr = require "moonrabbit"
local model = require "model"
local add, problem, random = model.add, model.problem, math.random

local tag = ("settlement-%d-%d"):format(os.time(), model.seed)
local REPLY_TO = "amq.rabbitmq.reply-to"
local QUEUES = 4
local stopping = false
local busy = 0                     -- drivers and handlers that have not ended

-- ---- the messages ----

local messages, last_id = {}, 0    -- id -> {queue, state: "waiting", "done"; may_vanish; done_by}
local deleted = {}                 -- queue -> the last id when it was deleted: it and those before may have gone with it
local deliveries = {}              -- channel, epoch and tag of each delivery that was seen

local function name_of(i) return tag .. "-" .. i end

-- A message came that was settled before. Either the channel where that was is gone, so that it did not count, or the one it
-- came to: the broker had given that up, and the delivery was on its way since before the message was settled elsewhere.
local function doubt(m, ch, is_redelivered)
   m.doubts = m.doubts or {}
   table.insert(m.doubts, { by = m.done_by, to = { ch = ch, epoch = ch.epoch }, is_redelivered = is_redelivered })
end

-- A delivery, checked: to a consumer of that queue, with that tag, and for the first time.
local function received(msg, queue, ch, consumer_tag)
   local id = tonumber(msg.body)
   local m = id and messages[id]
   if not m then return problem("queue %s gave %q", queue, msg.body) end
   if m.queue ~= queue then problem("message %d of %s came to a consumer of %s", id, m.queue, queue) end
   if consumer_tag and msg.consumer_tag ~= consumer_tag then
      problem("a delivery for %s came to the consumer %s", msg.consumer_tag, consumer_tag)
   end
   if not msg.is_live then -- its channel went before its turn came: what is done here counts for nothing
      add "stale when its turn came"
      return nil
   end
   local key = ("%s %d %s"):format(tostring(ch.epoch), ch.number, tostring(msg.delivery_tag))
   if ch.epoch ~= 0 then
      if deliveries[key] then problem("delivery %s came twice", key) end
      deliveries[key] = true
   end
   add "deliveries"
   if m.state == "done" then -- settled before: only the end of its channel may bring it back
      doubt(m, ch, msg.redelivered)
      add "came again"
   end
   m.state = "waiting"
   return m
end

local function is_error(err, ...)
   for _, kind in ipairs { ... } do if err.kind == kind then return true end end
   return false
end

-- The second word on a delivery is refused.
local function settle_again(msg)
   local ok, err = msg:ack()
   if ok or not is_error(err, "settled", "stale") then problem("settled twice: %s", tostring(err)) end
   add "refused: second settle"
end

-- Settles a delivery in one of all ways; what a handler returns.
local function settle(m, msg, ch)
   local epoch, way = ch.epoch, random(7)
   if way == 1 then error("the handler fails: requeue", 0) end
   if way == 2 or way == 3 then -- by its return, unless it was taken back meanwhile
      if msg.is_live then m.state, m.done_by = "done", { ch = ch, epoch = epoch, way = "return" } end
      add(msg.is_live and "return: accepted" or "return: stale")
      return
   end
   local ok, err
   if way == 4 then ok, err = msg:ack()
   elseif way == 5 then ok, err = msg:nack { requeue = random() < 0.7 }
   elseif way == 6 then ok, err = msg:reject { requeue = random() < 0.7 }
   else
      m.may_double = true -- the copy is there before what it is of is acked
      ok, err = msg:retry(0.05)
   end
   add(("%s: %s"):format(({ nil, nil, nil, "ack", "nack", "reject", "retry" })[way], ok and "accepted" or err.kind))
   if not ok then
      if way < 7 and not is_error(err, "stale") then problem("refused: %s", tostring(err)) end
      return
   end
   if way == 4 then m.state, m.done_by = "done", { ch = ch, epoch = epoch, way = "ack" }
   elseif way < 7 then m.may_be_dropped = true end -- of those that are dropped nothing more is heard
   settle_again(msg)
end

local function handler_of(queue, ch, box)
   return function(msg)
      busy = busy + 1
      local m = received(msg, queue, ch, box.tag)
      if random() < 0.3 then mr.sleep(random() / 20) end
      local ok, why = pcall(settle, m or {}, msg, ch)
      busy = busy - 1
      if not ok and not tostring(why):find "^the handler fails" then problem("%s", tostring(why)) end
      if not ok then error(why, 0) end
   end
end

-- ---- those who consume ----

local consumers = 0
-- Begins a consumer and ends it after a while: by a cancel, or it is left to what else happens.
local function consume(ch)
   local queue = name_of(random(QUEUES))
   local box = {}
   consumers = consumers + 1
   if random() < 0.5 then box.tag = ("tag-%d"):format(consumers) end
   local consumer, err = ch:consume(queue, handler_of(queue, ch, box), { consumer_tag = box.tag, concurrency = random(5) })
   if not consumer then
      if err.kind == "precondition_failed" then problem("not begun: %s", tostring(err)) end
      return add("not begun: " .. err.kind)
   end
   if not box.tag then box.tag = consumer.tag end
   add "consumers"
   mr.sleep(random() / 5)
   if random() < 0.8 then
      consumer:cancel()
      add "cancels"
   end
end

local function get(ch)
   local queue = name_of(random(QUEUES))
   local msg = ch:get(queue)
   if not msg then return end
   add "gets"
   local m = received(msg, queue, ch)
   local ok = pcall(settle, m or {}, msg, ch)
   if not ok or msg.is_live then -- what no handler settles is ours to settle
      if msg:nack { requeue = true } and m then m.state = "waiting" end
   end
end

-- Asks and is answered on the channel that consumes queues, too.
local function ask(state)
   local ch = state.ch
   if state.is_asking then return end
   state.is_asking = true
   local asked, answered = {}, 0
   local consumer = ch:consume(REPLY_TO, function(msg)
      if not asked[msg.body] then problem("an answer that nobody asked for: %q", msg.body) end
      answered = answered + 1
   end, { no_ack = true, consumer_tag = random() < 0.5 and "replies" or nil })
   if consumer then
      for i = 1, 3 do
         local word = ("%s-%d-%d"):format(tostring(state), consumers, i)
         asked[word] = true
         ch:publish_async("", tag .. "-asked", word, { reply_to = REPLY_TO })
      end
      local deadline = mr.now() + 0.5
      while answered < 3 and mr.now() < deadline and ch.is_open do mr.sleep(0.005) end
      add("answers", answered)
      consumer:cancel()
   end
   state.is_asking = false
end

local function open(state)
   local ch = state.conn:channel()
   if not ch then return end
   if ch:qos { prefetch_count = 20 } then state.ch = ch end
end

local function act(state)
   local ch = state.ch
   if not ch or not ch.handle then return open(state) end
   local draw = random()
   if draw < 0.6 then consume(ch)
   elseif draw < 0.8 then get(ch)
   elseif draw < 0.9 then ask(state)
   elseif draw < 0.95 then
      if not state.may_close then return end
      if ch:recover { requeue = true } then add "recovers" end
   elseif not state.is_asking and state.may_close then
      ch:close()
      state.ch = nil
      add "closes"
   end
end

local function drive(state)
   busy = busy + 1
   while not stopping do
      act(state)
      mr.sleep(random() / 50)
   end
   busy = busy - 1
end

-- ---- what nothing cuts: the writer, the answers, and who deletes queues ----

local straight = model.connect("straight", false)
local admin = assert(straight:channel())
assert(admin:confirm_select())
local function declare(i) assert(admin:queue_declare { queue = name_of(i), durable = true }) end
for i = 1, QUEUES do declare(i) end
assert(admin:queue_declare { queue = tag .. "-asked" })

local function write()
   while not stopping do
      local out = {}
      for _ = 1, random(20) do
         last_id = last_id + 1
         local queue = name_of(random(QUEUES))
         messages[last_id] = { queue = queue, state = "waiting" }
         out[last_id] = assert(admin:publish_async("", queue, tostring(last_id), { mandatory = true, timeout = 60 }))
      end
      for id, t in pairs(out) do
         if not t:wait(60) then messages[id].may_vanish = true end
      end
      mr.sleep(random() / 20)
   end
end

local function delete_queues()
   while not stopping do
      mr.sleep(0.5 + random())
      local i = random(QUEUES)
      local ok = admin:queue_delete { queue = name_of(i) }
      if not ok then problem "a queue was not deleted" end
      deleted[name_of(i)] = last_id
      if random() < 0.5 then mr.sleep(random() / 20) end
      declare(i)
      add "deleted queues"
   end
end

-- ---- the run ----

local began = mr.now()
local answering = assert(straight:channel())
assert(answering:consume(tag .. "-asked", function(msg) answering:publish_async("", msg.reply_to or msg.properties.reply_to, msg.body) end))
model.spawn(write)
model.spawn(delete_queues)
local states = {}
for i = 1, 4 do
   local conn = i <= 2 and straight or model.connect("cut" .. i, true)
   states[i] = { conn = conn, may_close = i % 2 == 0 }
   for _ = 1, 3 do model.spawn(drive, states[i]) end
end

model.strike(began)
stopping = true
model.wait_until("the drivers and handlers", 60, function() return busy == 0 end)
for _, state in ipairs(states) do
   for _, consumer in pairs(state.ch and state.ch.consumers or {}) do consumer:cancel() end
end
model.wait_until("the handlers", 30, function() return busy == 0 end)
mr.sleep(1) -- what waits for its next try is back in its queue

-- The channels are still open: what comes into no queue now was never settled, or is gone.
local left = assert(straight:channel())
local function is_missing(id, m)
   local may_vanish = m.may_vanish or id <= (deleted[m.queue] or 0)
   return m.state ~= "done" and not m.is_left and not may_vanish and not m.may_be_dropped
end
local function is_any_missing()
   for id, m in pairs(messages) do if is_missing(id, m) then return true end end
   return false
end
local function take_left(queue)
   local msg = left:get(queue, { no_ack = true })
   if not msg then return false end
   local m = messages[tonumber(msg.body)]
   if m.state == "done" then doubt(m, left, msg.redelivered) end
   m.is_left = true
   add "left in a queue"
   return true
end
local quiet_since = mr.now()
while mr.now() - quiet_since < (is_any_missing() and 20 or 0.5) do -- a busy broker needs its time to give back
   for i = 1, QUEUES do
      while take_left(name_of(i)) do quiet_since = mr.now() end
   end
   mr.sleep(0.05)
end

local function is_there(by) return by.ch.handle and by.ch.epoch == by.epoch and by.epoch ~= 0 end
local function judge(id, d)
   if not is_there(d.to) then return end
   if not d.is_redelivered then problem("message %d came again after it was settled, as new", id) end
   if is_there(d.by) then
      problem("message %d came again though it was settled by %s on a channel that is still there", id, d.by.way)
   end
end
for id, m in pairs(messages) do
   if is_missing(id, m) then problem("message %d of %s is missing", id, m.queue) end
   for _, d in ipairs(not m.may_double and m.doubts or {}) do judge(id, d) end
   add "messages"
end
for i = 1, QUEUES do assert(left:queue_delete { queue = name_of(i) }) end
assert(left:queue_delete { queue = tag .. "-asked" })
model.finish "the settlement"
mr.stop()

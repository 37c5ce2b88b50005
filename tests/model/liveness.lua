-- liveness: no interleaving of large bodies, waits and publishes of handlers stops the runtime.
-- Run it with: moonrabbit run tests/model/liveness.lua SECONDS [SEED]        (MODEL_URL: see model.lua)
-- Handlers on several connections wait, compute, publish on the channel that they consume by, beside it and elsewhere,
-- ask by remote calls, get, loop over messages, and begin and end consumers, while messages of up to 20 MiB come in: with
-- the library's own prefetch, with none, with small ones, without acks, and by mr.consumer. Whatever one waits for must end
-- within 5 s, the host's own computing left out; each queue must go on; and each message must be handled, whole and once.
-- SPDX-License-Identifier: MIT
package.path = "tests/model/?.lua;" .. package.path
local mr = require "moonrabbit"
local model = require "model"
local parcels = require "parcels"
local patience = require "patience"
local add, problem, random = model.add, model.problem, math.random
local must, within = patience.must, patience.within

local CONNECTIONS = 3
local tag = ("liveness-%d-%d"):format(os.time(), model.seed)

local stopping, is_over = false, false
local busy = 0                     -- handlers and sources at work
local places = {}                  -- connection, channels, queues
local hot                          -- the place that most messages go to for now, nil: any

-- ---- the messages ----

-- The queue for a message to a place: what its handlers have, or what they look for in other ways.
local function queue_of(place)
   local draw = random()
   if draw < 0.3 then return place.queue end
   if draw < 0.55 then return place.flooded end
   if draw < 0.75 then return place.jobs end
   if draw < 0.95 then return place.spare end
   return place.loose
end

local function is_loose(queue) return queue:find "loose$" ~= nil end

-- Publishes by a channel, which may be in confirm mode or not.
local function publish(place, ch, way)
   local queue = queue_of(hot and random() < 0.5 and hot or place)
   local parcel, body = parcels.new(queue, way, is_loose(queue))
   if not parcel then return end
   if not must("publishes " .. way, parcels.name(parcel), ch.publish, ch, "", queue, body,
      { message_id = tostring(parcel.number), timeout = 20 }) then parcels.done(parcel) end
end

-- Several at once, and then the wait for the last one's confirm.
local function publish_many(place, ch)
   local ticket, name
   for _ = 1, random(5) do
      local queue = queue_of(place)
      local parcel, body = parcels.new(queue, "in a row", is_loose(queue))
      if not parcel then break end
      name = parcels.name(parcel)
      ticket = must("publishes in a row", name, ch.publish_async, ch, "", queue, body,
         { message_id = tostring(parcel.number), timeout = 20 })
      if not ticket then parcels.done(parcel) end
   end
   if type(ticket) == "table" then must("confirms of a row", name, ticket.wait, ticket, 20) end
end

local function other(place)
   return places[(place.number + random(CONNECTIONS - 1) - 1) % CONNECTIONS + 1]
end

-- ---- what a handler does ----

-- A message that came to something within a handler.
local function take(msg, queue, settle)
   local parcel = parcels.came(msg, queue)
   if random() < 0.3 then mr.sleep(random() * 0.01) end
   if settle then must("acks", queue, msg.ack, msg) end
   parcels.done(parcel)
end

local function get(place, ch)
   local no_ack = random() < 0.5
   local msg, err = within("gets", place.spare, ch.get, ch, place.spare, { no_ack = no_ack, timeout = 20 })
   if msg then
      add "gets with a message"
      take(msg, place.spare, not no_ack)
   elseif err.kind ~= "empty" then
      problem("a get of %s: %s", place.spare, tostring(err))
   end
end

local function consume(place, ch)
   local queue = random() < 0.3 and place.loose or place.spare
   local came = mr.event()
   local consumer = must("consumes", queue, ch.consume, ch, queue, function(msg)
      take(msg, queue)
      add "consumed within"
      came:set(true)
   end, { no_ack = is_loose(queue), timeout = 20 })
   if not consumer then return end
   within("waits for a first message", queue, came.wait, came, random() * 0.05)
   must("cancels", queue, consumer.cancel, consumer)
end

local function loop(place, ch)
   local iterator, consumer = must("loops begun", place.spare, ch.messages, ch, place.spare, { timeout = 20 })
   if not iterator then return end
   busy = busy + 1
   model.spawn(function()
      mr.sleep(random() * 0.05)
      must("cancels", "a loop over " .. place.spare, consumer.cancel, consumer)
      busy = busy - 1
   end)
   within("loops ended", place.spare, function()
      for msg in iterator do
         take(msg, place.spare, true)
         add "looped over"
         if random() < 0.3 then break end
      end
   end)
end

local function ask(place)
   local by = other(place).connection
   must("answers", tostring(by), mr.rpc.call, tag .. "-asked", { 1 }, { connection = by, timeout = 20 })
end

local function declare(place, ch)
   must("asks on the channel that consumes", place.queue, ch.queue_declare, ch, { queue = place.queue, timeout = 20 })
end

local ways = {
   function() within("sleeps", "some milliseconds", mr.sleep, random() * 0.02) end,
   function() patience.compute(random() * 0.03) end,
   function(place, ch) publish(place, ch, "on the channel that consumes") end,
   function(place, ch) publish(other(place), ch, "on the channel that consumes") end,
   function(place, ch) publish_many(place, ch) end,
   function(place) publish(place, place.out, "on the same connection") end,
   function(place) publish(place, other(place).out, "on another connection") end,
   function(place) publish(other(place), other(place).out, "on another connection") end,
   ask,
   get,
   function(place) get(place, place.out) end,
   consume,
   loop,
   declare,
}

local function work(place, ch, queue, msg)
   local parcel = parcels.came(msg, queue)
   for _ = 1, random(0, 3) do
      if not stopping then ways[random(#ways)](place, ch()) end
   end
   parcels.done(parcel)
end

-- ch(): the channel that it came by.
local function handler_of(place, queue, what, ch)
   return function(msg)
      busy = busy + 1
      place.went_on = patience.clock()
      local ok, why = xpcall(function() work(place, ch, queue, msg) end, debug.traceback)
      if not ok then problem("a handler failed: %s", why) end
      add("handled: " .. what)
      place.went_on = patience.clock()
      busy = busy - 1
   end
end

-- ---- the places ----

local CONSUMERS = {                -- qos nil: the library's own
   { what = "default prefetch", at = "queue", confirms = true },
   { what = "default prefetch", at = "queue" },
   { what = "prefetch 1", at = "queue", qos = 1, confirms = true },
   { what = "prefetch 5", at = "queue", qos = 5 },
   { what = "no prefetch", at = "flooded", qos = 0, confirms = true },
   { what = "without acks", at = "flooded", no_ack = true, confirms = true },
   { what = "without acks", at = "flooded", no_ack = true },
}

local function add_consumer(place, how)
   local ch = assert(place.connection:channel())
   if how.qos then assert(ch:qos { prefetch_count = how.qos }) end
   if how.confirms then assert(ch:confirm_select()) end
   local queue = place[how.at]
   assert(ch:consume(queue, handler_of(place, queue, how.what, function() return ch end), { no_ack = how.no_ack, concurrency = 20 }))
end

local function add_worker(place)
   local worker
   worker = mr.consumer { queue = { queue = place.jobs, durable = false }, connection = place.connection, dead_letter = false,
      retry = false, handler = handler_of(place, place.jobs, "mr.consumer", function() return worker.channel end) }
   assert(worker:wait(30))
   place.worker = worker
end

local function add_place(number)
   local name = tag .. "-" .. number
   local place = { number = number, connection = model.connect(name, false), queue = name, jobs = name .. "-jobs",
      flooded = name .. "-flooded", spare = name .. "-spare", loose = name .. "-loose", went_on = patience.clock() }
   place.out = assert(place.connection:channel())
   assert(place.out:confirm_select())
   for _, queue in ipairs { place.queue, place.flooded, place.spare, place.loose } do
      assert(place.out:queue_declare { queue = queue })
   end
   for _, how in ipairs(CONSUMERS) do add_consumer(place, how) end
   add_worker(place)
   places[number] = place
end

for number = 1, CONNECTIONS do add_place(number) end
assert(mr.rpc.serve { queue = tag .. "-asked", connection = places[1].connection, handler = function(request)
   mr.sleep(random() * 0.01)
   return request
end })

-- ---- the run ----

local function source(place)
   busy = busy + 1
   while not stopping do
      publish(place, other(place).out, "from outside")
      mr.sleep(random() * 0.02)
   end
   busy = busy - 1
end

-- More large bodies than a link takes where no prefetch bounds them, for a host that computes: it pauses.
local function flood(place)
   local by = other(place).out
   while true do
      local parcel, body = parcels.new(place.flooded, "of a flood", false, random(4, 12) * 2 ^ 20)
      if not parcel then break end
      if not must("publishes of a flood", parcels.name(parcel), by.publish_async, by, "", place.flooded, body,
         { message_id = tostring(parcel.number), timeout = 20 }) then return parcels.done(parcel) end
   end
   mr.sleep(0.05)
   patience.compute(0.7)
   add "floods"
end

-- Nothing has come to a place and nothing was done with there, though there is something to do.
local function watch(place)
   while not stopping do
      mr.sleep(1)
      local quiet = patience.since(place.went_on)
      if quiet > patience.limit + 1 and not stopping and parcels.owes(place.queue, place.flooded, place.jobs) then
         problem("%s has not gone on for %.1f s; it waits for %s", place.queue, quiet, patience.waits())
         place.went_on = patience.clock()
      end
   end
end

patience.watch(function() return is_over end)
for _, place in ipairs(places) do
   model.spawn(source, place)
   model.spawn(watch, place)
end
local began = mr.now()
while mr.now() - began < model.seconds do -- most goes to one place, and then to another
   hot = places[random(0, CONNECTIONS)]
   if hot then flood(hot) end
   mr.sleep(math.min(random() * 4, model.seconds))
end
stopping = true

-- What nobody looks for any more; what a cancel gave back may come a moment later.
local function drain(place)
   while true do
      local msg, err = place.out:get(place.spare, { no_ack = true, timeout = 20 })
      if not msg and err.kind ~= "empty" then problem("a get of %s: %s", place.spare, tostring(err)) end
      if not msg then return end
      parcels.done(parcels.came(msg, place.spare))
      add "left in a queue"
   end
end

local deadline = mr.now() + 60
while (busy > 0 or parcels.open > 0) and mr.now() < deadline do
   if busy == 0 then for _, place in ipairs(places) do drain(place) end end
   mr.sleep(0.05)
end
if busy > 0 then problem("%d handlers have not ended; they wait for %s", busy, patience.waits()) end
for _, place in ipairs(places) do -- what is missing may be in its queue, or with a consumer that should have ended
   for _, queue in ipairs { place.queue, place.flooded, place.jobs, place.spare } do
      local is = parcels.owes(queue) and place.out:queue_declare { queue = queue, passive = true }
      if is then problem("%s has %d messages and %d consumers", queue, is.message_count, is.consumer_count) end
   end
end
parcels.finish()
is_over = true
for _, place in ipairs(places) do
   must("cancels", place.jobs, place.worker.cancel, place.worker)
   for _, queue in ipairs { place.queue, place.flooded, place.jobs, place.spare, place.loose } do
      assert(place.out:queue_delete { queue = queue })
   end
end
assert(places[1].out:queue_delete { queue = tag .. "-asked" })
add("seconds without a processor", patience.starved())
model.finish "the liveness"
mr.stop()

-- liveness: no interleaving of large bodies, waits and publishes of handlers stops the runtime.
-- Run it with: moonrabbit run tests/model/liveness.lua SECONDS [SEED]        (MODEL_URL: see model.lua)
-- Handlers on several connections wait, compute, publish with confirm here and elsewhere, ask by remote calls, get, and
-- begin and end consumers, while messages of all sizes come in: with the library's own prefetch, with none, and without
-- acks. Whatever one waits for must end within 5 s, the host's own computing left out, and every connection must go on.
-- SPDX-License-Identifier: MIT
package.path = "tests/model/?.lua;" .. package.path
local mr = require "moonrabbit"
local model = require "model"
local add, problem, random = model.add, model.problem, math.random

local PATIENCE = 5                 -- seconds
local CONNECTIONS = 3
local LARGEST = 2 * 2 ^ 20
local IN_FLIGHT = 32 * 2 ^ 20      -- bytes of bodies that may be under way in all, as two other models run beside this one
local tag = ("liveness-%d-%d"):format(os.time(), model.seed)
local chunk = ("x"):rep(LARGEST)

local computed = 0                 -- seconds that the host has spent computing, as opposed to waiting
local stopping = false
local places = {}                  -- connection, channels, queue, when it last went on

local function compute(seconds)
   local began = mr.now()
   while mr.now() - began < seconds do math.sqrt(2) end
   computed = computed + mr.now() - began
   add "computing moments"
end

-- Runs what waits; the results are fn's. It must have ended in time, whatever else went on.
local function within(what, fn, ...)
   local began, before = mr.now(), computed
   local ok, err, more = fn(...)
   local seconds = mr.now() - began - (computed - before)
   if seconds > PATIENCE then problem("%s took %.1f s", what, seconds) end
   add(what)
   return ok, err, more
end

local function must(what, fn, ...)
   local ok, err, more = within(what, fn, ...)
   if not ok then problem("%s: %s", what, tostring(err)) end
   return ok, more
end

-- ---- the messages ----

local sent, handled, flying = 0, 0, 0

local function body_of()
   local size = random() < 0.8 and random(0, 2000) or random(0, LARGEST)
   return chunk:sub(1, size)
end

local function publish(place, ch)
   local body = body_of()
   if flying + #body > IN_FLIGHT then return end
   flying, sent = flying + #body, sent + 1
   must("confirms", ch.publish, ch, "", place.queue, body)
end

local function other(place)
   return places[(place.number + random(CONNECTIONS - 1) - 1) % CONNECTIONS + 1]
end

local ways = {
   function() within("sleeps", mr.sleep, random() * 0.02) end,
   function() compute(random() * 0.03) end,
   function(place) publish(place, place.out) end,                          -- on the connection that it came by
   function(place) publish(other(place), other(place).out) end,            -- on another
   function(place) publish(place, other(place).out) end,                   -- into its own queue, by another connection
   function(place)
      must("answers", mr.rpc.call, tag .. "-asked", { 1 }, { connection = other(place).connection, timeout = 60 })
   end,
   function(place)
      local _, err = within("gets", place.out.get, place.out, place.spare, { no_ack = true })
      if err and err.kind ~= "empty" then problem("a get: %s", tostring(err)) end
   end,
   function(place)
      local consumer = must("consumes", place.out.consume, place.out, place.spare, function() end, { no_ack = random() < 0.5 })
      if consumer then must("cancels", consumer.cancel, consumer) end
   end,
}

local function handler_of(place, is_acked)
   return function(msg)
      local size = #msg.body
      place.went_on = mr.now()
      for _ = 1, random(0, 3) do
         if not stopping then ways[random(#ways)](place) end
      end
      handled, flying = handled + 1, flying - size
      add(is_acked and "handled with acks" or "handled without acks")
   end
end

-- ---- the places ----

local function add_place(number)
   local connection = model.connect(tag .. "-" .. number, false)
   local place = { number = number, connection = connection, queue = tag .. "-" .. number, went_on = mr.now(),
      spare = tag .. "-spare-" .. number }
   place.out = assert(connection:channel())
   assert(place.out:confirm_select())
   for _, queue in ipairs { place.queue, place.spare } do assert(place.out:queue_declare { queue = queue }) end
   for i, qos in ipairs { false, 0, 5, false } do                          -- the library's own, none, a small one, no acks
      local ch = assert(connection:channel())
      if qos then assert(ch:qos { prefetch_count = qos }) end
      assert(ch:consume(place.queue, handler_of(place, i < 4), { no_ack = i == 4, concurrency = 20 }))
   end
   places[number] = place
end

for number = 1, CONNECTIONS do add_place(number) end
assert(mr.rpc.serve { queue = tag .. "-asked", connection = places[1].connection, handler = function(request)
   mr.sleep(random() * 0.01)
   return request
end })

local began = mr.now()
for _, place in ipairs(places) do
   model.spawn(function()
      while mr.now() - began < model.seconds do
         publish(place, other(place).out)
         mr.sleep(random() * 0.02)
      end
   end)
   model.spawn(function() -- each goes on
      while not stopping do
         local before = computed
         mr.sleep(1)
         local quiet = mr.now() - place.went_on - (computed - before)
         if quiet > PATIENCE + 1 and not stopping then
            problem("%s has not gone on for %.1f s", place.queue, quiet)
            place.went_on = mr.now()
         end
      end
   end)
end

mr.sleep(model.seconds)
stopping = true
model.wait_until("all messages to be handled", 60, function() return handled == sent end)
for _, place in ipairs(places) do
   for _, queue in ipairs { place.queue, place.spare } do assert(place.out:queue_delete { queue = queue }) end
end
assert(places[1].out:queue_delete { queue = tag .. "-asked" })
model.finish "the liveness"
mr.stop()

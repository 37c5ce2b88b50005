--- swap: replaces the consumers of an edition by those of the next one.
-- SPDX-License-Identifier: MIT
local consumer = require "moonrabbit.consumer.consumer"
local generation = require "moonrabbit.loop.generation"
local handling = require "moonrabbit.channel.delivery"
local lifecycle = require "moonrabbit.consumer.lifecycle"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local setup = require "moonrabbit.consumer.setup"
local streams = require "moonrabbit.consumer.streams"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"

local swap = {}

-- Options that are known to the broker, or on which messages depend: if one changes, it is another consumer.
local TOLD = { "prefetch", "declare", "bindings", "topology", "consumer_tag", "exclusive", "priority", "arguments", "manual_ack",
   "stream" }
local POLL = 0.01 -- seconds between two checks for the end of handlers

local function is_same(old, new)
   if old.apart.home ~= new.connection or old.name ~= new.name then return false end
   for _, key in ipairs(TOLD) do
      if not generation.is_equal(old.options[key], new.options[key]) then return false end
   end
   return generation.is_equal(old.declaration, new.declaration) and old.dead_letter == new.dead_letter
end

-- True if it consumes, or is only suspended with its channel.
local function is_there(worker)
   local state = worker.inner and worker.inner.state
   return state == "consuming" or state == "recovering"
end

--- Matches new consumers with old ones.
-- @tparam table workers of the staged edition
-- @treturn table kept: list of {old, new}; started: list; ended: list
function swap.plan(workers)
   local plan, taken = { kept = {}, started = {}, ended = {} }, {}
   for _, new in ipairs(workers) do
      local twin
      consumer.each(function(old)
         if not twin and not taken[old] and is_there(old) and is_same(old, new) then twin = old end
      end)
      if twin then
         taken[twin] = true
         table.insert(plan.kept, { twin, new })
      else
         table.insert(plan.started, new)
      end
   end
   consumer.each(function(old)
      if not taken[old] then table.insert(plan.ended, old) end
   end)
   return plan
end

local function try(worker)
   local ch, err = worker.connection:channel()
   if not ch then return nil, err end
   local ok
   ok, err = setup.run(worker, ch)
   if ok and worker.options.declare == false then
      ok, err = ch:queue_declare { queue = worker.queue, passive = true }
   end
   ch:close()
   return ok, err
end

--- Declares everything that new consumers need, on separate channels, to find conflicts before anything changes.
-- @treturn[1] true
-- @treturn[2] nil, error, and the consumer
function swap.check(plan)
   for _, worker in ipairs(plan.started) do
      local state = worker.connection.state
      if worker.queue ~= "" and (state == "open" or state == "idle") then
         local ok, err = try(worker)
         if not ok and not err.recoverable then return nil, err, worker end
      end
   end
   return true
end

-- Uses the new handler from the next delivery on; channel and tag stay.
local function transplant(old, new)
   local inner = old.inner
   new.inner, new.channel, new.queue, new.state, new.err = inner, old.channel, old.queue, old.state, old.err
   new.was_consuming, new.waiting = old.was_consuming, old.waiting
   new.apart, new.connection = old.apart, old.connection
   inner.owner, inner.listener = new, function(what, why) lifecycle.hear(new, what, why) end
   inner.handler = new.handler
   subscription.limit(inner, new.options.concurrency or false)
   inner.stall, inner.time_limit = new.options.stall or false, new.options.time_limit or false
   inner.origin = marks.origin(new.options.handler)
   marks.describe(inner)
   new.exit, old.exit = old.exit, nil
   streams.take_over(new, old)
   old.inner, old.channel, old.waiting = nil, nil, {}
   old.state = "cancelled"
   if old.overdue then old.overdue:stop() end
   for i, other in ipairs(lifecycle.list()) do
      if other == old then lifecycle.list()[i] = new end
   end
end

local function each_at_once(list, fn)
   local left, token = #list, task.token()
   for _, thing in ipairs(list) do
      task.background(function()
         fn(thing)
         left = left - 1
         if left == 0 then task.wake(token, true) end
      end)
   end
   while left > 0 do loop.wait(token, POLL) end
end

local function leave(worker) if worker.inner then subscription.leave(worker.inner) end end

local function linger(worker)
   if worker.inner then subscription.linger(worker.inner) end
   if worker.channel then subscription.close_behind(worker.inner, worker.channel) end
end

-- The part that takes time: removed consumers handle the messages they have received, new ones start, and objects that only
-- old handlers use are closed after the last of them.
local function settle(plan, old)
   each_at_once(plan.ended, leave)
   each_at_once(old.consumers, subscription.leave)
   for _, worker in ipairs(plan.started) do consumer.start(worker) end
   each_at_once(plan.ended, linger)
   each_at_once(old.consumers, subscription.linger)
   local has_ended = handling.watch()
   while not has_ended() do loop.sleep(POLL) end
   for _, ch in ipairs(old.channels) do
      while ch.book and ch.book.outstanding > 0 do loop.sleep(POLL) end
   end
   generation.close(old)
   log.debug("closed what the script before had", { edition = old.number })
end

--- The swap itself: between two deliveries, without a wait.
function swap.run(plan)
   local old = generation.commit(function()
      for _, pair in ipairs(plan.kept) do transplant(pair[1], pair[2]) end
      for _, worker in ipairs(plan.ended) do lifecycle.finish(worker, "cancelled") end
   end)
   task.background(function() settle(plan, old) end)
end

return swap

--- rounds: messages that were delivered again and again, and never settled: their handler ends the process.
-- SPDX-License-Identifier: MIT
-- Such a message leaves no failure behind that the policy could count. What is known instead: the supervisor's notes, which
-- name what a worker was at when it died; without a supervisor the x-delivery-count of a quorum queue, which counts also what
-- was only waiting here. So in its last rounds such a message is handled alone: then those beside it are settled, and the next
-- death is its own. By the x-delivery-count at most one message is given up in the life of a process, and only before
-- the first reconnect: a process that lives on has not died.
local errors = require "moonrabbit.base.errors"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local outcome = require "moonrabbit.consumer.outcome"
local retry = require "moonrabbit.loop.retry"
local task = require "moonrabbit.loop.task"

local rounds = {}

local notes                     -- of the supervisor; nil: there is none
local is_busy, waiting = false, {} -- a message in its last rounds is being handled; tokens of the others
local has_given_up = false      -- one by its x-delivery-count

--- Sets the notes of the supervisor.
-- @tparam ?table to key(msg, queue), count(key), begin(key, is_alone), done(key), forget(key)
function rounds.use(to) notes = to end

-- How often the message was delivered and not settled, as far as that speaks against it; and whether it may be given up.
local function count(consumer, msg, key)
   if key then
      local deaths, was_alone = notes.count(key)
      return deaths > 0 and deaths + 1 or 0, was_alone -- the first delivery was not redelivered, and so not noted
   end
   if consumer.owner.connection.epoch > 1 or has_given_up then return 0, false end
   return msg.delivery_count or 0, true
end

local function failure_of(n)
   return errors.new("handler_failed", "message", ("it was delivered %d times and never settled: the process ended while it was handled")
      :format(n))
end

-- True if the policy gives a message up after so many failures.
local function is_over(consumer, msg, attempt, err)
   local word = retry.decide(consumer.owner.retry, { scope = "message", attempt = attempt, err = err, elapsed = 0, message = msg },
      outcome.policy)
   return type(word) ~= "number" and word ~= "requeue"
end

-- Waits until no other one is being handled. True; or nil if the message was lost meanwhile.
local function take_turn(msg)
   while is_busy do
      loop.wait_in(waiting)
      if not msg.is_live then return nil end
   end
   is_busy = true
   return true
end

local function leave_turn()
   is_busy = false
   local tokens = waiting
   waiting = {}
   for _, token in ipairs(tokens) do task.wake(token, true) end
end

--- A message that was delivered before, before its handler is called.
-- @treturn ?table an error: it is given up, as its policy says
-- @treturn ?table what rounds.leave wants afterwards
function rounds.enter(consumer, msg)
   if not consumer.owner.retry then return nil end
   local key = notes and notes.key(msg, consumer.queue)
   local n = count(consumer, msg, key)
   local attempt, visit = msg.attempt - 1 + n, { key = key }
   if n > 0 and is_over(consumer, msg, attempt + 1, failure_of(n)) then
      if not take_turn(msg) then return errors.new("stale", "message") end
      visit.is_alone = true
      local err, _, may_be = failure_of(n), count(consumer, msg, key) -- another one may have been given up meanwhile
      if may_be and is_over(consumer, msg, attempt, err) then
         rawset(msg, "attempt", attempt)
         visit.key = nil
         if key then notes.forget(key) else has_given_up = true end
         return err, visit
      end
      log.warn("a message that may have ended the process is handled alone", { queue = consumer.queue, attempt = attempt + 1,
         message_id = msg.properties.message_id, routing_key = msg.routing_key })
   end
   if key then notes.begin(key, visit.is_alone) end
   return nil, visit
end

--- Its handler has ended.
function rounds.leave(visit)
   if visit.key then notes.done(visit.key) end
   if visit.is_alone then leave_turn() end
end

loop.on_close(function() is_busy, waiting, has_given_up = false, {}, false end)

return rounds

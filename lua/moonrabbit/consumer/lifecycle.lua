--- lifecycle: starts a consumer of mr.consumer, restarts it after failures, and ends it.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local awaited = require "moonrabbit.topology.awaited"
local companion = require "moonrabbit.channel.companion"
local channel = require "moonrabbit.channel.channel"
local errors = require "moonrabbit.base.errors"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local outcome = require "moonrabbit.consumer.outcome"
local retry = require "moonrabbit.loop.retry"
local returns = require "moonrabbit.redelivery.returns"
local rounds = require "moonrabbit.consumer.rounds"
local setup = require "moonrabbit.consumer.setup"
local stop = require "moonrabbit.loop.stop"
local streams = require "moonrabbit.consumer.streams"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"

local lifecycle = {}

local builtin = retry.exponential { first = 0.5, max = 30 }
local LOCKED = 120             -- seconds of tries for a queue that another connection holds, as in a recovery
local ALIVE = "another connection has it to itself, and is alive; for one consumer with others in waiting declare the queue "
   .. "with x-single-active-consumer, and consume it without exclusive"
local GONE = 2                 -- seconds without its queue, after which it is declared again
local AT_CAP = 30              -- seconds between tries if the error says that a try is useless, as in a recovery

local workers = {}             -- those that have not ended, in the order of their creation

--- The consumers that have not ended.
function lifecycle.list() return workers end

-- ---- states ----

local function enter(self, state, err)
   self.state, self.err, self.next_try = state, err, nil
   local waiting = self.waiting
   self.waiting = {}
   for _, token in ipairs(waiting) do task.wake(token, true) end
end

local has_ended = returns.has_ended
local function is_over(self) return has_ended(self) or stop.is_asked() end
lifecycle.has_ended = has_ended

--- Ends it: it does not consume, and does not try again.
-- @tparam worker self
-- @tparam string state "cancelled" or "failed"
-- @tparam ?table err why
function lifecycle.finish(self, state, err)
   enter(self, state, err)
   if self.overdue then self.overdue:stop() end
   if self.exit then self.exit:stop() end
   streams.finish(self)
   self.apart:finish()
   awaited.done(self)
   for i, other in ipairs(workers) do
      if other == self then table.remove(workers, i) break end
   end
end

local function give_up(self, err)
   log.error("consumer failed", { queue = self.queue, kind = err.kind, error = err.text, hint = err.hint })
   lifecycle.finish(self, "failed", err)
   stop.note_loss(err)
end

--- Closes its channel when its own handlers have ended; other handlers may still run.
function lifecycle.retire(self)
   local inner, ch = self.inner, self.channel or self.opening
   if ch then task.background(function() subscription.close_behind(inner, ch) end) end
end

-- ---- tries ----

-- Starts its consumer on a channel; events of the consumer before it belongs to the worker go to the caller.
local function consume(self, ch)
   local o = self.options
   local concurrency = o.concurrency or self.room > 0 and setup.prefetch(self) or nil
   local inner, err
   inner, err = channel.consume(ch, self.queue, self.handler, { consumer_tag = o.consumer_tag, exclusive = o.exclusive,
      priority = o.priority, arguments = streams.arguments(self), concurrency = concurrency, stall = o.stall,
      time_limit = o.time_limit }, { owner = self, judge = streams.judge, trace = outcome.trace, enter = rounds.enter,
      leave = rounds.leave, is_manual = o.manual_ack,
      origin = marks.origin(o.handler), on_large = setup.keeps_large(self) and function()
         if self.channel == ch or self.opening == ch then lifecycle.keep_large(self) end
      end, listener = function(what, why)
         if inner and self.inner == inner then lifecycle.hear(self, what, why) end
      end })
   self.was_consuming = self.was_consuming or inner ~= nil
   if inner and (inner.state == "failed" or inner.state == "cancelled") then -- together with its channel
      return nil, inner.err or errors.new("closed", "channel")
   end
   return inner, err
end

-- Warns about declares by which messages may be lost silently.
local function warn_of_losses(self)
   local limits = self.declaration.arguments or {}
   if (limits["x-max-length"] or limits["x-max-length-bytes"]) and not tostring(limits["x-overflow"]):find "^reject" then
      log.warn("this queue drops its oldest messages when it is full: those to be tried again, too", { queue = self.queue,
         hint = "x-overflow = reject-publish has publishers wait instead" })
   end
   if limits["x-delivery-limit"] and not limits["x-dead-letter-exchange"] then
      log.warn("this queue drops what comes back unsettled more often than its delivery limit", { queue = self.queue,
         hint = "with x-dead-letter-exchange it has a place for that" })
   end
end

-- Watches the exit; with `retry = false` only if an earlier run has left one, because its handlers have delayed messages.
local function watch_exit(self)
   if self.exit ~= nil or self.retry == false and not returns.is_left(self) then return end
   warn_of_losses(self)
   returns.of(self)
end

-- One try. Returns true, or nil, the error and the scope of the failure. Until it consumes, no other code may use the
-- channel: if the broker closed it for another request, that would look like a refusal of the consumer.
local function try(self)
   lifecycle.retire(self)
   self.channel, self.opening, self.kept, self.room = nil, nil, 0, 0
   self.connection = self.apart.connection
   local ch, err = self.connection:channel()
   if not ch then return nil, err, "connect" end
   self.opening = ch
   if is_over(self) then return nil end
   local ok, scope
   ok, err, scope = setup.run(self, ch)
   if not ok then return nil, err, scope end
   if is_over(self) then return nil end
   if not self.is_stream then watch_exit(self) end
   if is_over(self) then return nil end
   ok, err = streams.begin(self)
   if not ok then return nil, err, "channel" end
   if is_over(self) then return nil end
   local inner
   inner, err = consume(self, ch)
   if not inner then return nil, err, "channel" end
   self.inner, self.channel, self.opening = inner, ch, nil
   return true
end

-- It ended while it was being started, or the program stops: closes what the try has opened.
local function take_back(self)
   if not has_ended(self) then lifecycle.finish(self, "cancelled") end
   if self.inner then self.inner:cancel() end
   lifecycle.retire(self)
end

-- The connection that holds a queue may be dead until the broker has missed two heartbeats. True if the queue is held for
-- longer: then its holder is alive.
local function is_anothers(self, err)
   if err.kind ~= "resource_locked" and not (err.kind == "access_refused" and err.recoverable) then
      self.locked_since = nil
      return false
   end
   local o = self.connection.options
   local beat = tonumber(o.heartbeat) or tonumber(type(o.url) == "string" and o.url:match "[?&]heartbeat=(%d+)") or 0
   self.locked_since = self.locked_since or C.mr_now()
   if C.mr_now() - self.locked_since < math.max(LOCKED, 2 * beat) then return false end
   err.recoverable, err.hint = false, ALIVE
   return true
end

-- True if another try is useless or not wanted.
local function is_final(self, err, scope)
   local shared = self.apart.home
   local o = shared.options
   if is_anothers(self, err) then return true end
   if shared.released then return true end
   -- It has tried itself; but one that was open, and is not given up, comes back.
   if scope == "connect" and (o.transport_options or o.connection_attempts) and not shared.was_open then return true end
   return not err.recoverable and not self.was_consuming
end

local function ask_policy(self, attempt, err, scope, began)
   local word = retry.decide(self.connection.options.retry, { scope = scope, attempt = attempt, err = err,
      elapsed = C.mr_now() - began }, builtin)
   if type(word) == "number" and not err.recoverable then return math.max(word, AT_CAP) end
   return word == "next_host" and 0 or word
end

local function nap(self, seconds)
   self.next_try = C.mr_now() + seconds
   loop.wait_in(self.waiting, seconds)
end

local look_for_room

--- Tries until it consumes, or another try is useless.
local function run(self)
   local attempt, began = 0, C.mr_now()
   while not is_over(self) do
      local ok, err, scope = try(self)
      if is_over(self) then break end
      if ok then
         self.was_consuming, self.locked_since = true, nil
         self.apart:worked()
         log.info("consuming", { queue = self.queue, tag = self.inner.tag })
         enter(self, "consuming")
         return look_for_room(self)
      end
      attempt = attempt + 1
      self.apart:note(err)
      local word = is_final(self, err, scope) and "stop" or ask_policy(self, attempt, err, scope, began)
      if is_over(self) then break end -- it may have ended while the policy ran
      if word == "stop" then
         give_up(self, err)
         break
      end
      word = self.apart:pause(word)
      log.warn("consumer not started; trying again", { queue = self.queue, attempt = attempt, delay = word, kind = err.kind,
         error = err.text, hint = attempt == 1 and err.hint or nil })
      enter(self, "recovering", err)
      nap(self, word)
   end
   take_back(self)
end

-- Starts it again on the same channel, so that kept messages stay, with a larger prefetch.
local function widen(self)
   local inner, ch = self.inner, self.channel
   self.inner = nil
   self.room = math.min(2 * self.kept, 65535 - setup.prefetch(self))
   subscription.leave(inner)
   subscription.linger(inner)
   if is_over(self) then return end
   local ok, err = ch:qos { prefetch_count = setup.prefetch(self) + self.room }
   if ok then ok, err = consume(self, ch) end
   if is_over(self) then return take_back(self) end
   self.inner = ok
   if ok and ok.state ~= "recovering" then return end
   enter(self, "recovering", err)
   if not ok then run(self) end
end

local function needs_room(self)
   return self.state == "consuming" and self.inner and not is_over(self)
      and self.kept - self.room >= math.max(1, math.floor(setup.prefetch(self) / 2))
end

local function make_room(self)
   while needs_room(self) do widen(self) end
end

-- Kept messages may use half of the prefetch, then the prefetch grows.
function look_for_room(self)
   if self.is_widening or not needs_room(self) then return end
   self.is_widening = true
   task.background(function()
      local ok, why = pcall(make_room, self)
      self.is_widening = false
      if not ok then error(why, 0) end
   end)
end

--- A message over max_message_size is kept, unacked.
function lifecycle.keep_large(self)
   self.kept = self.kept + 1
   look_for_room(self)
end

--- Starts it.
function lifecycle.start(self)
   table.insert(workers, self)
   setup.announce(self)
   task.spawn(run, self)
end

-- The broker ended its consumer, and its queue is not there: the connection waits until somebody declares the queue. This
-- one is who does. A queue that is only being moved is there again after a moment.
local function declare_again(self, inner)
   loop.wait_in(self.waiting, GONE)
   if is_over(self) or self.inner ~= inner or self.state ~= "recovering" or not inner.is_missing then return end
   log.warn("the queue is gone; declaring it again", { queue = self.queue })
   local _, why = companion.is_there(self.connection, self.queue)
   if companion.is_gone(why) then streams.forget(self) end
   if is_over(self) or self.inner ~= inner then return end
   local ch = self.channel
   self.inner, self.channel = nil, nil
   inner:cancel() -- or it would come back beside the new one
   task.background(function() subscription.close_behind(inner, ch) end)
   run(self)
end

--- The state of its consumer has changed. Called by the dispatcher, so it must not wait.
-- @tparam worker self
-- @tparam string what "suspended", "resumed", "ended"
-- @tparam ?table err why; nil: the program did it
function lifecycle.hear(self, what, err)
   if has_ended(self) then return end
   if what == "resumed" then
      enter(self, "consuming")
      return look_for_room(self)
   end
   if what == "ended" and not err then return lifecycle.finish(self, "cancelled") end
   local fn = self.options.on_lost
   if err and err.kind == "cancelled" then fn = self.options.on_cancel end
   if type(fn) == "function" and self.state == "consuming" then task.later(fn, err) end
   if err and err.kind == "cancelled" then streams.suspect(self) end
   enter(self, "recovering", err)
   self.kept = 0 -- they will be delivered again
   if what == "suspended" then
      if err and err.kind == "cancelled" and self.options.declare ~= false then
         local inner = self.inner
         task.later(function() declare_again(self, inner) end)
      end
      return
   end
   -- The connection does not restore it: this module does, unless recovery is off.
   if self.connection.options.recover == false then return lifecycle.finish(self, "failed", err) end
   if self.connection.was_told_to_stop then return give_up(self, err) end
   self.apart:note(err, true)
   task.later(run, self)
end

-- Wakes the task that waits for the next try; it finds that there is none.
stop.on_ask(function()
   for _, self in ipairs(workers) do
      if self.next_try then enter(self, self.state, self.err) end
   end
end)

loop.on_close(function(err)
   for _, self in ipairs(err and workers or {}) do self.state, self.err, self.has_ended = "failed", err, true end
   workers = {}
end)

return lifecycle

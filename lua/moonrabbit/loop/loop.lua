--- loop: pulls events from the runtime, fires timers, and wakes waiting tasks.
-- SPDX-License-Identifier: MIT
-- One loop and one runtime for each Lua state.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local host = require "moonrabbit.loop.host"
local marks = require "moonrabbit.loop.mark"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"
local timers = require "moonrabbit.loop.timers"

local loop = {}

local BATCH = 256
local EV_DELIVERY, EV_DONE, EV_FD, EV_ROOM = C.MR_EV_DELIVERY, C.MR_EV_DONE, C.MR_EV_FD, C.MR_EV_ROOM

local events = ffi.new("mr_event[?]", BATCH)
local at, count = 0, 0               -- the batch that is being dispatched
local active = 0                     -- the number of the dispatcher at work; see dispatch
local heap = timers.agenda
local rt                             -- the runtime, made at first use
local on_delivery                    -- set by consume
local handlers = {}                  -- event type -> function(event)
local openers, closers = {}, {}      -- called after a runtime is made, and before one ends
local room_waiters = {}              -- tokens
local around = function(work) work() end -- set by meter
local after_batch = function() end   -- set by sampling
local on_event                       -- called once, after the next event; nil: no task waits for it

--- The number of objects that keep the program running: mostly consumers.
loop.holds = 0
--- When the last batch of events arrived, by mr.now(): precise enough to say how long a handler has run.
loop.now = C.mr_now()
--- The number of pending timers that do not keep the program running.
loop.soft = 0
--- Counts the turns.
loop.turns = 0

-- If the Lua state, or this module, ends without loop.close, consumers would stay at the broker without handlers.
-- Finalizers run youngest first: objects that refer to the runtime were made later, and are finalized before.
-- The seconds for publishes and settles to reach the broker: a connection that is closed at once may lose them.
local FAREWELL = 0.8
local has_ended = false
local is_hosted = false -- the host has asked for the descriptor
local sentinel = newproxy(true)
getmetatable(sentinel).__gc = function()
   local old = rt
   has_ended, rt = true, nil
   marks.forget()
   if old then C.mr_runtime_free(old, FAREWELL) end
end

--- The runtime; made at first use.
function loop.runtime()
   if rt then return rt end
   if has_ended then errors.blame("moonrabbit: the Lua state, or the module, has ended") end
   local box = ffi.new "mr_runtime *[1]"
   local status = C.mr_runtime_new(box)
   if status ~= 0 then errors.blame(tostring(errors.of_status(status, "connection"))) end
   rt = box[0]
   marks.begin(rt)
   for _, fn in ipairs(openers) do fn() end
   return rt
end

--- True if the runtime was made and is not closed.
function loop.is_running() return rt ~= nil end

-- Events that were pulled and will not be dispatched.
local function drop_batch()
   while at < count do
      local ev = events[at]
      at = at + 1
      if ev.type == EV_DELIVERY then C.mr_delivery_release(rt, ev.as.delivery) end
      C.mr_event_fini(ev)
   end
end

--- Calls fn after each later runtime is made. It must not wait.
function loop.on_open(fn) openers[#openers + 1] = fn end
--- Calls fn before the runtime is freed: it must drop all references to the runtime's memory.
function loop.on_close(fn) closers[#closers + 1] = fn end

--- Closes everything, and drops the runtime and all waiting tasks; a later call makes a new runtime.
function loop.close(timeout)
   if task.is_inside() then errors.blame("the runtime cannot be closed from within a task") end
   drop_batch()
   for _, fn in ipairs(closers) do fn() end
   local old = rt
   marks.forget()
   rt, room_waiters, loop.holds, loop.soft, is_hosted = nil, {}, 0, 0, false
   heap:clear()
   task.reset()
   if old then C.mr_runtime_free(old, timeout or 5) end
   task.post_all()
end

--- Sets the function that gets deliveries.
function loop.set_delivery(fn) on_delivery = fn end
--- Sets fn(work, n), which calls work() for a batch of n events.
function loop.set_around(fn) around = fn end
--- Sets the function that is called after each batch of events.
function loop.on_batch(fn) after_batch = fn end
--- Registers the function that gets events of a type. It must not wait.
function loop.on(type_, fn) handlers[type_] = fn end

-- ---- events ----

local function reply_of(ev)
   local reply = ev.as.done.reply
   if reply == nil then
      return { status = ev.status, err = ev.status ~= 0 and errors.of_status(ev.status, "channel") or nil }
   end
   return {
      status = ev.status, err = errors.of_c(reply.error),
      name = ffi.string(reply.name, reply.name_size), delivery = reply.delivery,
      message_count = reply.message_count, consumer_count = reply.consumer_count,
   }
end

local function put_back(delivery)
   C.mr_delivery_settle(rt, delivery, C.MR_NACK, C.MR_SETTLE_REQUEUE + C.MR_SETTLE_RELEASE)
end

local function on_done(ev)
   local reply = reply_of(ev)
   local woken, delivery = task.wake(tonumber(ev.as.done.token), reply), reply.delivery
   if woken == true or not delivery or delivery == nil then return end
   if not woken then return put_back(delivery) end
   local of = rt -- a later runtime does not know the delivery
   host.guard(woken, function()
      if rt and rawequal(rt, of) then put_back(delivery) end
   end)
end

local function on_room()
   local tokens = room_waiters
   room_waiters = {}
   for _, token in ipairs(tokens) do task.wake(token, true) end
end

local function on_other(ev)
   local kind = ev.type
   if kind == EV_DONE then on_done(ev)
   elseif kind == EV_FD then task.wake(tonumber(ev.as.fd.token), ev.as.fd.ready)
   elseif kind == EV_ROOM then on_room()
   elseif handlers[kind] then handlers[kind](ev) end
   C.mr_event_fini(ev)
end

local until_ -- when this turn must be over, on mr.now's clock; nil: it takes as long as it takes

-- Dispatches the batch. A handler that waits keeps its coroutine; when it resumes, another dispatcher has taken over, and
-- this one returns.
local function dispatch(number)
   while at < count and active == number do
      local ev = events[at]
      at = at + 1
      if ev.type == EV_DELIVERY then on_delivery(ev.as.delivery) else on_other(ev) end
      if on_event then
         local fn = on_event
         on_event = nil
         fn()
      end
      if until_ and C.mr_now() >= until_ then return end
   end
end

--- False: this turn is over its time, so what can wait for the next one must.
function loop.has_time() return not until_ or C.mr_now() < until_ end
local has_time = loop.has_time

-- At least one event in each turn, whatever the tasks before it took.
local function dispatch_batch()
   repeat
      active = active + 1
      task.start(dispatch, active)
   until at >= count or not has_time()
end

-- ---- timers ----

local function run_round(entry)
   entry.is_running = true
   local ok, why = xpcall(entry.fn, errors.trace)
   entry.is_running = false
   if not ok then task.report("timer", why) end
end

local function fire(entry, now)
   if entry.token then
      task.wake(entry.token, entry.value)
   elseif entry.every then
      heap:add(entry, math.max(entry.at + entry.every, now))
      if not entry.is_running then task.spawn(run_round, entry) end
   else
      task.spawn(entry.fn)
   end
end

local function fire_timers()
   if heap.count == 0 then return false end
   local now = C.mr_now()
   local entry = heap:take(now)
   local any = entry ~= nil
   while entry do
      fire(entry, now)
      entry = has_time() and heap:take(now) or nil
   end
   return any
end

-- Adds a timer. A host that sleeps in its own loop has only heard of those that were there at its last poll.
local function add(entry, due)
   local first = is_hosted and not task.is_pumping and not task.has_ready() and (heap:next_at() or due) >= due
   heap:add(entry, due)
   if first then C.mr_runtime_wake_at(loop.runtime(), due) end
   return entry
end

--- Calls fn after `seconds`, in a task; returns the timer, for loop.cancel.
function loop.after(seconds, fn) return add({ fn = fn }, C.mr_now() + seconds) end
--- Calls fn every `seconds`. A round that is due while the previous one still runs, or that is late, is skipped.
function loop.every(seconds, fn) return add({ fn = fn, every = seconds }, C.mr_now() + seconds) end
--- Cancels a timer.
function loop.cancel(entry)
   entry.every = nil
   heap:cancel(entry)
end

-- ---- pumping ----

local function patience(timeout)
   local next_at = heap:next_at()
   if not next_at then return timeout or -1 end
   local left = math.max(next_at - C.mr_now(), 0)
   return timeout and math.min(timeout, left) or left
end

local function end_turn(busy)
   task.is_pumping = false
   task.post_all()
   return busy
end

--- One turn: runs ready tasks, fires timers, dispatches events.
-- @tparam[opt] number timeout maximum seconds to sleep if there is nothing; nil: no limit
-- @tparam[opt] number most events to take
-- @tparam[opt] number deadline on mr.now's clock: what is not begun by then waits for the next turn
-- @treturn boolean true if there was anything
function loop.pump(timeout, most, deadline)
   if task.is_inside() then error("the loop cannot be driven from within a task: mr.sleep waits there", 0) end
   task.is_pumping = true
   loop.turns = loop.turns + 1
   until_ = deadline
   local busy = task.run_ready(deadline)
   if fire_timers() then busy = true end
   if at < count then               -- a pump within a handler: the rest of the batch comes first
      dispatch_batch()
      return end_turn(true)
   end
   local wait = (busy or task.has_ready()) and 0 or patience(timeout)
   local n = C.mr_runtime_poll(loop.runtime(), events, most or BATCH, wait)
   if n < 0 then
      task.is_pumping = false
      error("moonrabbit: this process is a fork: the runtime belongs to its parent", 0)
   end
   at, count = 0, n
   loop.now = C.mr_now()
   if n > 0 then
      around(dispatch_batch, n)
      after_batch()
   end
   return end_turn(busy or n > 0)
end

--- True if something can still happen by itself.
function loop.is_idle()
   return loop.holds == 0 and heap.live <= loop.soft and task.alive == 0 and at >= count and not task.has_ready()
end

--- The runtime's descriptor, for a host that has a loop of its own.
function loop.descriptor()
   local fd = C.mr_runtime_fd(loop.runtime())
   if not is_hosted then
      is_hosted = true
      loop.arm()
   end
   return fd
end

--- Makes the runtime's descriptor readable when the next timer is due, or at once if a turn has left something.
function loop.arm()
   C.mr_runtime_wake_at(loop.runtime(), (task.has_ready() or at < count) and C.mr_now() or heap:next_at() or 0)
end

task.set_loop(loop.pump, function() return rt ~= nil and C.mr_runtime_is_forked(rt) end)
task.set_nudge(function()
   if rt and is_hosted then C.mr_runtime_wake_at(rt, C.mr_now()) end
end)

-- ---- waits ----

--- Suspends the calling coroutine for `seconds`.
function loop.sleep(seconds)
   local token = task.token()
   return time_limit.wait(token, true, nil, add({ token = token, value = true }, C.mr_now() + seconds))
end

--- Lets the calling task go on in a later turn, if this one is over its time.
function loop.give_way()
   if not has_time() then loop.sleep(0) end
end

--- Waits on `token` for at most `timeout` seconds (nil: no limit).
-- `soft` is the argument of task.wait; undo() is called if the wait ends because a handler exceeds its time limit.
-- @treturn any the waker's value, nil after the timeout
function loop.wait(token, timeout, soft, undo)
   if not timeout then return time_limit.wait(token, soft, undo) end
   local entry = add({ token = token }, C.mr_now() + timeout)
   local result = time_limit.wait(token, soft, undo, entry)
   heap:cancel(entry)
   return result
end

local function leave(list, token)
   for i, other in ipairs(list) do
      if other == token then return table.remove(list, i) end
   end
end

-- A function of its own makes it: most who wait need none.
local function leaver(list, token) return function() leave(list, token) end end

--- Waits in a list of tokens for at most `timeout` seconds (nil: for ever). Who wakes them empties the list; who was not
-- woken leaves it, or the list would grow with each who asks again and again.
-- @treturn any what the waker gave, nil when the time was up
function loop.wait_in(list, timeout)
   local token = task.token()
   list[#list + 1] = token
   local result = loop.wait(token, timeout, false, marks.mark.deadline ~= 0 and leaver(list, token) or nil)
   if not result then leave(list, token) end
   return result
end

--- Waits until publishing has room again, for at most `timeout` seconds. True, or nil.
function loop.wait_room(timeout)
   return (loop.wait_in(room_waiters, timeout))
end

--- Calls fn once, after the next event is dispatched; nil: cancels that.
function loop.after_event(fn) on_event = fn end

loop.sentinel = sentinel -- lives as long as the module

return loop

--- loop: pulls events from the runtime, fires timers, and wakes waiting tasks.
-- SPDX-License-Identifier: MIT
-- One loop and one runtime for each Lua state.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local answer = require "moonrabbit.loop.answer"
local errors = require "moonrabbit.base.errors"
local host = require "moonrabbit.loop.host"
local life = require "moonrabbit.loop.life"
local marks = require "moonrabbit.loop.mark"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"
local timers = require "moonrabbit.loop.timers"

local loop = {}

local BATCH = 256
local EV_DELIVERY, EV_DONE, EV_FD, EV_ROOM, EV_LOG = C.MR_EV_DELIVERY, C.MR_EV_DONE, C.MR_EV_FD, C.MR_EV_ROOM, C.MR_EV_LOG

local events = ffi.new("mr_event[?]", BATCH)
local at, count = 0, 0               -- the batch that is being dispatched
local active = 0                     -- the number of the dispatcher at work; see dispatch
local heap = timers.agenda
local on_delivery                    -- set by consume
local handlers = {}                  -- event type -> function(event)
local room_waiters = {}              -- tokens
local before_batch = function() end  -- set by timing
local after_batch = function() end   -- set by timing, and by sampling
local on_event                       -- called once, after the next event; nil: no task waits for it

--- Objects that keep the program running: mostly consumers.
loop.holds = 0
--- When the last batch of events arrived, by mr.now(): precise enough to say how long a handler has run.
loop.now = C.mr_now()
--- The number of pending timers that do not keep the program running.
loop.soft = 0
--- Counts the turns.
loop.turns = 0

local is_hosted = false -- the host has asked for the descriptor
local is_due = false -- a poll is, whatever the runtime has

-- What life knows of the runtime, for all who know the loop.
for _, name in ipairs { "runtime", "current", "witness", "is_running", "is_parked", "on_open", "on_close", "heal", "begin" } do
   loop[name] = life[name]
end

-- Events that were pulled and will not be dispatched, but for what was logged, with `lines`.
local function drop_batch(lines)
   while at < count do
      local ev = events[at]
      at = at + 1
      if ev.type == EV_DELIVERY then C.mr_delivery_release(life.current(), ev.as.delivery) end
      if lines and ev.type == EV_LOG then handlers[EV_LOG](ev) end
      C.mr_event_fini(ev)
   end
end

-- What was logged so far reaches who takes it; all else is dropped.
local function take_lines(rt)
   drop_batch(true)
   for _ = 1, rt and 1000 or 0 do
      at, count = 0, math.max(C.mr_runtime_poll(rt, events, BATCH, 0), 0)
      if count == 0 then return end
      drop_batch(true)
   end
end

life.set_owner(drop_batch, function()
   room_waiters, loop.holds, loop.soft, is_hosted, is_due, on_event = {}, 0, 0, false, false, nil
   heap:clear()
end)

--- Closes everything, and drops the runtime and all waiting tasks; a later call makes a new runtime.
function loop.close(timeout)
   if task.is_inside() then errors.blame("the runtime cannot be closed from within a task") end
   take_lines(loop.is_running() and life.current())
   life.close(host.CLOSED, timeout or 5)
   task.post_all()
end

--- After an orderly stop all is closed: drops all waiting tasks. The runtime stays, idle, for the descriptor's sake.
function loop.park()
   take_lines(life.current())
   life.park(host.CLOSED)
   loop.poll_parked()
   task.post_all()
end

--- A host polls, though there is nothing but log lines after an orderly stop.
function loop.poll_parked() take_lines(loop.witness()) end

--- Has a host that sleeps in its own loop poll soon, whatever timers are added meanwhile.
function loop.ask_for_turn()
   is_due = true
   if is_hosted and loop.is_running() then C.mr_runtime_wake_at(life.current(), C.mr_now()) end
end

--- Sets the function that gets deliveries.
function loop.set_delivery(fn) on_delivery = fn end
--- Has fn() called before each batch.
function loop.before_batch(fn) before_batch = fn end
--- Has fn(n) called after each batch of n events, after what was added before.
function loop.after_batch(fn)
   local first = after_batch
   after_batch = function(n)
      first(n)
      fn(n)
   end
end
--- Registers the function that gets events of a type. It must not wait.
function loop.on(type_, fn) handlers[type_] = fn end

local function on_room()
   local tokens = room_waiters
   room_waiters = {}
   for _, token in ipairs(tokens) do task.wake(token, true) end
end

local function on_other(ev)
   local kind = ev.type
   if kind == EV_DONE then answer.pass(ev)
   elseif kind == EV_FD then task.wake(tonumber(ev.as.fd.token), ev.as.fd.ready)
   elseif kind == EV_ROOM then on_room()
   elseif handlers[kind] then handlers[kind](ev) end
   C.mr_event_fini(ev)
end

local until_ -- when this turn must be over, on mr.now's clock; nil: it takes as long as it takes
local goes_on -- says whether turn may follow turn until something else than an event is due; nil: this turn is to end

local function patience(timeout)
   local next_at = heap:next_at()
   if not next_at then return timeout or -1 end
   local left = math.max(next_at - C.mr_now(), 0)
   return timeout and math.min(timeout, left) or left
end

local function poll(wait, most)
   at, count = 0, C.mr_runtime_poll(loop.runtime(), events, most or BATCH, wait)
   loop.now = C.mr_now()
   if count > 0 then before_batch() end
   return count
end

-- Has the next batch follow without another turn: a flow of messages that come one by one stays in compiled code.
local function is_next(number)
   if not goes_on or active ~= number or on_event or is_hosted or not task.may_go_on() or not goes_on() then return false end
   local wait = patience()
   if wait == 0 or C.mr_runtime_is_forked(life.current()) then return false end
   after_batch(count)
   loop.turns = loop.turns + 1
   return poll(wait) > 0
end

-- Dispatches the batch. A handler that waits keeps its coroutine; when it resumes, another dispatcher has taken over, and
-- this one returns.
local function dispatch(number)
   while at < count and active == number or at >= count and is_next(number) do
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
   active = active + 1 -- a dispatcher that the host resumes between two turns stays out of them
   if count > 0 then after_batch(count) end
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
   loop.begin()
   local first = is_hosted and not (task.is_pumping or is_due or task.has_ready()) and at >= count and (heap:next_at() or due) >= due
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

local function end_turn(busy)
   task.is_pumping = false
   task.post_all()
   return busy
end

-- Where the next turn begins. A turn that is over its time ends after what was under way, and the next one begins with what
-- comes after it: so one long piece of work is the only one of its turn, and each kind has its turns.
local TASKS, TIMERS, EVENTS = 1, 2, 3
local stage = TASKS

-- The host's descriptor or wake socket is only set anew by a poll, so each turn has one.
local function poll_nothing()
   if is_hosted then C.mr_runtime_poll(life.current(), events, 0, 0) end
end

local function cut(next_stage)
   stage = next_stage
   poll_nothing()
   return end_turn(true)
end

local function take_events(busy, timeout, most)
   local n = poll((busy or task.has_ready()) and 0 or patience(timeout), most)
   if n > 0 then dispatch_batch() end
   return end_turn(busy or n > 0)
end

--- One turn: runs ready tasks, fires timers, dispatches events.
-- @tparam[opt] number timeout maximum seconds to sleep if there is nothing; nil: no limit
-- @tparam[opt] number most events to take
-- @tparam[opt] number deadline on mr.now's clock: what is not begun by then waits for the next turn
-- @tparam[opt] function more says whether this turn may go on with further events
-- @treturn boolean true if there was anything
function loop.pump(timeout, most, deadline, more)
   if task.is_inside() then error("the loop cannot be driven from within a task: mr.sleep waits there", 0) end
   loop.begin()
   task.is_pumping, is_due = true, false
   loop.turns = loop.turns + 1
   until_, goes_on = deadline, more
   local first = stage
   local busy = first ~= TASKS
   stage = TASKS
   if first == TASKS then
      busy = task.run_ready(deadline)
      if busy and not has_time() then return cut(TIMERS) end
   end
   if first <= TIMERS and fire_timers() then
      busy = true
      if not has_time() then return cut(EVENTS) end
   end
   if at < count then               -- what is left of a batch, also in a pump within a handler, comes first
      dispatch_batch()
      return cut(TASKS)
   end
   return take_events(busy, timeout, most)
end

--- Polls, for a wait in the main chunk that can handle an event of this type by itself, without a dispatcher. nil: go on with
-- the usual wait, which finds what has come. Else that is the only event: handle it, and call loop.take_peeked.
function loop.peek(kind)
   if at < count or stage ~= TASKS or is_hosted or on_event or not task.may_poll() then return nil end
   local wait = patience()
   if wait == 0 then return nil end
   loop.turns = loop.turns + 1
   poll(wait)
   local ev = events[0] -- a __gc that waits may dispatch the batch here
   marks.mark.turn = marks.mark.turn + 1
   return at == 0 and count == 1 and ev.type == kind and ev or nil
end

--- The event of loop.peek is handled, and has no memory to free.
function loop.take_peeked()
   at = 1
   after_batch(1)
end

--- True if something can still happen by itself.
function loop.is_idle()
   return loop.holds == 0 and heap.live <= loop.soft and task.alive == 0 and at >= count and not task.has_ready()
end

--- Makes the runtime's descriptor readable when the next timer is due, or at once if a turn has left something.
function loop.arm()
   if not loop.is_running() then return end
   C.mr_runtime_wake_at(life.current(), (is_due or stage ~= TASKS or task.has_ready() or at < count) and C.mr_now() or heap:next_at() or 0)
end

-- The host goes back to its own loop, though not by mr.poll: nobody knows when it polls next.
local function go_back()
   if not is_hosted or not loop.is_running() then return end
   marks.lend(true)
   loop.arm()
   C.mr_runtime_poll(life.current(), events, 0, 0)
end

--- The runtime's descriptor, for a host that has a loop of its own.
function loop.descriptor()
   if loop.is_parked() then return C.mr_runtime_fd(loop.witness()) end
   local fd = C.mr_runtime_fd(loop.runtime())
   if not is_hosted then
      is_hosted = true
      go_back()
   end
   return fd
end

task.set_loop(loop.pump, loop.begin)
task.set_after_wait(go_back)
task.set_nudge(loop.ask_for_turn)

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

local function leaver(list, token) return function() leave(list, token) end end -- most who wait need none

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
function loop.wait_room(timeout) return (loop.wait_in(room_waiters, timeout)) end

--- Calls fn once, after the next event is dispatched; nil: cancels that.
function loop.after_event(fn) on_event = fn end

return loop

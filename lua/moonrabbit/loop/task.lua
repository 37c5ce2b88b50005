--- task: runs, suspends and resumes tasks. Only this module, `apart`, `obstacle` and `coroutines` use coroutines.
-- SPDX-License-Identifier: MIT
-- Coroutines are pooled: a coroutine runs jobs until one waits; then it keeps that job until it ends, and the next job runs in
-- another one. While nothing waits, no coroutine is created or switched.
-- Only the loop resumes these coroutines; coroutine.resume by other code is refused (see coroutines).
local C = require("moonrabbit.base.ffi").C
local apart = require "moonrabbit.loop.apart"
local coroutines = require "moonrabbit.loop.coroutines"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local host = require "moonrabbit.loop.host"
local marks = require "moonrabbit.loop.mark"
local obstacle = require "moonrabbit.loop.obstacle"

local task = {}

local create, resume = coroutines.create, coroutines.resume
local running, can_yield = coroutine.running, coroutines.can_yield
local GO, suspend = coroutines.GO, coroutines.suspend
local is_of_host = obstacle.is_of_host
local unpack, select = unpack, select
local trace = errors.trace

local IDLE = {}                  -- a worker suspends itself with this when its job has ended
local GONE = {}                  -- with this for ever
local POOL_MAX = 1024            -- the maximum number of idle workers kept

local pool, pool_size = {}, 0
local ours = coroutines.ours     -- the workers among all coroutines
local inside = 0                 -- running workers, nested within each other, so that none may pump
local waiting = {}               -- token -> worker
local outside = {}               -- token -> entry of the main chunk, or of a coroutine of the host: the packed results
local ready, ready_first, ready_last = {}, 1, 0  -- workers to resume, with what
local condemned = setmetatable({}, { __mode = "k" })  -- workers whose jobs must end at a soft wait
local soft_token = setmetatable({}, { __mode = "k" })  -- worker -> its last soft wait
local next_token = 0
local pump = function() error("no loop pumps", 0) end
local begin = function() end
local nudge = function() end
local after_wait = function() end
local report = function(_, why) io.stderr:write(why, "\n") end
local must_stop = function() return false end

--- Spawned tasks that have not ended.
task.alive = 0
--- Counts the calls of task.reset.
task.era = 0

--- The error that a wait in the main chunk raises when the program must stop: it ends the chunk.
task.STOPPED = setmetatable({}, { __name = "moonrabbit.stopped",
   __tostring = function() return "the program was asked to stop" end })

--- Connects the tasks with the loop.
-- @tparam function pump_function makes one turn of the loop
-- @tparam function begin_function has a forked child begin anew; raises an error where it cannot
function task.set_loop(pump_function, begin_function)
   pump, begin = pump_function, begin_function
end

--- Sets what makes a host poll that sleeps in its own loop: called when a task is made ready outside of a turn.
function task.set_nudge(fn) nudge = fn end

--- Sets what is called when a wait in the main chunk has ended.
function task.set_after_wait(fn) after_wait = fn end

--- Sets who is told of what failed: fn(where, traceback).
function task.set_report(fn) report = fn end

--- Sets who says that the main chunk must stop waiting: fn(soft, begun), see task.wait.
function task.set_must_stop(fn) must_stop = fn end

--- Reports a failure that no caller receives.
function task.report(where, why) report(where, why) end

-- A pooled coroutine runs, perhaps with a coroutine of the script in it. One that went apart runs outside of a turn.
local function is_inside() return inside > 0 or host.apart ~= nil and task.current() ~= nil end

-- Why the caller, which is not directly in a task, cannot wait; nil: it can.
local function why_not()
   if is_inside() then return obstacle.in_task() end
   if not task.is_pumping then return nil end
   local why = obstacle.in_turn(pump)
   task.is_pumping = why ~= nil -- false: an error has ended the turn
   return why
end

--- Raises an error that names the cure unless the caller can wait. To be called before anything is sent or
-- registered; task.token does it.
function task.check()
   begin()
   if is_inside() or task.is_pumping then
      if ours[running()] and can_yield() then return end
      local why = why_not()
      if why then errors.blame(why) end
   end
   if not host.waiter then return end
   local co = running()
   if is_of_host(co) then return host.prepare(co) end
   local why = not co and host.outside and host.outside() -- else the main chunk, which pumps while it waits
   if why then errors.blame(why) end
end
local check = task.check

--- A new token to wait for; raises an error unless the caller can wait.
function task.token()
   check()
   next_token = next_token + 1
   return next_token
end

local function work(_, job, a, b, c)
   coroutines.detach()
   while true do
      job(a, b, c)
      job, a, b, c = suspend(IDLE)
   end
end

local function make_ready(entry)
   ready_last = ready_last + 1
   ready[ready_last] = entry
end

-- The worker waits, gives way, or has ended its job.
local function came_back(worker, ok, state)
   if state == GONE then return end
   if not ok then
      -- Jobs catch the script's errors; an error here is a fault of the library.
      report("library", debug.traceback(worker, errors.words(state)))
      return
   end
   if state == IDLE then
      if pool_size < POOL_MAX then
         pool_size = pool_size + 1
         pool[pool_size] = worker
      end
   elseif waiting[state] ~= worker then
      -- The script's own coroutine.yield: the others take a turn.
      local mark = marks.mark
      make_ready { worker, n = 0, is_raw = state ~= coroutines.GIVE_WAY, consumer = mark.consumer, deadline = mark.deadline }
      mark.consumer, mark.deadline, mark.turn = 0, 0, mark.turn + 1
      if not task.is_pumping then nudge() end
   end
end

local function run_in(worker, ...)
   inside = inside + 1
   if host.apart then
      apart.run(worker, came_back, ...)
      inside = inside - 1
      return
   end
   local ok, state = resume(worker, ...)
   inside = inside - 1
   came_back(worker, ok, state)
end

-- Resumes a task that yielded past us. With a host, that was the host's own way to wait.
local function run_raw(worker)
   if host.waiter then obstacle.raise_in(worker, run_in) else run_in(worker) end
end

-- Resumes who was woken, or who gave way: that one is at what it was at before.
local function run_entry(entry)
   if entry.consumer then
      local mark = marks.mark
      mark.consumer, mark.deadline, mark.turn = entry.consumer, entry.deadline, mark.turn + 1
   end
   if entry.is_raw then run_raw(entry[1]) else run_in(entry[1], GO, unpack(entry, 2, entry.n + 1)) end
end

--- Ends the calling task if it has outlived its runtime, whose memory is gone: by a wait of the host's own.
-- @tparam ?number era task.era when it began; false: no such wait can be
function task.end_if_gone(era)
   if era and era ~= task.era then suspend(GONE) end
end

-- An idle worker, or a new one.
local function claim()
   if pool_size == 0 then
      local worker = create(work)
      ours[worker] = true
      return worker
   end
   local worker = pool[pool_size]
   pool[pool_size] = nil
   pool_size = pool_size - 1
   return worker
end

--- Runs job(a, b, c) in a worker, at once, until it ends or waits.
function task.start(job, a, b, c)
   local worker = claim()
   local mark = marks.mark
   local consumer, deadline = mark.consumer, mark.deadline
   mark.consumer, mark.deadline, mark.turn = 0, 0, mark.turn + 1
   run_in(worker, GO, job, a, b, c)
   mark.consumer, mark.deadline = consumer, deadline
end

--- The running pooled coroutine, also if it runs a coroutine of the script; nil in the main chunk.
function task.current()
   local co = running()
   if not co or ours[co] then return co end
   return (coroutines.host(co))
end

--- True if the caller waits by pumping the loop: in the main chunk, or in any coroutine of a host without a waiter.
function task.is_pumper() return not task.current() and not is_of_host(running()) end

--- True if a dispatcher may go on with the next events: no task is ready, and no host waits for the end of the turn.
function task.may_go_on() return ready_first > ready_last and not host.waiter and not host.apart end

--- True if the caller waits by pumping the loop, and such a wait may begin while nothing else is to be done.
function task.may_poll()
   return inside == 0 and not task.is_pumping and task.may_go_on() and not must_stop(false, true)
end

--- True if the caller runs in a coroutine of the host, which may have interrupted a task of ours (a fiber).
function task.is_of_host() return is_of_host(running()) end

--- True if the running coroutine is the script's own and belongs to a task.
function task.is_aside()
   local co = running()
   return co ~= nil and not ours[co] and coroutines.host(co) ~= nil
end

--- True if a pooled coroutine runs, perhaps with a coroutine of the script in it.
task.is_inside = is_inside

-- Restores the mark of the task's work before its wait.
local function resumed(consumer, deadline, ...)
   local mark = marks.mark
   mark.consumer, mark.deadline, mark.turn = consumer, deadline, mark.turn + 1
   return ...
end

local function wait_in_main(token, soft)
   if must_stop(soft, true) then error(task.STOPPED, 0) end
   local entry = {}
   outside[token] = entry
   while outside[token] == entry do
      pump()
      if outside[token] == entry and must_stop(soft, false) then
         outside[token] = nil
         error(task.STOPPED, 0)
      end
   end
   after_wait()
   return unpack(entry, 1, entry.n)
end

local function wait_outside(token, soft)
   local co = running()
   if is_of_host(co) then
      if co then coroutines.of_host[co] = true end
      return host.wait(outside, token, co)
   end
   local mark = marks.mark
   local consumer, deadline = mark.consumer, mark.deadline
   mark.consumer, mark.deadline, mark.turn = 0, 0, mark.turn + 1
   return resumed(consumer, deadline, wait_in_main(token, soft))
end

--- The deadline of the running task, if it went on outside of a turn; 0: none.
function task.deadline_apart() return select(2, apart.mark(task.current())) end

--- Waits until `token` is woken; returns the waker's value. In the main chunk, and in coroutines that it runs, it pumps the
-- loop, unless the host has a waiter for its coroutines; a coroutine of the script within a task waits with its task.
-- @tparam number token of task.token
-- @tparam[opt] boolean soft the wait may be interrupted: when the program stops, the main chunk need not see its end
function task.wait(token, soft)
   check()
   local worker, mark = task.current(), marks.mark
   if not worker then return wait_outside(token, soft) end
   local consumer, deadline = mark.consumer, mark.deadline
   if host.apart and consumer == 0 then consumer, deadline = apart.mark(worker) end
   mark.consumer, mark.deadline, mark.turn = 0, 0, mark.turn + 1
   if soft then
      if condemned[worker] then
         condemned[worker] = nil
         error(task.STOPPED, 0)
      end
      soft_token[worker] = token
   end
   waiting[token] = worker
   return resumed(consumer, deadline, suspend(token))
end

--- Ends a spawned task: at once if its wait is soft, else at its next soft wait.
function task.condemn(worker)
   local token = soft_token[worker]
   if not token or waiting[token] ~= worker then condemned[worker] = true return end
   waiting[token] = nil -- never resumed
   task.alive = task.alive - 1
end

local function wake_outside(token, ...)
   local entry = outside[token]
   if not entry then return false end
   outside[token] = nil
   entry.n = select("#", ...)
   for i = 1, entry.n do entry[i] = (select(i, ...)) end
   if not entry.w then return true end
   host.post(entry)
   if not task.is_pumping then nudge() end
   return entry
end

--- Wakes the waiter of `token` with a value.
-- @treturn boolean|table false: there is no waiter; a table: it is a coroutine of the host, which may have died (host.guard)
function task.wake(token, ...)
   local worker = waiting[token]
   if not worker then return wake_outside(token, ...) end
   waiting[token] = nil
   make_ready { worker, n = select("#", ...), ... }
   if not task.is_pumping then nudge() end
   return true
end

--- Resumes all woken tasks.
-- @tparam[opt] number deadline on mr.now's clock: the others stay woken
-- @treturn boolean true if there were any
function task.run_ready(deadline)
   local any = ready_first <= ready_last
   local last = ready_last       -- tasks that become ready meanwhile wait for the next turn
   while ready_first <= last do
      local entry = ready[ready_first]
      if not entry then break end   -- a turn within this turn took the rest
      ready[ready_first] = nil
      ready_first = ready_first + 1
      run_entry(entry)
      if deadline and C.mr_now() >= deadline then break end
   end
   if ready_first > ready_last then ready_first, ready_last = 1, 0 end
   return any
end

--- Calls fn(coroutine) for each pooled coroutine that waits, also by the host's means, or was woken and not yet resumed.
function task.each_waiting(fn)
   for _, worker in each(waiting) do fn(worker) end
   apart.each(fn)
   for i = ready_first, ready_last do
      if ready[i] then fn(ready[i][1]) end
   end
end

--- True if a task was woken and not yet resumed, or a coroutine of the host.
function task.has_ready()
   return ready_first <= ready_last or host.has_posts()
end

local function trace_unless_stopped(why) return why == task.STOPPED and why or trace(why, 2) end

local function in_background(fn, a)
   local ok, why = xpcall(fn, trace_unless_stopped, a)
   if not ok and why ~= task.STOPPED then report("task", why) end
end

local function spawned(fn, a)
   local era = task.era
   task.alive = task.alive + 1
   in_background(fn, a)
   if era == task.era then task.alive = task.alive - 1 end
end

--- Starts fn(a) as a task, which runs at once until its first wait, and keeps the program running.
function task.spawn(fn, a) task.start(spawned, fn, a) end

--- The same as task.spawn, but does not keep the program running.
function task.background(fn, a) task.start(in_background, fn, a) end

--- Starts fn(a) as a task at the next turn of the loop: for callbacks from within the dispatcher.
function task.later(fn, a)
   make_ready { claim(), spawned, fn, a, n = 3 }
   if not task.is_pumping then nudge() end
end

--- Tells the host which waits of its coroutines are over; to be called outside of all tasks.
function task.post_all()
   if host.has_posts() then host.post_all(report) end
end

--- Drops all waiting tasks: their wake-ups cannot come any more. Waits of the host's coroutines end with an error.
-- @tparam string why
function task.reset(why)
   local entries = outside
   waiting, outside, ready = {}, {}, {}
   ready_first, ready_last = 1, 0
   task.alive, task.era = 0, task.era + 1
   for _, entry in each(entries) do
      if entry.w then host.fail(entry, why) end
   end
end

return task

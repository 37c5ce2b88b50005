--- task: coroutines: who runs, who waits, who goes on. The only module that touches them.
-- SPDX-License-Identifier: MIT
-- Coroutines are pooled: a worker does jobs until one waits; then it keeps that job until it ends,
-- and the next job runs in another. While nothing waits, no coroutine is created or switched.
local task = {}

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local running = coroutine.running
local unpack, select = unpack, select

local IDLE = {}                  -- a worker yields this when its job has ended
local POOL_MAX = 1024            -- idle workers kept

local pool, pool_size = {}, 0
local ours = setmetatable({}, { __mode = "k" })  -- our workers, among all coroutines
local waiting = {}               -- token -> worker, or MAIN
local results = {}               -- token -> packed results for the main chunk
local ready, ready_first, ready_last = {}, 1, 0  -- workers to resume, with what
local MAIN = {}
local next_token = 0
local pump                       -- the loop's, set by task.set_pump
local report                     -- what to do with the error of a task

--- Spawned tasks that have not ended.
task.alive = 0

function task.set_pump(pump_function, report_function)
   pump, report = pump_function, report_function
end

--- A number that nobody else waits for.
function task.token()
   next_token = next_token + 1
   return next_token
end

-- A job that returned `parked` gave its role away while it waited: the worker just goes idle.
local function work(job, a, b, c)
   while true do
      job(a, b, c)
      job, a, b, c = yield(IDLE)
   end
end

local function run_in(worker, ...)
   local ok, state = resume(worker, ...)
   if not ok then
      -- Jobs catch the script's errors; what comes here is a fault of the library.
      report("task", debug.traceback(worker, tostring(state)))
      return false
   end
   if state ~= IDLE then return true end      -- it waits
   if pool_size < POOL_MAX then
      pool_size = pool_size + 1
      pool[pool_size] = worker
   end
   return false
end

--- Runs job(a, b, c) in a worker at once. True: it waits now; it goes on when it is woken.
function task.start(job, a, b, c)
   local worker
   if pool_size > 0 then
      worker = pool[pool_size]
      pool[pool_size] = nil
      pool_size = pool_size - 1
   else
      worker = create(work)
      ours[worker] = true
   end
   return run_in(worker, job, a, b, c)
end

--- The running worker, or nil in the main chunk (or a coroutine that is not ours).
function task.current()
   local co = running()
   return co and ours[co] and co or nil
end

--- Waits until somebody wakes `token`; returns what they gave. In the main chunk it pumps.
function task.wait(token)
   local worker = task.current()
   if worker then
      waiting[token] = worker
      return yield(token)
   end
   waiting[token] = MAIN
   while waiting[token] do pump() end
   local r = results[token]
   results[token] = nil
   return unpack(r, 1, r.n)
end

--- Gives `token`'s waiter what it waits for. False: nobody waits.
function task.wake(token, ...)
   local worker = waiting[token]
   if not worker then return false end
   waiting[token] = nil
   if worker == MAIN then
      results[token] = { n = select("#", ...), ... }
      return true
   end
   ready_last = ready_last + 1
   ready[ready_last] = { worker, n = select("#", ...), ... }
   return true
end

function task.is_waiting(token)
   return waiting[token] ~= nil
end

--- Resumes all that were woken; true when there were any.
function task.run_ready()
   local any = ready_first <= ready_last
   while ready_first <= ready_last do
      local entry = ready[ready_first]
      ready[ready_first] = nil
      ready_first = ready_first + 1
      run_in(entry[1], unpack(entry, 2, entry.n + 1))
   end
   ready_first, ready_last = 1, 0
   return any
end

function task.has_ready()
   return ready_first <= ready_last
end

local function spawned(fn, a, b)
   local ok, why = xpcall(fn, debug.traceback, a, b)
   task.alive = task.alive - 1
   if not ok then report("spawn", why) end
end

--- Starts fn(a, b) as a task of its own, at once, until it first waits.
function task.spawn(fn, a, b)
   task.alive = task.alive + 1
   task.start(spawned, fn, a, b)
end

return task

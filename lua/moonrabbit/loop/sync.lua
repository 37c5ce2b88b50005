--- sync: communication between tasks: events, semaphores, channels of values.
-- SPDX-License-Identifier: MIT
-- set, release and close never wait, so that any callback may call them, also one from C. The taking side waits in its own
-- task, first come, first served.
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"

local sync = {}

local SCOPE = "task" -- of the errors
local PATIENCE = { timeout = "number" }

local function failure(kind, text)
   local err = errors.new(kind, SCOPE, text)
   err.hint = "" -- the hint of this kind is about brokers
   return nil, err
end

local function late(text) return failure("timeout", text) end
local function closed() return failure("closed", "the channel was closed") end

-- The seconds of a number, or of { timeout = seconds }; nil: no limit.
local function patience(opts)
   if type(opts) == "number" then opts = { timeout = opts } end
   opts = options.check(opts, PATIENCE)
   options.seconds("timeout", opts.timeout)
   return opts.timeout ~= math.huge and opts.timeout or nil
end

local function size_of(n, least)
   if n == nil then return 1 end
   options.argument(1, "n", n, "number")
   return options.whole("n", n, least, 2 ^ 31)
end

-- ---- waiting tasks ----

-- A queue of waiting tasks, each a table with `token`. The next one that still waits gets true.
local function serve(line, more)
   while line[1] do
      local waiter = table.remove(line, 1)
      waiter.got = more
      if task.wake(waiter.token, true) then return waiter end
      waiter.got = nil -- it timed out in the same turn
   end
end

local function leave(line, waiter)
   for i, other in ipairs(line) do
      if other == waiter then return table.remove(line, i) end
   end
end

-- Waits in the queue; true if it was served. If it was served, but the waiting handler has exceeded its time limit,
-- give_back() is called.
local function line_up(line, waiter, timeout, give_back)
   waiter.token = task.token()
   line[#line + 1] = waiter
   local function undo(first)
      leave(line, waiter)
      if first == true and give_back then give_back() end
   end
   if loop.wait(waiter.token, timeout, true, undo) then return true end
   leave(line, waiter)
   return false
end

-- ---- events ----

local Event = { __name = "moonrabbit.event" }
Event.__index = Event

--- An event: it is set once, and tasks can wait for it. Use it to wait for a callback of another library: pass a function
-- that calls `ev:set(...)`, and call `ev:wait()`.
-- @treturn event methods set, wait, is_set, reset
function sync.event()
   return setmetatable({ waiters = {}, values = false }, Event)
end

--- Sets the event: all waiting tasks resume with these values, and later waits return them at once, until `reset`. A second
-- call replaces the values. Never waits: it may be called anywhere, also from a callback of C.
-- @param ... the results of `wait`; nothing: true
function Event:set(...)
   local n = select("#", ...)
   self.values = n > 0 and { n = n, ... } or { n = 1, true }
   local waiters = self.waiters
   self.waiters = {}
   while serve(waiters, self.values) do end
end

--- Waits until it is set.
-- @tparam[opt] number timeout seconds; nil: no limit
-- @treturn[1] any the values of set
-- @treturn[2] nil, error of kind timeout
function Event:wait(timeout)
   timeout = patience(timeout)
   local values = self.values
   if not values then
      local waiter = {}
      if not line_up(self.waiters, waiter, timeout) then return late "the event was not set in time" end
      values = waiter.got
   end
   return unpack(values, 1, values.n)
end

--- True if it is set.
-- @treturn boolean
function Event:is_set() return self.values ~= false end

--- Clears the event: later waits wait for the next `set`.
function Event:reset() self.values = false end

-- ---- semaphores ----

local Semaphore = { __name = "moonrabbit.semaphore" }
Semaphore.__index = Semaphore

--- A semaphore: at most n tasks hold it at a time.
-- @tparam[opt=1] number n maximum number of tasks
-- @treturn semaphore methods acquire, release, with, free
function sync.semaphore(n)
   n = size_of(n, 1)
   return setmetatable({ waiters = {}, left = n, size = n }, Semaphore)
end

--- Acquires the semaphore, waiting if necessary; first come, first served.
-- @tparam[opt] table opts timeout (seconds; 0: do not wait; nil: no limit), or a number of seconds
-- @treturn[1] true; call release afterwards
-- @treturn[2] nil, error of kind timeout
function Semaphore:acquire(opts)
   local timeout = patience(opts)
   if self.left > 0 then
      self.left = self.left - 1
      return true
   end
   if timeout ~= 0 and line_up(self.waiters, {}, timeout, function() self:release() end) then return true end
   return late(("all %d were taken"):format(self.size))
end

--- Releases the semaphore; the longest waiting task gets it. Never waits.
function Semaphore:release()
   if self.left == self.size then options.blame("the semaphore is released more often than it was acquired") end
   if not serve(self.waiters) then self.left = self.left + 1 end
end

--- Calls fn(...) while it holds the semaphore, and always releases it.
-- @tparam function fn the function to call
-- @param ... its arguments
-- @return the results of fn
function Semaphore:with(fn, ...)
   options.argument(1, "fn", fn, "function")
   self:acquire()
   local function finish(ok, ...)
      self:release()
      if not ok then error((...), 0) end
      return ...
   end
   return finish(pcall(fn, ...))
end

--- The number of tasks that can acquire it without waiting.
-- @treturn number
function Semaphore:free() return self.left end

-- ---- channels of values ----

local Queue = { __name = "moonrabbit.queue" }
Queue.__index = Queue

--- A channel between tasks of one program (for AMQP's channels see conn:channel): put adds values, get takes them in order;
-- it holds at most n values.
-- @tparam[opt=1] number n 0: put waits until a task takes the value
-- @treturn channel methods put, get, values, count, close, is_closed
function sync.channel(n)
   return setmetatable({ size = size_of(n, 0), first = 1, last = 0, getters = {}, putters = {}, has_ended = false }, Queue)
end

--- Adds a value, waiting for room if necessary.
-- @param value anything except nil
-- @tparam[opt] table opts timeout (seconds; 0: do not wait; nil: no limit), or a number of seconds
-- @treturn[1] true
-- @treturn[2] nil, error of kind timeout, or closed; the value was not added
function Queue:put(value, opts)
   if value == nil then options.blame("nil cannot be put into a channel: it is what get returns at the end") end
   local timeout = patience(opts)
   if self.has_ended then return closed() end
   if serve(self.getters, { value }) then return true end
   if self:count() < self.size then
      self.last = self.last + 1
      self[self.last] = value
      return true
   end
   local waiter = { value = value }
   if timeout ~= 0 and line_up(self.putters, waiter, timeout) then
      if waiter.got == false then return closed() end
      return true
   end
   return late "the channel was full"
end

-- Takes the oldest value; the next waiting put gets its room.
local function take(self)
   local value = self[self.first]
   if self.first <= self.last then
      self[self.first] = nil
      self.first = self.first + 1
   end
   local putter = serve(self.putters, true)
   if putter then
      if value == nil then return putter.value end -- the channel has no room, so the value comes from a waiting put
      self.last = self.last + 1
      self[self.last] = putter.value
   end
   return value
end

-- Puts a value back to the front if the task that got it cannot use it any more.
local function put_back(self, value)
   if serve(self.getters, { value }) then return end
   self.first = self.first - 1
   self[self.first] = value
end

--- Takes the oldest value, waiting for one if necessary.
-- @tparam[opt] table opts timeout (seconds; 0: do not wait; nil: no limit), or a number of seconds
-- @treturn[1] any the value
-- @treturn[2] nil, error of kind timeout; or closed: the channel is closed and empty
function Queue:get(opts)
   local timeout = patience(opts)
   local value = take(self)
   if value ~= nil then return value end
   if self.has_ended then return closed() end
   local waiter = {}
   if timeout ~= 0 and line_up(self.getters, waiter, timeout, function()
      if waiter.got then put_back(self, waiter.got[1]) end
   end) then
      if not waiter.got then return closed() end
      return waiter.got[1]
   end
   return late "nothing was put in in time"
end

--- An iterator for a `for` loop over the values, until the channel is closed and empty.
-- @treturn function iterator
function Queue:values()
   return function() return (self:get()) end
end

--- The number of values in it.
-- @treturn number
function Queue:count() return self.last - self.first + 1 end

--- Closes the channel: waiting puts get an error of kind closed, and so does get after the last value was taken.
function Queue:close()
   if self.has_ended then return end
   self.has_ended = true
   local getters, putters = self.getters, self.putters
   self.getters, self.putters = {}, {}
   while serve(getters, false) do end
   while serve(putters, false) do end
end

--- True if it was closed.
-- @treturn boolean
function Queue:is_closed() return self.has_ended end

return sync

--- sync: what tasks tell each other: events, semaphores, channels of values.
-- SPDX-License-Identifier: MIT
-- What gives (set, release, close) never waits, so that any callback may call it, also one from C. What takes waits
-- in its own task, first come, first served.
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"

local sync = {}

local SCOPE = "task" -- of the errors
local PATIENCE = { timeout = "number" }

local function failure(kind, text)
   local err = errors.new(kind, SCOPE, text)
   err.hint = "" -- the kind's own is about brokers
   return nil, err
end

local function late(text) return failure("timeout", text) end
local function closed() return failure("closed", "the channel was closed") end

-- The seconds of a number, or of { timeout = seconds }; nil: for ever.
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

-- ---- who waits ----

-- A line of those who wait, each a table with `token`. The next one that still waits gets true.
local function serve(line, more)
   while line[1] do
      local waiter = table.remove(line, 1)
      waiter.got = more
      if task.wake(waiter.token, true) then
         loop.nudge()
         return waiter
      end
      waiter.got = nil -- its time was up in the same turn
   end
end

local function leave(line, waiter)
   for i, other in ipairs(line) do
      if other == waiter then return table.remove(line, i) end
   end
end

-- Waits in the line; true when it was served. give_back() is called if it was served, but the handler that waits is
-- over its time limit.
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

--- An event: what happens once, and those who wait for it. The way to wait for a callback of another library:
-- hand it a function that calls `ev:set(...)`, and `ev:wait()`.
-- @treturn event methods set, wait, is_set, reset
function sync.event()
   return setmetatable({ waiters = {}, values = false }, Event)
end

--- It has happened: all who wait go on with these values, and so does who waits later, at once, until `reset`.
-- Set again, it has the new values. Never waits: it may be called anywhere, from a callback of C, too.
-- @param ... what `wait` returns; nothing: true
function Event:set(...)
   local n = select("#", ...)
   self.values = n > 0 and { n = n, ... } or { n = 1, true }
   local waiters = self.waiters
   self.waiters = {}
   while serve(waiters, self.values) do end
end

--- Waits until it is set.
-- @tparam[opt] number timeout seconds; nil: for ever
-- @treturn[1] any the values that it was set with
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

--- Is it set?
-- @treturn boolean
function Event:is_set() return self.values ~= false end

--- It has not happened yet: who waits from now on waits for the next `set`.
function Event:reset() self.values = false end

-- ---- semaphores ----

local Semaphore = { __name = "moonrabbit.semaphore" }
Semaphore.__index = Semaphore

--- A semaphore: at most n tasks at a time do something.
-- @tparam[opt=1] number n how many tasks at a time
-- @treturn semaphore methods acquire, release, with, free
function sync.semaphore(n)
   n = size_of(n, 1)
   return setmetatable({ waiters = {}, left = n, size = n }, Semaphore)
end

--- Takes one of the n, waiting for it; first come, first served.
-- @tparam[opt] table opts timeout (seconds; 0: do not wait; nil: for ever), or the seconds alone
-- @treturn[1] true to be given back by release
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

--- Gives one back; who waits longest has it. Never waits.
function Semaphore:release()
   if self.left == self.size then options.blame("the semaphore is released more often than it was acquired") end
   if not serve(self.waiters) then self.left = self.left + 1 end
end

--- Calls fn(...) while it holds one of the n, which goes back whatever happens.
-- @tparam function fn what is called
-- @param ... its arguments
-- @return what fn returns
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

--- How many are free.
-- @treturn number
function Semaphore:free() return self.left end

-- ---- channels of values ----

local Queue = { __name = "moonrabbit.queue" }
Queue.__index = Queue

--- A channel between tasks of one program (AMQP's are conn:channel): values go in by put and come out by get, in
-- their order; at most n of them are on their way.
-- @tparam[opt=1] number n 0: put waits until somebody takes the value
-- @treturn channel methods put, get, values, count, close, is_closed
function sync.channel(n)
   return setmetatable({ size = size_of(n, 0), first = 1, last = 0, getters = {}, putters = {}, has_ended = false }, Queue)
end

--- Puts a value in, waiting for room.
-- @param value anything but nil
-- @tparam[opt] table opts timeout (seconds; 0: do not wait; nil: for ever), or the seconds alone
-- @treturn[1] true
-- @treturn[2] nil, error of kind timeout, or closed; the value is not in
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

-- The oldest value, and the next one that waits to be put takes its room.
local function take(self)
   local value = self[self.first]
   if self.first <= self.last then
      self[self.first] = nil
      self.first = self.first + 1
   end
   local putter = serve(self.putters, true)
   if putter then
      if value == nil then return putter.value end -- there was none: of a channel without room
      self.last = self.last + 1
      self[self.last] = putter.value
   end
   return value
end

-- What was handed to somebody who cannot have it any more comes first again.
local function put_back(self, value)
   if serve(self.getters, { value }) then return end
   self.first = self.first - 1
   self[self.first] = value
end

--- Takes the oldest value, waiting for one.
-- @tparam[opt] table opts timeout (seconds; 0: do not wait; nil: for ever), or the seconds alone
-- @treturn[1] any the value
-- @treturn[2] nil, error of kind timeout; or closed: there is none, and will be none
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

--- For a `for` loop: the values, until the channel is closed and empty.
-- @treturn function iterator
function Queue:values()
   return function() return (self:get()) end
end

--- How many values are in it.
-- @treturn number
function Queue:count() return self.last - self.first + 1 end

--- Nothing more goes in: who waits to put gets an error of kind closed, and so does get, when what is in it was taken.
function Queue:close()
   if self.has_ended then return end
   self.has_ended = true
   local getters, putters = self.getters, self.putters
   self.getters, self.putters = {}, {}
   while serve(getters, false) do end
   while serve(putters, false) do end
end

--- Was it closed?
-- @treturn boolean
function Queue:is_closed() return self.has_ended end

return sync

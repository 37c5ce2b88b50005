--- moonrabbit.tarantool: runs Moonrabbit in Tarantool: a wait suspends one fiber, and the others go on.
-- SPDX-License-Identifier: MIT
-- A fiber of the adapter polls; handlers run in fibers of their own, one after the other up to their waits, also those by
-- Tarantool's own means (fiber.sleep, a write to a space).
local errors = require "moonrabbit.base.errors"
local host = require "moonrabbit.loop.host"
local mr = require "moonrabbit"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"

local adapter = {}

local box = rawget(_G, "box")
local fiber, log, socket -- of Tarantool: this file can be read elsewhere
local PAUSE = 0.1   -- seconds behind a turn that failed
local pump          -- the fiber that polls; nil: not started
local budget
local is_registered = false -- with box.ctl.on_shutdown

-- A fiber that is cancelled goes on by itself, in some versions without an error.
local function waiter()
   local cond, is_over = fiber.cond(), false
   local w = {}
   function w.wait()
      while not is_over do
         cond:wait()
         fiber.testcancel()
      end
   end
   function w.post()
      is_over = true
      cond:signal()
   end
   return w
end

-- An error of a turn must not end the fiber: nobody else polls.
local function turn()
   local ok, is_busy = pcall(mr.poll, budget)
   if not ok then
      task.report("a turn", tostring(is_busy))
      fiber.sleep(PAUSE)
      return loop.ask_for_turn() -- for what it has left
   end
   if is_busy then return fiber.sleep(0) end
   socket.iowait(mr.fd(), "R")
end

local function poll()
   fiber.name "moonrabbit"
   local mine = fiber.self()
   while pump == mine do
      turn()
      fiber.testcancel()
   end
end

-- A new runtime, after a stop, has another descriptor.
loop.on_open(function()
   if pump and pump:status() ~= "dead" and pump ~= fiber.self() then pump:wakeup() end
end)

-- Before box.cfg Tarantool's log adds nothing to a line.
local function write(level, line) log[level](type(box.cfg) == "function" and line or host.plain(line)) end
local function at_shutdown() adapter.stop() end

--- Starts: from now on a fiber calls `mr.poll` when there is something to do. Lines of the log go to Tarantool's.
-- @tparam[opt] table opts budget=0.001 (seconds of a turn for messages; then the other fibers have theirs)
function adapter.start(opts)
   opts = options.check(opts, { budget = "number" })
   options.seconds("budget", opts.budget)
   if pump and pump:status() ~= "dead" then return end
   fiber, log, socket = require "fiber", require "log", require "socket"
   budget = opts.budget or 0.001
   mr.host { waiter = waiter, main = true }
   host.apart = fiber.create
   mr.log.sink(write)
   pump = fiber.new(poll)
   if not is_registered then box.ctl.on_shutdown(at_shutdown) end
   is_registered = true
end

--- Stops: consumers are cancelled, running handlers finish, confirms arrive, connections close. The calling fiber waits, and the
-- others go on. It is called at the end of Tarantool by itself (os.exit, SIGTERM, SIGINT).
-- @tparam[opt] table opts drain=1 (seconds for handlers and confirms)
-- @treturn boolean true if all messages were settled and all publishes confirmed
function adapter.stop(opts)
   opts = options.check(opts, { drain = "number" })
   options.seconds("drain", opts.drain)
   if not pump then return true end
   if task.current() then options.blame "stop waits for handlers and tasks, so not in one of them: call mr.stop() there" end
   while task.is_inside() do fiber.sleep(0) end -- a handler has started this fiber, by os.exit for example: its turn must end
   if pump:status() == "dead" then pump = fiber.new(poll) end
   mr.stop()
   local is_complete = mr.run { drain = opts.drain or 1 } -- in a fiber it waits, and the pump goes on
   local mine = pump
   pump = nil
   mine:cancel()
   mr.log.sink(nil)
   return is_complete
end

local function finish(result, ok, ...)
   result.n, result.ok = select("#", ...), ok
   for i = 1, result.n do result[i] = (select(i, ...)) end
   result.event:set()
end

local function traced(why) return errors.is(why) and why or errors.trace(why) end

--- A handler that runs `fn` in one fiber for each message, from its begin to its end: for a transaction over its waits, or what else
-- belongs to a fiber. Its results and errors are those of `fn`.
-- @tparam function fn a handler
-- @treturn function
function adapter.in_fiber(fn)
   options.argument(1, "fn", fn, "function")
   return function(...)
      local n, args, result = select("#", ...), { ... }, { event = mr.event() }
      fiber.new(function()
         finish(result, xpcall(function() return fn(unpack(args, 1, n)) end, traced))
      end)
      result.event:wait()
      if not result.ok then error(result[1], 0) end
      return unpack(result, 1, result.n)
   end
end

return adapter

--- moonrabbit: RabbitMQ from Lua, with a C library that owns the connection.
--
--    local mr = require "moonrabbit"
--    local ch = assert(assert(mr.connect "amqp://localhost"):channel())
--    assert(ch:queue_declare { queue = "hello" })
--    assert(ch:consume("hello", function(msg) print(msg.body) end))
--
-- Run it with `moonrabbit run script.lua`, or call `mr.run()` at its end.
-- SPDX-License-Identifier: MIT
local lib = require "moonrabbit.ffi"
local ffi = require "ffi"
local C = lib.C
local connection = require "moonrabbit.connection"
local drain = require "moonrabbit.drain"
local errors = require "moonrabbit.errors"
local log = require "moonrabbit.log"
local loop = require "moonrabbit.loop"
local options = require "moonrabbit.options"
local task = require "moonrabbit.task"
local value = require "moonrabbit.value"
require "moonrabbit.dispatch"

local mr = {
   version = lib.version, log = log,
   int = value.int, timestamp = value.timestamp, bytes = value.bytes, array = value.array,
   decimal = value.decimal, null = value.null,
}

task.set_pump(function() loop.pump() end, function(where, why)
   log.error("task failed", { where = where, error = why })
end)

local default_url

--- Sets where `mr.connect()` without arguments connects, before AMQP_URL.
function mr.set_default_url(url) default_url = url end

--- Makes a connection; it connects when it is first used, or by `conn:connect()`.
-- @tparam[opt] string|table where a URL, or options (docs/configuration.md); nil: AMQP_URL, else
-- amqp://localhost
-- @treturn connection; wrong options raise an error that names them
function mr.connect(where)
   if where == nil then where = default_url or os.getenv "AMQP_URL" or "amqp://localhost" end
   if type(where) == "string" then where = { url = where } end
   if type(where) ~= "table" then error("mr.connect takes a URL or a table of options", 2) end
   return connection.new(where, 2)
end

--- Runs fn(...) at once as a task of its own, until it first waits.
function mr.spawn(fn, ...)
   options.argument(1, "fn", fn, "function")
   local n, args = select("#", ...), { ... }
   if n == 0 then return task.spawn(fn) end
   task.spawn(function() return fn(unpack(args, 1, n)) end)
end

local function seconds(n, level)
   options.argument(1, "seconds", n, "number", level + 1)
   if n < 0 or n ~= n then error("seconds must not be negative", level + 1) end
   return n
end

--- Suspends the calling task for some seconds; the others go on.
function mr.sleep(s) loop.sleep(seconds(s, 2)) end

local Timer = { __name = "moonrabbit.timer" }
Timer.__index = Timer
--- Takes the timer back.
function Timer:cancel() loop.cancel(self.entry) end

--- Calls fn in a task after some seconds. @treturn timer with method cancel
function mr.after(s, fn)
   options.argument(2, "fn", fn, "function")
   return setmetatable({ entry = loop.after(seconds(s, 2), fn) }, Timer)
end

--- Calls fn in a task every so many seconds. @treturn timer with method cancel
function mr.every(s, fn)
   options.argument(2, "fn", fn, "function")
   if s == 0 then error("seconds must be more than 0", 2) end
   return setmetatable({ entry = loop.every(seconds(s, 2), fn) }, Timer)
end

--- Waits until a descriptor is ready: brings any non-blocking library into the loop.
-- @tparam number fd
-- @tparam string mode "r", "w" or "rw"
-- @tparam[opt] number timeout seconds
-- @treturn[1] string what it is ready for
-- @treturn[2] nil, error of kind timeout
function mr.wait_fd(fd, mode, timeout)
   options.argument(1, "fd", fd, "number")
   options.argument(2, "mode", mode, "string")
   return loop.wait_fd(fd, mode, timeout)
end

--- Seconds on the monotonic clock.
function mr.now() return C.mr_now() end

--- Asks the program to stop: consumers are cancelled, running handlers finish, connections close.
function mr.stop() drain.ask() end
--- Calls fn when the program stops, before the connections close.
function mr.on_stop(fn)
   options.argument(1, "fn", fn, "function")
   drain.on_stop(fn)
end

--- Runs until nothing can happen any more or mr.stop was called, then stops in good order. For
-- programs that are not started by `moonrabbit run`, which does it by itself.
-- @tparam[opt=30] number opts.drain seconds for handlers to finish
-- @treturn boolean were all messages settled and all publishes confirmed?
function mr.run(opts)
   opts = options.check(opts, { drain = "number" })
   drain.until_idle()
   local left = drain.run(opts.drain or 30)
   loop.close(1)
   return left.handlers == 0 and left.publishes == 0
end

--- Takes what has come and fires what is due, within `budget` seconds: for hosts with a loop of their
-- own, once per frame or when `mr.fd()` is readable.
function mr.poll(budget)
   local deadline = C.mr_now() + (budget or 0)
   repeat loop.pump(0) until C.mr_now() >= deadline or loop.is_quiet()
   loop.arm()
end

--- The descriptor that is readable when `mr.poll` has something to do.
function mr.fd() return C.mr_runtime_fd(loop.runtime()) end

local STATS = { "delivered", "settled", "published", "confirmed", "returned", "lost", "bytes_in", "bytes_out", "reads",
   "writes", "frames_in", "in_flight", "outbound", "heartbeats_out", "acks_out" }

--- Counters of the runtime, as a table.
function mr.stats()
   local box, out = ffi.new "mr_stats", {}
   C.mr_runtime_stats(loop.runtime(), box)
   for _, name in ipairs(STATS) do out[name] = tonumber(box[name]) end
   return out
end

--- A URL as it may be shown: without its password.
function mr.redact(url)
   local size = #url * 2 + 16
   local buffer = ffi.new("char[?]", size)
   C.mr_url_redact(url, #url, buffer, size)
   return ffi.string(buffer)
end

--- Is this value one of our errors?
mr.is_error = errors.is

return mr

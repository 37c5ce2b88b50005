--- moonrabbit: RabbitMQ from Lua, with a C library that owns the connection.
--
--    local mr = require "moonrabbit"
--    local ch = assert(assert(mr.connect "amqp://localhost"):channel())
--    assert(ch:queue_declare { queue = "hello" })
--    assert(ch:consume("hello", function(msg) print(msg.body) end))
--
-- Run it with `moonrabbit run script.lua`, or call `mr.run()` at its end.
-- SPDX-License-Identifier: MIT
local lib = require "moonrabbit.base.ffi" -- first: it says that LuaJIT is needed
require("moonrabbit.host.ngx_phase").check_load()
require("moonrabbit.base.traversal").install(_G)
local ffi = require "ffi"
local C = lib.C
local connection = require "moonrabbit.connection.connection"
local busy_poll = require "moonrabbit.loop.busy_poll"
local changes = require "moonrabbit.console.changes"
local console = require "moonrabbit.console.console"
local details = require "moonrabbit.console.details"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local events = require "moonrabbit.connection.events"
local generation = require "moonrabbit.loop.generation"
local handover = require "moonrabbit.connection.handover"
local health = require "moonrabbit.health.health"
local host = require "moonrabbit.loop.host"
local home = require "moonrabbit.connection.default"
local install = require "moonrabbit.base.install"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local message = require "moonrabbit.channel.message"
local metrics = require "moonrabbit.health.metrics"
local options = require "moonrabbit.base.options"
local queue_type = require "moonrabbit.channel.queue_type"
local recorder = require "moonrabbit.loop.recorder"
local redelivery = require "moonrabbit.redelivery.message"
local sampling = require "moonrabbit.channel.sampling"
local shutdown = require "moonrabbit.program.shutdown"
local simple_queue = require "moonrabbit.simple_queue"
local sync = require "moonrabbit.loop.sync"
local task = require "moonrabbit.loop.task"
local testing = require "moonrabbit.testing"
local value = require "moonrabbit.base.value"
local wait = require "moonrabbit.loop.wait"
local watchdog = require "moonrabbit.loop.watchdog"

details.offer()
changes.offer()

local mr = {
   consumer = require("moonrabbit.consumer.consumer").new, filter = require("moonrabbit.consumer.filter").new,
   pool = require("moonrabbit.pool.pool").new,
   rpc = require "moonrabbit.rpc.client",
   publisher = require("moonrabbit.publisher.publisher").new, topology = require "moonrabbit.topology.topology",
   retry = require "moonrabbit.loop.retry", version = lib.version, log = log, testing = testing,
   inspect = require("moonrabbit.console.evaluate").handed,
   recorder = { last = recorder.last, size = recorder.size, write = recorder.write },
   event = sync.event, semaphore = sync.semaphore, channel = sync.channel, health = health, metrics = metrics,
   int = value.int,
   timestamp = value.timestamp, bytes = value.bytes, array = value.array, decimal = value.decimal, null = value.null,
}

--- The values of `moonrabbit run --set KEY=VALUE`, as strings, and from index 1 on the script's arguments.
mr.args = {}

install(message.methods, redelivery.methods, "retry", "dead_letter", "reply")
install(message.fields, redelivery.fields, "attempt", "queue")
install(connection.methods, handover, "handover")
install(connection.methods, simple_queue, "simple_queue", "simple_buffer")

for kind, handler in each(events) do loop.on(kind, handler) end
loop.on_open(log.again)
sampling.begin()

--- Sets the default URL of `mr.connect()`; it overrides AMQP_URL.
-- @tparam ?string url nil: none
function mr.set_default_url(url) home.set_url(url) end

--- Sets defaults of the whole program.
-- @tparam table opts queue_type=false ("classic", "quorum" or "stream": the type of each durable queue with a name that the
-- program declares from now on without a type; false: none, the broker chooses)
function mr.defaults(opts) queue_type.defaults(opts) end

--- Makes a connection; it connects at its first use, or by `conn:connect()`.
-- @tparam[opt] string|table where a URL, or options (docs/configuration.md). If they name no broker: AMQP_URL, else
-- memory://, the runtime's own embedded broker
-- @treturn connection; wrong options raise an error that names them
function mr.connect(where)
   local settings = home.settings(where)
   return generation.connection(settings) or generation.note("connections", connection.new(settings))
end

--- The same as mr.connect, but returns an error for wrong options instead of raising it.
-- @treturn[1] connection
-- @treturn[2] nil, error of kind bad_option or bad_uri
function mr.try_connect(where)
   local settings = home.settings(where)
   local running = generation.connection(settings)
   if running then return running end
   local conn, err = connection.try(settings)
   if not conn then return nil, err end
   return generation.note("connections", conn)
end

--- Starts a task, which runs fn(...) at once until its first wait. An error in it is logged with a traceback.
-- @tparam function fn the task's function
-- @param ... its arguments
function mr.spawn(fn, ...)
   options.argument(1, "fn", fn, "function")
   local n, args = select("#", ...), { ... }
   generation.spawn(function() fn(unpack(args, 1, n)) end)
end

local function seconds(n)
   options.argument(1, "seconds", n, "number")
   return options.seconds("seconds", n)
end

--- Suspends the calling task for some seconds; other tasks continue.
-- @tparam number s seconds; 0: until the other tasks have run once
function mr.sleep(s)
   seconds(s)
   loop.sleep(s)
end

local Timer = { __name = "moonrabbit.timer" }
Timer.__index = Timer
--- Cancels the timer.
function Timer:cancel()
   self.is_cancelled = true
   if self.entry then loop.cancel(self.entry) end
   generation.disown(self)
end

local function new_timer(start, s, fn, only_of_chunk)
   local t = generation.own(setmetatable({}, Timer), Timer.cancel, only_of_chunk)
   generation.later(function()
      if not t.is_cancelled then t.entry = start(s, fn) end
   end)
   return t
end

--- Calls fn in a task after some seconds.
-- @tparam number s seconds
-- @tparam function fn called without arguments
-- @treturn timer with the method cancel
function mr.after(s, fn)
   seconds(s)
   options.argument(2, "fn", fn, "function")
   return new_timer(loop.after, s, fn, true)
end

--- Calls fn in a task every s seconds. A round that is due while the previous one still runs is skipped.
-- @tparam number s seconds, more than 0
-- @tparam function fn called without arguments
-- @treturn timer with the method cancel
function mr.every(s, fn)
   if seconds(s) == 0 then options.blame("seconds must be more than 0") end
   options.argument(2, "fn", fn, "function")
   return new_timer(loop.every, s, fn, false)
end

--- Waits until a descriptor is ready; use it to integrate a non-blocking library into the loop. A descriptor that cannot
-- be waited for (a plain file, a closed descriptor) counts as ready. So does, within about a quarter of a second, one
-- that is closed during the wait, or whose number then refers to another file: the next call on it reports the error.
-- @tparam number fd the descriptor's number
-- @tparam string mode "r", "w" or "rw"
-- @tparam[opt] number timeout seconds; nil: no limit
-- @treturn[1] string what it is ready for
-- @treturn[2] nil, error of kind timeout
function mr.wait_fd(fd, mode, timeout)
   options.argument(1, "fd", fd, "number")
   options.seconds("timeout", timeout)
   return wait.fd(fd, mode, timeout)
end

--- Seconds on the monotonic clock.
-- @treturn number
function mr.now() return C.mr_now() end

--- Stops the program: consumers are cancelled, running handlers finish, confirms arrive, connections close. It does not wait:
-- `mr.run` or `moonrabbit run` does the rest, or a host that goes on with `mr.poll` until `mr.is_stopped()`. If the main
-- chunk waits in mr.sleep or mr.wait_fd, the wait ends at once and the chunk with it, unless it handles a message of a
-- `messages()` loop.
-- @tparam[opt] table opts drain (seconds for handlers to finish; default: 30, or as said to mr.run or the command). What is no plain
-- table is ignored, so that mr.stop may itself be a handler
function mr.stop(opts)
   if type(opts) ~= "table" or getmetatable(opts) then opts = nil end
   opts = options.check(opts, { drain = "number" })
   options.seconds("drain", opts.drain)
   if loop.is_parked() then return end -- it has stopped
   generation.later(function() shutdown.ask(opts.drain) end)
end

--- True when a stop has ended, for a host that polls: nothing is connected, and `mr.fd()` stays silent. The next call that
-- begins something, such as mr.connect, begins anew; then ask for `mr.fd()` again.
-- @treturn boolean
-- @treturn ?table what was abandoned: handlers (their messages come again), publishes (they do not); 0: none
function mr.is_stopped()
   if not loop.is_parked() then return false end
   local left = shutdown.left
   return true, { handlers = left.handlers, publishes = left.publishes }
end

--- Calls fn when the program stops, before the connections close.
-- @tparam function fn called without arguments
function mr.on_stop(fn)
   options.argument(1, "fn", fn, "function")
   generation.own(function() shutdown.not_on_stop(fn) end, function(forget) forget() end)
   generation.later(function() shutdown.on_stop(fn) end)
end

--- Runs the loop until there is nothing more to do or mr.stop is called, then stops cleanly. For programs that are not
-- started by `moonrabbit run`, which does this itself; under the command it may be called, too.
-- @tparam[opt] table opts drain (seconds for handlers to finish; default: 30, or --drain of the command)
-- @treturn boolean true if all messages were settled and all publishes confirmed
function mr.run(opts)
   opts = options.check(opts, { drain = "number" })
   options.seconds("drain", opts.drain)
   if host.run then return host.run(opts.drain) end
   if task.is_inside() then options.blame("mr.run must be called in the main chunk") end
   if loop.is_parked() then -- a host has polled until the end
      local left = shutdown.left
      loop.close(1)
      return left.handlers == 0 and left.publishes == 0
   end
   shutdown.until_idle()
   local left = shutdown.run(opts.drain or shutdown.usual)
   if not shutdown.is_last(left) then loop.close(1) end
   return left.handlers == 0 and left.publishes == 0
end

--- Dispatches events and fires timers for up to `budget` seconds: for hosts with their own loop, once per frame or when
-- `mr.fd()` is readable.
-- @tparam[opt=0] number budget seconds: the clock is looked at after each message, timer and task, so only one that takes longer
-- itself is over it; 0: one batch
-- @treturn boolean true if there may be more to do at once
function mr.poll(budget)
   options.seconds("budget", budget)
   if task.is_inside() then options.blame("mr.poll is for the host's own loop: within a task mr.sleep waits") end
   loop.heal()
   if loop.is_parked() then
      loop.poll_parked()
      return false
   end
   shutdown.go_on()
   local deadline = budget and budget > 0 and C.mr_now() + budget or nil
   marks.lend(false)
   local busy = loop.pump(0, nil, deadline)
   while busy and deadline and loop.is_running() and C.mr_now() < deadline do busy = loop.pump(0, nil, deadline) end
   shutdown.go_on()
   if shutdown.has_ended() then
      loop.park()
      return false
   end
   loop.arm()
   marks.lend(true)
   return busy
end

--- The descriptor that is readable while `mr.poll` has something to do: an event, a timer that is due, what a poll with a
-- budget has left. (Level-triggered, as a socket's.)
-- @treturn number
function mr.fd() return loop.descriptor() end

--- Says how a coroutine of the host waits (a request of a web server, a fiber): it alone is suspended, and the host goes on
-- (docs/embedding.md). Without it, a wait in such a coroutine is one of the main chunk: it blocks the host.
-- @tparam table opts waiter (function called for each wait in a coroutine of the host, before anything is sent. It returns an
-- object `w` of the host: `w:wait()` is called in that coroutine and returns when `w:post()` was called, which happens in
-- `mr.poll`, outside of all handlers; false: none, as at first). An error of wait ends the call, and what comes for it is dropped.
-- main=false (true: the main chunk is one of the host's coroutines, too, and the waiter is called in it)
function mr.host(opts)
   opts = options.check(opts, { waiter = "function|boolean", main = "boolean" }, { "waiter" })
   if opts.waiter == true then options.blame('option "waiter" must be a function, or false') end
   generation.later(function() host.waiter, host.has_main = opts.waiter or nil, opts.main or false end)
end

local STATS = { "delivered", "settled", "published", "confirmed", "returned", "lost", "bytes_in", "bytes_out", "reads",
   "writes", "frames_in", "in_flight", "outbound", "heartbeats_out", "acks_out", "log_dropped", "violations",
   "oversized", "redelivered" }

--- Counters since the start of the runtime: delivered, settled, published, confirmed, returned, lost, bytes_in, bytes_out,
-- reads, writes, frames_in, heartbeats_out, acks_out, violations (of the protocol, by brokers), oversized (messages over
-- max_message_size: rejected, kept, or dropped if there are no acks), redelivered, log_dropped (log lines that standard error did not
-- accept). Current values: in_flight (deliveries not yet released), outbound (bytes not yet written).
-- @treturn table
function mr.stats()
   local box, out = ffi.new "mr_stats", {}
   C.mr_runtime_stats(loop.witness(), box)
   for _, name in ipairs(STATS) do out[name] = tonumber(box[name]) end
   return out
end

--- A URL without its password, for output.
-- @tparam string url of a broker
-- @treturn string
function mr.redact(url)
   options.argument(1, "url", url, "string")
   local size = #url * 2 + 16
   local buffer = ffi.new("char[?]", size)
   C.mr_url_redact(url, #url, buffer, size)
   return ffi.string(buffer)
end

--- Configures the watchdog for scripts that compute without a wait, and for handlers that wait for very long; see
-- docs/watchdog.md.
-- @tparam table opts stall=10 (seconds after which a stall is reported; 0: never), waiting=300 (seconds after which a
-- handler that waits is reported; 0: never), compiled=true (under `moonrabbit run`:
-- also interrupt loops that LuaJIT has compiled, for tracebacks and for time_limit)
function mr.watchdog(opts) watchdog.configure(opts) end

--- Says how long the program looks for an answer before it sleeps, while it asks and awaits one quick answer after the other:
-- confirmed publishes, calls, a handler that answers. To be woken takes longer than many an answer does, to look takes a core.
-- It has no effect in a host with a loop of its own (docs/performance.md).
-- @tparam ?number s seconds, 0 to 0.0005; nil, the default: 0.00003, as long as answers come within that, and never with one core;
-- 0: it sleeps at once. 0.0001 is enough for RabbitMQ on the same machine
function mr.busy_poll(s) busy_poll.set(s) end

--- Opens a console for `moonrabbit attach` and `status`: a Unix socket that only this user and root can use. `moonrabbit run` opens
-- one by itself. What a script sets as `mr.inspect.NAME` is NAME there.
-- @tparam[opt] table opts name (of the program, for the file's name; default: the script's), path (of the socket; default: PID-NAME.sock
-- in this user's folder of consoles), read_only=false (nothing is run or changed)
-- @treturn[1] string the path
-- @treturn[2] nil, error
function mr.console(opts) return console.start(opts) end

--- True if the value is an error object of this library.
-- @param v any value
-- @treturn boolean
function mr.is_error(v) return errors.is(v) end

return mr

--- host.ngx_driver: polls in a worker of nginx, and sees its end coming.
-- SPDX-License-Identifier: MIT
-- ngx_lua can watch sockets of its own only: a light thread reads from the runtime's wake socket, and polls for each byte.
-- It goes on while a worker that nginx has told to leave drains, because no new timer starts then.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local shutdown = require "moonrabbit.program.shutdown"
local stop = require "moonrabbit.loop.stop"
local task = require "moonrabbit.loop.task"
local waiter = require "moonrabbit.host.ngx_waiter"

local driver = {}

local BUDGET = 0.002         -- seconds of a poll: other requests wait for it
local FOREVER = 2 ^ 31 - 1   -- milliseconds: the most that nginx waits for
local DAY = 86400            -- seconds
local AGAIN = 0.1            -- seconds between two attempts to reach the wake socket, and behind a turn that failed

local poll                   -- mr.poll
local enders = {}            -- functions that are called when the consumers have ended
local leavers = {}           -- functions that are called when nginx tells the worker to leave
local left                   -- what a stop has left; nil: none has ended

local function at(seconds, fn, ...)
   local ok, why = ngx.timer.at(seconds, fn, ...)
   if not ok then log.error("nginx starts no timer", { error = why, hint = "lua_max_pending_timers, lua_max_running_timers" }) end
   return ok
end

-- Has the driver poll again.
local wake = loop.ask_for_turn

-- ---- polling ----

local function open_socket()
   local err = ffi.new "mr_error"
   loop.descriptor()
   if C.mr_runtime_wake_socket(loop.runtime(), nil, err) ~= 0 then errors.blame(tostring(errors.of_c(err))) end
end

local function connect()
   local path = C.mr_runtime_wake_path(loop.runtime())
   if path == nil then return nil, "no wake socket" end
   local sock = ngx.socket.tcp()
   sock:settimeouts(1000, 1000, FOREVER)
   local ok, why = sock:connect("unix:" .. ffi.string(path))
   return ok and sock, why
end

-- Polls until the consumers of a worker that leaves have ended; false: the socket has ended.
local function poll_while(sock)
   while not (left and ngx.worker.exiting()) do
      local byte, why = sock:receive(1)
      if byte then
         local ok, err = pcall(poll, BUDGET)
         if not ok then
            log.error("a turn failed", { error = err })
            ngx.sleep(AGAIN)
            wake() -- for what it has left
         end
      elseif why ~= "timeout" then return false, why end
   end
   return true
end

local function drive()
   repeat
      local sock, why = connect()
      local is_over = false
      if sock then
         is_over, why = poll_while(sock)
         sock:close()
      end
      if not is_over and ngx.worker.exiting() then -- worker_shutdown_timeout
         log.warn("nginx does not wait any longer", { error = why })
         is_over = true
      elseif not is_over then
         log.error("the wake socket of nginx is lost", { error = why })
         ngx.sleep(AGAIN)
      end
   until is_over
   waiter.drive(poll)
end

-- ---- the end ----

-- Handlers finish, hooks run, confirms arrive. The connections stay, for requests that have not ended: they are closed with the
-- Lua state.
local function settle()
   loop.sleep(0) -- until all consumers are being cancelled
   left = shutdown.settle(stop.patience)
   for _, fn in ipairs(enders) do fn(left) end
   wake()
end

-- A timer that nginx runs early when the worker is to leave.
local function watch(is_early)
   if not is_early then return at(DAY, watch) end
   for _, fn in ipairs(leavers) do fn() end
   if stop.is_asked() then return wake() end
   log.info("stopping", { signal = "nginx" })
   shutdown.ask()
end

--- Calls fn(left) when a stop has ended all consumers: what was abandoned.
function driver.on_end(fn) enders[#enders + 1] = fn end

--- Calls fn() when nginx has told the worker to leave. It must not wait.
function driver.on_leave(fn) leavers[#leavers + 1] = fn end

--- What a stop has left; nil: none has ended.
function driver.left() return left end

--- Runs fn() in a light thread.
function driver.spawn(fn)
   return at(0, function(is_early)
      if not is_early then fn() end
   end)
end

--- Begins to poll in this worker.
-- @tparam function poll_function mr.poll
-- @tparam number drain seconds for handlers at the end
function driver.start(poll_function, drain)
   poll, stop.patience = poll_function, drain
   open_socket()
   stop.on_ask(function()
      shutdown.lead()
      task.later(settle)
   end)
   at(0, drive)
   at(DAY, watch)
end

return driver

--- health: the health of the program: built-in checks, the program's own checks, reports and pages.
-- SPDX-License-Identifier: MIT
-- The I/O thread decides and serves the pages, so that they are correct while the script is stuck; this module runs the
-- program's checks and passes their results on.
local ffi = require "ffi"
local bit = require "bit"
local C = require("moonrabbit.base.ffi").C
local checks = require "moonrabbit.health.checks"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local generation = require "moonrabbit.loop.generation"
local host_pages = require "moonrabbit.health.host_pages"
local lag = require "moonrabbit.health.lag"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local read_address = require "moonrabbit.base.address"
local task = require "moonrabbit.loop.task"
local value = require "moonrabbit.base.value"

local health = {}

local CHECKS_MAX, NAME_MAX = 64, 128
local PATIENCE = 5                     -- seconds for an answer of the I/O thread, which never blocks
local BITS = { connected = C.MR_CHECK_CONNECTED, consuming = C.MR_CHECK_CONSUMING, blocked = C.MR_CHECK_BLOCKED,
   stalled = C.MR_CHECK_STALLED, last_message = C.MR_CHECK_LAST_MESSAGE }

local listeners = {}                   -- functions of on_change
local settings                         -- mr_health_options, once configured

-- ---- checks ----

--- Registers a check, or replaces the one of this name. It is called in its own task, soon and then every `every` seconds. A
-- check fails if it raises an error, returns another value, or takes longer than `timeout` seconds; it is not called again
-- while a call runs. A check must not block: use calls that wait in the loop (mr.wait_fd, mr.sleep).
-- @tparam string name up to 128 bytes
-- @tparam function fn returns true, or false and a detail (a string, a number, an error, a small table)
-- @tparam[opt] table opts every=30 (seconds from one call to the next), timeout=5 (seconds for one call)
function health.check(name, fn, opts)
   options.argument(1, "name", name, "string")
   options.argument(2, "fn", fn, "function")
   opts = options.check(opts, { every = "number", timeout = "number" })
   for _, key in ipairs { "every", "timeout" } do
      if opts[key] and (opts[key] <= 0 or opts[key] ~= opts[key]) then options.blame(('option "%s" must be more than 0'):format(key)) end
   end
   if name == "" or #name > NAME_MAX or name:find "%z" then options.blame("a check's name has 1 to 128 bytes, no NUL") end
   if BITS[name] or name == "lag" then options.blame(('"%s" is a built-in check: see mr.health.configure'):format(name)) end
   if not checks.has(name) and checks.count >= CHECKS_MAX then options.blame("there are 64 checks already") end
   local ours
   generation.own("health check " .. name, function() checks.drop(ours) end)
   generation.later(function() ours = checks.add(name, fn, opts.every or 30, opts.timeout or 5) end)
end

--- Removes a check.
-- @tparam string name as it was registered
function health.forget(name)
   options.argument(1, "name", name, "string")
   checks.forget(name)
end

-- ---- the built-in checks ----

local SWITCHES = {                     -- option -> types
   connected = { boolean = true }, consuming = { boolean = true, number = true }, blocked = { boolean = true },
   stalled = { boolean = true, number = true }, dead_after = { boolean = true, number = true },
   last_message = { boolean = true, number = true }, lag = { boolean = true, number = true, table = true },
}

local function check_switches(given)
   local spec = {}
   for name, types in each(SWITCHES) do
      local kind = type(given[name])
      spec[name] = types[kind] and kind or next(types)
   end
   options.check(given, spec)
   for name, v in each(given) do
      if type(v) == "number" and not (v >= 0 and v < math.huge) then
         options.blame(('option "%s" must not be negative'):format(name))
      end
   end
   if given.last_message == true then options.blame('option "last_message" must be a number of seconds, or false') end
   if given.dead_after == true then options.blame('option "dead_after" must be a number of seconds, or false') end
end

local function switch(name, v)
   if v == nil then return end
   local others = settings.checks - (bit.band(settings.checks, BITS[name]) ~= 0 and BITS[name] or 0)
   settings.checks = v and others + BITS[name] or others
end

local function default_settings()
   return ffi.new("mr_health_options", { checks = BITS.connected + BITS.consuming + BITS.blocked + BITS.stalled,
      dead = 900 })
end

local function apply(opts, lag_options)
   settings = settings or default_settings()
   for name in each(BITS) do switch(name, opts[name]) end
   if opts.consuming ~= nil then settings.consumers = type(opts.consuming) == "number" and opts.consuming or 0 end
   if opts.stalled ~= nil then settings.stalled = type(opts.stalled) == "number" and opts.stalled or 0 end
   if opts.dead_after ~= nil then settings.dead = opts.dead_after or 0 end
   if opts.last_message then settings.last_message = opts.last_message end
   C.mr_health_configure(loop.runtime(), settings)
   if opts.lag == false then checks.forget "lag"
   elseif lag_options then checks.add("lag", lag.check(lag_options.max), lag_options.every, lag_options.timeout) end
end

--- Enables and disables built-in checks, and sets their limits; options that are not named do not change.
-- @tparam table opts connected=true (each connection is open), consuming=true (each consumer consumes; or the minimum
-- number of consumers), blocked=true (no broker blocks our publishes), stalled=true (the script returns to the loop in time;
-- or the maximum seconds; default: the watchdog's limit), dead_after=900 (seconds of a stall after which /live fails;
-- false: never), last_message=false (maximum age of the last message in seconds), lag=false (maximum number of messages that
-- wait in a queue with a consumer; or a table: max, every = 30, timeout = 5)
function health.configure(opts)
   if type(opts) ~= "table" then options.blame("mr.health.configure takes a table of options") end
   check_switches(opts)
   local lag_options = lag.options(opts.lag)
   generation.later(function() apply(opts, lag_options) end)
end

-- ---- reports and pages ----

local function report_of(ev)
   local told = ev.as.health.health
   if told == nil or told.report == nil then return nil end
   return value.decode(told.report)
end

loop.on(C.MR_EV_HEALTH, function(ev)
   local report = report_of(ev)
   local token = tonumber(ev.as.health.token)
   if token ~= 0 then return task.wake(token, report or errors.new("no_memory", "config")) end
   if not report then return end
   local new, old = report.status, report.status == "healthy" and "unhealthy" or "healthy"
   for _, fn in ipairs(listeners) do task.later(function() fn(old, new, report) end) end
end)

--- The report of GET /health?verbose. Waits some microseconds for the I/O thread.
-- @treturn[1] table status ("healthy" or "unhealthy"), broker, checks (by name: status, detail), and if
-- unhealthy error (the first reason) and reasons
-- @treturn[2] nil, error
function health.report()
   local token = task.token()
   local status = C.mr_health_ask(loop.runtime(), token)
   if status ~= 0 then return nil, errors.of_status(status, "config") end
   local report = loop.wait(token, PATIENCE)
   if report == nil then return nil, errors.new("timeout", "config") end
   if errors.is(report) then return nil, report end
   return report
end

--- Calls fn(old, new, report) in a task whenever the status changes between "healthy" and "unhealthy".
-- While a script is stuck, fn cannot be called: it gets both changes afterwards.
-- @tparam function fn called with the old and the new status, and the result of health.report
function health.on_change(fn)
   options.argument(1, "fn", fn, "function")
   generation.own({}, function()
      for i, other in ipairs(listeners) do
         if other == fn then return table.remove(listeners, i) end
      end
   end)
   generation.later(function()
      listeners[#listeners + 1] = fn
      C.mr_health_watch(loop.runtime(), true)
   end)
end

-- An address, or the path of a socket.
local function split(where)
   if where:sub(1, 1) == "/" then return where, 0 end
   return read_address(where)
end

local served -- {where, port, is_of_chunk} of the pages; is_of_chunk: a script's main chunk opened them, not the command

local function ask(call, ...)
   local token = task.token()
   local status = call(loop.runtime(), token, ...)
   if status ~= 0 then return nil, errors.of_status(status, "config") end
   local reply = loop.wait(token, PATIENCE)
   if not reply then return nil, errors.new("timeout", "config") end
   if reply.err then return nil, reply.err end
   return reply
end

-- Whether the page for browsers is served there, and who may change things by it. call: for the next server, or this one, too
local function show(call, opts)
   local where = opts.page and C.MR_SHOW_EVERYWHERE or opts.page == false and C.MR_SHOW_NOWHERE or C.MR_SHOW_LOCAL
   if call(loop.runtime(), where, opts.admin) ~= 0 then options.blame 'option "admin" takes 1 to 511 bytes' end
   host_pages.serve_offered()
end

--- Serves /health, /ready, /live and /metrics by HTTP, from the I/O thread; and the page / for browsers, with its data as /status and
-- /details, which names users, hosts and places in the script.
-- @tparam string where "ADDRESS:PORT"; a port alone is served on the loopback interface, "*:PORT" on all;
-- port 0: any; a path: a socket for this user alone
-- @tparam[opt] table opts page=nil (true: serve the page for browsers to everybody who can connect; false: to nobody; nil: at
-- loopback addresses and paths only), admin=nil (a token: who sends it may change things by the page)
-- @treturn[1] number the port
-- @treturn[2] nil, error, for example if the port is in use
function health.listen(where, opts)
   options.argument(1, "where", where, "string")
   opts = options.check(opts, { page = "boolean", admin = "string" })
   local address, port = split(where)
   if not address then
      return nil, errors.new("bad_argument", "config", ('"%s" is not ADDRESS:PORT, such as 127.0.0.1:8080'):format(where))
   end
   local is_staging = generation.is_staging()
   if served and served.where == where and is_staging then -- by the earlier script
      if served.is_of_chunk then generation.later(function() show(C.mr_http_show_now, opts) end) end
      return served.port
   end
   show(C.mr_http_show, opts)
   local reply, err = ask(C.mr_http_listen, address, port)
   if not reply then return nil, err end
   served = { where = where, port = reply.message_count, is_of_chunk = is_staging or generation.is_loading() }
   return served.port
end

--- Closes the port of mr.health.listen.
-- @treturn[1] true also if nothing was served
-- @treturn[2] nil, error
function health.close()
   local reply, err = ask(C.mr_http_close)
   if not reply then return nil, err end
   served = nil
   return true
end

loop.on_close(function() listeners, settings, served = {}, nil, nil end)

return health

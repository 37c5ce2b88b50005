--- ngx: Moonrabbit in nginx, with ngx_lua (OpenResty, or Debian's libnginx-mod-http-lua).
--
--    init_worker_by_lua_block { require("moonrabbit.ngx").start { script = "consumers.lua" } }
--
-- From then on a publish with confirm, an rpc, a get... in a request suspends that request only (docs/embedding.md).
-- SPDX-License-Identifier: MIT
if not rawget(_G, "ngx") then error("moonrabbit.ngx is for nginx with ngx_lua: elsewhere use moonrabbit run SCRIPT", 0) end
local mr = require "moonrabbit"
local driver = require "moonrabbit.host.ngx_driver"
local errlog = require "ngx.errlog"
local health = require "moonrabbit.host.ngx_health"
local options = require "moonrabbit.base.options"
local host = require "moonrabbit.loop.host"
local phase = require "moonrabbit.host.ngx_phase"
local script = require "moonrabbit.host.ngx_script"
local settings = require "moonrabbit.connection.settings"
local waiter = require "moonrabbit.host.ngx_waiter"

local door = {}

local LEVELS = { error = ngx.ERR, warn = ngx.WARN, info = ngx.INFO, debug = ngx.DEBUG }

local is_started = false

-- error_log has time and level already.
local function write(level, line) errlog.raw_log(LEVELS[level], "moonrabbit: " .. line:gsub("^time=%S+ level=%a+ ", "")) end

local function check(opts)
   opts = options.check(opts, { script = "string", workers = "string", args = "table", url = "string", drain = "number",
      log_level = "string" })
   options.seconds("drain", opts.drain)
   if opts.workers and opts.workers ~= "all" and opts.workers ~= "one" then
      options.blame('option "workers" must be "all" or "one"')
   end
   return opts
end

--- Begins in a worker of nginx: to be called in init_worker_by_lua*. When nginx reloads or quits (SIGHUP, SIGQUIT), the consumers are
-- cancelled, handlers finish, and publishes are confirmed; requests go on until they have ended.
-- @tparam table opts script (the file of a script as of `moonrabbit run`; relative to nginx's prefix; none: only requests use
-- Moonrabbit), workers="all" (which of nginx's workers run it; "one": only the first), args (mr.args of the script: values by name,
-- and what is in `arg` from 1 on), url (default of mr.connect; without: AMQP_URL, which nginx hands on after `env AMQP_URL;`),
-- drain=30 (seconds for handlers at the end), log_level="info" (error_log has a level of its own)
function door.start(opts)
   opts = check(opts)
   if ngx.get_phase() ~= "init_worker" then options.blame("start belongs in init_worker_by_lua_block") end
   if is_started then options.blame("it was started before in this worker") end
   local id = ngx.worker.id()
   if not id then return end -- a process that serves no requests
   is_started = true
   phase.guard()
   mr.log.configure(opts.log_level or "info")
   mr.log.set_worker(id + 1)
   mr.log.sink(write)
   settings.suffix = "/" .. (id + 1)
   if opts.url then mr.set_default_url(opts.url) end
   mr.host { waiter = waiter.new }
   host.outside, host.run = phase.obstacle, script.run
   driver.start(function(budget)
      local is_busy = mr.poll(budget)
      health.look()
      return is_busy
   end, opts.drain or 30)
   health.start(id + 1)
   if not opts.script or opts.workers == "one" and id ~= 0 then return health.spare() end
   local path = opts.script:sub(1, 1) == "/" and opts.script or ngx.config.prefix() .. opts.script
   settings.script = opts.script
   script.start(mr, { script = path, args = opts.args or {} })
end

--- Answers a request with the page of the last part of its address: /health, /ready, /live or /metrics, about all workers where
-- there is a `lua_shared_dict moonrabbit 100k;`, else about the one that is asked. For content_by_lua*.
function door.health() health.answer() end

return door

--- cli.supervise: `--workers N`: keeps N worker processes running, and runs no script itself.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local folder = require "moonrabbit.cli.folder"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local muster = require "moonrabbit.cli.muster"
local notes = require "moonrabbit.cli.notes"
local notify = require "moonrabbit.cli.notify"
local overseer = require "moonrabbit.cli.overseer"
local signals = require "moonrabbit.cli.signals"
local spawn = require "moonrabbit.cli.spawn"
local usage = require "moonrabbit.cli.usage"

local supervise = {}

local FIRST, LONGEST = 1, 30 -- seconds before a dead worker is started again; doubled each time
local HEALTHY = 60           -- seconds after which a worker counts as healthy: then the delay is reset
local GRACE = 6              -- seconds beyond --drain after which a worker is killed
local SAME_SIGNAL = 1.1      -- seconds within which a worker ignores a repeated signal
local LAST_WORDS = 2         -- seconds that a worker may use to end at once

local Group = {}
Group.__index = Group

-- ---- one worker ----

-- Each worker has a console of its own, beside that of the supervisor.
local function add_console(args, wanted, number)
   if wanted.no_console then args[#args + 1] = "--no-console" end
   if wanted.console_read_only then args[#args + 1] = "--console-read-only" end
   if wanted.console then
      args[#args + 1] = "--console"
      args[#args + 1] = ("%s.%d"):format(wanted.console, number)
   end
end

local function arguments_of(group, number)
   local wanted, args = group.wanted, { "run", "--drain", tostring(group.wanted.drain), "--log-level", group.wanted.log_level,
      "--log-format", group.wanted.log_format }
   if wanted.watch then args[#args + 1] = "--watch" end
   if wanted.queue_type then
      args[#args + 1] = "--queue-type"
      args[#args + 1] = wanted.queue_type
   end
   for _, name in ipairs { "recorder", "recorder_dir" } do
      if wanted[name] then
         args[#args + 1] = "--" .. name:gsub("_", "-")
         args[#args + 1] = tostring(wanted[name])
      end
   end
   add_console(args, wanted, number)
   for key, value in each(wanted.args) do
      if type(key) == "string" then
         args[#args + 1] = "--set"
         args[#args + 1] = key .. "=" .. value
      end
   end
   args[#args + 1] = "--"
   args[#args + 1] = wanted.script
   for _, a in ipairs(wanted.arguments) do args[#args + 1] = a end
   return args
end

local function start(group, worker)
   worker.timer = nil
   if group.sockets then os.remove(group.sockets[worker.number]) end -- the socket of the worker before it
   local told_at, watchdog = group.muster:environment(worker.number)
   group.muster:forget(worker)
   local pid, why = spawn.start(arguments_of(group, worker.number), { MOONRABBIT_SUPERVISOR = tostring(spawn.pid()),
      MOONRABBIT_WORKER = tostring(worker.number), MOONRABBIT_WORKER_COUNT = tostring(group.wanted.workers),
      MOONRABBIT_URL = group.wanted.url or nil, MOONRABBIT_WORKERS = false,
      NOTIFY_SOCKET = told_at, WATCHDOG_USEC = watchdog, WATCHDOG_PID = false,
      MOONRABBIT_QUIET = group.is_quiet and "1" or false,
      MOONRABBIT_HTTP = false, MOONRABBIT_CONSOLE = false,
      MOONRABBIT_WORKER_SOCKET = group.sockets and group.sockets[worker.number] or false,
      MOONRABBIT_WORKER_NOTES = group.book and group.book:path(worker.number) or false })
   worker.began = C.mr_now()
   if not pid then
      log.error("worker not started", { worker = worker.number, error = why })
      return group:_died(worker, { code = 1 })
   end
   worker.pid = pid
   log.info("worker started", { worker = worker.number, pid = pid })
end

-- Starts it again, with a growing delay.
function Group:_died(worker, how)
   if C.mr_now() - worker.began >= HEALTHY then worker.deaths = 0 end
   worker.deaths = worker.deaths + 1
   self.restarts = self.restarts + 1
   local delay = math.min(FIRST * 2 ^ (worker.deaths - 1), LONGEST)
   log.error("worker died", { worker = worker.number, pid = worker.pid, code = how.code, signal = how.signal,
      seconds = math.floor(C.mr_now() - worker.began), deaths = worker.deaths, delay = delay })
   worker.pid = nil
   worker.timer = loop.after(delay, function() start(self, worker) end)
end

local function ended(group, worker, how)
   worker.how = how
   group.muster:forget(worker)
   if group.book then group.book:ended(worker.number, how.code ~= 0 and not group.is_stopping) end
   if how.code == 0 or group.is_stopping then
      log.info("worker ended", { worker = worker.number, pid = worker.pid, code = how.code, signal = how.signal })
      worker.pid = nil
   else
      group:_died(worker, how)
   end
end

-- ---- all of them ----

function Group:reap()
   for _, worker in ipairs(self.workers) do
      local how = worker.pid and spawn.ended(worker.pid)
      if how then ended(self, worker, how) end
   end
end

function Group:_signal(number)
   for _, worker in ipairs(self.workers) do
      if worker.pid then spawn.signal(worker.pid, number) end
   end
end

local function stop(group, number)
   if group.is_stopping then
      log.warn("ending at once", { signal = signals.name(number) })
      loop.after(math.max(0, group.stopping_since + SAME_SIGNAL - C.mr_now()), function() group:_signal(number) end)
      return loop.after(SAME_SIGNAL + LAST_WORDS, function() group:_signal(spawn.KILL) end)
   end
   group.is_stopping, group.stopping_since = true, C.mr_now()
   notify.stopping(group.wanted.drain + notify.GRACE)
   log.info("stopping", { signal = signals.name(number), workers = #group.workers })
   for _, worker in ipairs(group.workers) do
      if worker.timer then loop.cancel(worker.timer) end
      worker.timer = nil
   end
   group:_signal(number)
   loop.after(group.wanted.drain + GRACE, function() group:_signal(spawn.KILL) end)
end

function Group:is_over()
   for _, worker in ipairs(self.workers) do
      if worker.pid or worker.timer then return false end
   end
   return true
end

-- A worker that is started later has to know whether the others are quiet.
local function pass_on(group, number)
   if group.is_stopping then return end
   if number == signals.USR2 then group.is_quiet = not group.is_quiet end
   log.info("telling all workers", { signal = signals.name(number), workers = #group.workers })
   group:_signal(number)
end

function Group:on_signal(number)
   if number == signals.CHLD then return self:reap() end
   if number == signals.USR1 or number == signals.USR2 then return pass_on(self, number) end
   if number ~= signals.HUP then return stop(self, number) end
   log.info("reloading", { workers = #self.workers })
   self.muster:reloading()
   self:_signal(number)
end

-- The order of exit codes: 0, 75 (messages are delivered again), 74 (publishes are lost), others.
local WEIGHTS = { [0] = 0, [75] = 1, [74] = 2 }

-- The worst of all: 0, then 75, then 74, then anything else.
function Group:worst()
   local code = 0
   for _, worker in ipairs(self.workers) do
      local how = worker.how or {}
      local own = how.signal and 128 + how.signal or how.code or 0
      if (WEIGHTS[own] or 3) > (WEIGHTS[code] or 3) then code = own end
   end
   return code
end

-- The folder for the workers' notes and sockets.
local function open_folder(group)
   local path, why = folder.make()
   if not path then return nil, { text = why } end
   group.folder, group.book = path, notes.book(path)
   return true
end

function Group:close()
   if not self.folder then return end
   self.muster:close()
   self.book:close(#self.workers)
   folder.remove(self.folder)
end

-- Serves --http: each worker has its own socket for requests.
local function serve(group)
   local health, pages = require "moonrabbit.health.health", require "moonrabbit.cli.pages"
   group.sockets = {}
   for number = 1, group.wanted.workers do group.sockets[number] = ("%s/%d"):format(group.folder, number) end
   pages.serve(group)
   require("moonrabbit.cli.overview").serve(group)
   local port, err = health.listen(group.wanted.http, { page = group.wanted.http_page, admin = group.wanted.http_token })
   return port and true, err
end

-- Without --http it can do without the folder: then nobody knows what a worker died of.
local function prepare(group)
   local ok, err = open_folder(group)
   if ok and group.wanted.http then ok, err = serve(group) end
   if ok then return true end
   if group.wanted.http then return nil, err end
   log.warn("no folder for the workers' notes: a message that ends its worker is tried for ever", { error = err.text })
   return true
end

--- Makes the workers; starts none yet.
-- @tparam table wanted of cli.arguments
function supervise.group(wanted)
   local group = setmetatable({ wanted = wanted, workers = {}, restarts = 0, is_stopping = false }, Group)
   group.muster = muster.new(group)
   for number = 1, wanted.workers do group.workers[number] = { number = number, deaths = 0 } end
   return group
end

--- Starts them all.
function Group:start()
   for _, worker in ipairs(self.workers) do start(self, worker) end
end

--- Runs `--workers N`.
-- @tparam table wanted of cli.arguments
-- @treturn number exit code: the worst of the workers' own
function supervise.main(wanted)
   local group = supervise.group(wanted)
   local ok, err = prepare(group)
   if not ok then
      group:close()
      if err.kind == "bad_argument" then
         usage.say("--http: " .. err.text, "run")
         return usage.CODE
      end
      log.error("health pages not served", { where = wanted.http, kind = err.kind, error = err.text, hint = err.hint })
      return 1
   end
   signals.process().supervise()
   signals.each({ signals.HUP, signals.CHLD }, function(number) group:on_signal(number) end)
   group.muster:begin()
   overseer.begin(group)
   group:start()
   while not group:is_over() do loop.pump() end
   overseer.finish()
   group:close()
   local code = group:worst()
   log.info("stopped", { code = code, workers = #group.workers, restarts = group.restarts })
   return code
end

return supervise

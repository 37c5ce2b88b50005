--- cli.run: `moonrabbit run SCRIPT`: runs a script, then its loop, then stops cleanly.
-- SPDX-License-Identifier: MIT
local arguments = require "moonrabbit.cli.arguments"
local docs = require "moonrabbit.cli.docs"
local each = require "moonrabbit.base.each"
local losses = require "moonrabbit.cli.losses"
local usage = require "moonrabbit.cli.usage"

local run = {}

local FAILED = 1 -- exit code
local GRACE = 4 -- seconds beyond --drain after which the process ends whatever the script does; hooks and closing have two of them

--- Adds the command to the parser.
function run.describe(p)
   local c = p:command("run", "Run a script, then its loop, until it has nothing more to do or is told to stop.", [[
Signals:
   SIGINT, SIGTERM,  stop: cancel the consumers, let handlers finish, flush acks and confirms,
   SIGQUIT           close; a second one ends at once, and says what is lost
   SIGUSR1           write into the log what each running handler waits at, and the flight
                     recorder's events to a file, whose path the log says
   SIGUSR2           take no more messages, and stay; again: take messages
   SIGHUP            load the script anew: handlers at work finish on the old code; connections,
                     channels and consumer tags stay; a script that does not load changes nothing

Exit codes:
   0    all was settled
   1    the script failed, or a connection was lost for good
   2    wrong usage
   74   publishes were lost when stopping: the log names them, and they do not come again
   75   handlers had to be abandoned when stopping: the log names them, and their messages come again

Each option with a value, but --set, can be said in the environment, too: --log-format as
MOONRABBIT_LOG_FORMAT, and so on. The command line wins.
More: ]] .. docs.path "worker.md" .. ".")
   c:argument("script", "The Lua script; -: what comes from standard input.")
   c:argument("arguments", "What the script finds in `arg`, in `mr.args` and in `...`, options too."):args "*"
   c:option("--url", "Where mr.connect() connects when it is not told; without a password, please: that belongs in AMQP_URL.")
      :argname "URL"
   c:option("--http", "Serve /health, /ready, /live and /metrics there, and on the loopback interface the page / for browsers; "
         .. "a port alone: on the loopback interface.")
      :argname "ADDR:PORT"
   c:flag("--http-page", "Serve the page for browsers at any address, also through a proxy: "
         .. "it names users, hosts and places in the script.")
   c:option("--http-admin", "Let who has the token in this file (mode 0600) pause consumers and more by the page.")
      :argname "TOKENFILE"
   c:option("--console", "The path of the socket for `moonrabbit attach` (with --workers that of the supervisor; the "
         .. "workers' are PATH.1, PATH.2...); default: one in this user's folder of consoles.")
      :argname "PATH"
   c:flag("--no-console", "Open no console.")
   c:flag("--console-read-only", "Let the console show, but neither run nor change anything.")
   c:option("--recorder", "Events of each thread that the flight recorder keeps; 0: none; default: 4096."):argname "N"
   c:option("--recorder-dir", "The folder of the flight recorder's files; default: $MOONRABBIT_STATE, systemd's "
         .. "$STATE_DIRECTORY, or $XDG_STATE_HOME/moonrabbit."):argname "PATH"
   c:option("--set", "Set mr.args.KEY to VALUE for the script; may be repeated."):argname "KEY=VALUE":count "*"
   c:option("--workers", "Run N processes of the script under a supervisor: one that dies is started again.")
      :argname "N"
   c:flag("--watch", "Load the script anew when its file, or a module that it requires, has changed.")
   c:option("--drain", "Seconds that running handlers have to finish when stopping; default: 30."):argname "SECONDS"
   c:option("--queue-type", "The type of durable queues that the script declares without one: classic, quorum or stream.")
      :argname "TYPE"
   c:option("--log-level", "The least level to log: error, warn, info or debug; default: info."):argname "LEVEL"
   c:option("--log-format", "How to log: logfmt or json; default: logfmt."):argname "FORMAT"
end

run.split = arguments.split

-- Tells the service manager, if there is one, from the begin of the main chunk on.
local function tell_manager() require("moonrabbit.cli.notify").begin(require "moonrabbit.cli.doing") end

-- True unless the script cannot be loaded or raised an error.
local function run_script(mr, wanted)
   local generation, script = require "moonrabbit.loop.generation", require "moonrabbit.cli.script"
   generation.loading(true)
   tell_manager()
   local ok, why = script.run(wanted.script, wanted.arguments)
   generation.loading(false)
   if not ok then mr.log.error("the script failed", { script = wanted.script, error = why }) end
   return ok
end

local function watch_for_changes(mr, wanted)
   local reload, script = require "moonrabbit.cli.reload", require "moonrabbit.cli.script"
   require("moonrabbit.cli.signals").watch(mr, function() reload.run(wanted) end)
   if not wanted.watch then return end
   require("moonrabbit.cli.watch").start(function() return script.files(wanted.script) end,
      function() reload.run(wanted) end)
end

-- The script's arguments: `arg` as in any Lua script, mr.args with the values of --set.
local function set_arguments(mr, wanted)
   local args = { [0] = wanted.script }
   for i, a in ipairs(wanted.arguments) do args[i] = a end
   _G.arg = args
   require("moonrabbit.connection.settings").script = wanted.script == "-" and "stdin" or wanted.script
   for key, value in each(wanted.args) do mr.args[key] = value end
end

-- A worker: its number is in its log lines, in the names of its connections, and in mr.args.worker.
local function set_number(mr)
   local number = tonumber(os.getenv "MOONRABBIT_WORKER")
   if not number then return end
   mr.log.set_worker(number)
   require("moonrabbit.connection.settings").suffix = "/" .. number
   mr.args.worker = mr.args.worker or tostring(number)
   local path = os.getenv "MOONRABBIT_WORKER_NOTES"
   if path then require("moonrabbit.consumer.rounds").use(require("moonrabbit.cli.notes").worker(path)) end
   if os.getenv "MOONRABBIT_QUIET" then require("moonrabbit.program.quiet").set(true) end -- as the other workers are
end

-- A script that spins cannot react when the time is over: then the C part ends the process.
local function set_guard(wanted)
   local process = require("moonrabbit.cli.signals").process()
   if not process then return end
   local before, behind = "level=error msg=stopped code=", ' text="%s"'
   if wanted.log_format == "json" then before, behind = '{"level":"error","msg":"stopped","code":', ',"text":"%s"}' end
   process.guard(math.ceil(wanted.drain) + GRACE, before,
      behind:format "the script did not let go; unsettled messages come again, unconfirmed publishes do not")
   require("moonrabbit.cli.hurry").install(process)
end

-- Enables interrupting a script that spins, for its traceback and for time limits.
local function set_watchdog()
   local process = require("moonrabbit.cli.signals").process()
   if process then require("moonrabbit.loop.watchdog").install(process, require("moonrabbit.cli.hurry").hasten) end
end

-- A script that calls os.exit loses no earlier publishes and acks.
local function set_exit()
   local process = require("moonrabbit.cli.signals").process()
   if process then require("moonrabbit.cli.leave").install(process) end
end

-- The last line, and the exit code.
local function finish(mr, left, was_asked, lost)
   local has_left, has_lost = left.handlers > 0, left.publishes > 0
   local code = has_lost and losses.UNSENT or has_left and losses.ABANDONED or lost and FAILED or 0
   local asked = require("moonrabbit.cli.leave").code -- set by os.exit in a task
   local fields = { code = asked or code, handlers = left.handlers, publishes = left.publishes,
      text = losses.text(left.handlers, left.publishes) }
   if code ~= 0 then mr.log.error("stopped", fields) elseif was_asked then mr.log.info("stopped", fields) end
   return code
end

-- Serves the health pages, those of a worker only for its supervisor; an exit code if that fails.
local function serve_pages(mr, where, wanted)
   if not where then return nil end
   local port, err = mr.health.listen(where, { page = wanted.http_page, admin = wanted.http_token })
   if port then return nil end
   if err.kind == "bad_argument" then
      usage.say("--http: " .. err.text, "run")
      return usage.CODE
   end
   mr.log.error("health pages not served", { where = where, kind = err.kind, error = err.text, hint = err.hint })
   return FAILED
end

-- The console, for `moonrabbit attach`. A program works without it: why there is none is a line of the log.
local function open_console(mr, wanted)
   if wanted.no_console then return end
   local evaluate, script = require "moonrabbit.console.evaluate", require "moonrabbit.cli.script"
   evaluate.environment = script.environment
   require("moonrabbit.console.control").add("reload", function() return require("moonrabbit.cli.reload").await(wanted) end)
   local number = os.getenv "MOONRABBIT_WORKER"
   local name = require("moonrabbit.cli.processes").name(wanted.script, number)
   local _, err = mr.console { path = wanted.console, name = name, read_only = wanted.console_read_only }
   if not err then return end
   local fields = { kind = err.kind, error = err.text, hint = err.hint }
   if wanted.console then mr.log.warn("no console", fields) else mr.log.info("no console", fields) end
end

-- The script may call mr.run itself, as without the command: its losses count for the exit code. If a signal ended mr.run,
-- the process ends; else the command sets up the next runtime like the first one.
local function heed_own_runs(mr, wanted, where)
   local shutdown, stop = require "moonrabbit.program.shutdown", require "moonrabbit.loop.stop"
   local loop, signals, task = require "moonrabbit.loop.loop",
      require "moonrabbit.cli.signals",
      require "moonrabbit.loop.task"
   local before = { handlers = 0, publishes = 0 }
   shutdown.set_last(function(left)
      before.handlers, before.publishes = before.handlers + left.handlers, before.publishes + left.publishes
      before.lost = stop.lost() or before.lost
      return signals.has_asked
   end)
   loop.on_open(function()
      watch_for_changes(mr, wanted)
      tell_manager()
      open_console(mr, wanted)
      if where then task.background(function() serve_pages(mr, where, wanted) end) end
   end)
   return before
end

-- Stops, unless the script has stopped itself.
local function end_program(before, seconds)
   local shutdown = require "moonrabbit.program.shutdown"
   local is_over = require("moonrabbit.cli.signals").has_asked and before.handlers + before.publishes > 0
   local left = is_over and { handlers = 0, publishes = 0 } or shutdown.run(seconds)
   return { handlers = before.handlers + left.handlers, publishes = before.publishes + left.publishes }
end

local function main(mr, wanted, where)
   local shutdown, stop = require "moonrabbit.program.shutdown", require "moonrabbit.loop.stop"
   stop.patience, shutdown.usual, stop.stops_at_loss = wanted.drain, wanted.drain, true
   watch_for_changes(mr, wanted)
   local before = heed_own_runs(mr, wanted, where)
   set_guard(wanted)
   set_watchdog()
   set_exit()
   open_console(mr, wanted)
   if not run_script(mr, wanted) then
      shutdown.run(math.min(wanted.drain, 1))
      return FAILED
   end
   shutdown.until_idle()
   local asked = stop.is_asked()
   local left = end_program(before, wanted.drain)
   return finish(mr, left, asked, stop.lost() or before.lost) -- a loss may be reported after the end of its consumers
end

--- Runs the command.
-- @treturn number exit code
function run.main(options)
   local wanted, why = arguments.complete(options)
   if not wanted then
      usage.say(why, "run")
      return usage.CODE
   end
   local mr = require "moonrabbit"
   if wanted.recorder then mr.recorder.size(wanted.recorder) end -- before the first runtime
   mr.log.configure(wanted.log_level, wanted.log_format)
   local process = require("moonrabbit.cli.signals").process()
   local is_worker = process and process.is_worker
   local workers = is_worker and tonumber(os.getenv "MOONRABBIT_WORKER_COUNT") or wanted.workers
   require("moonrabbit.cli.recordings").begin(wanted.recorder_dir, workers)
   local code
   if wanted.workers and not is_worker then
      code = require("moonrabbit.cli.supervise").main(wanted)
   else
      if wanted.url then mr.set_default_url(wanted.url) end
      if wanted.queue_type then mr.defaults { queue_type = wanted.queue_type } end
      set_arguments(mr, wanted)
      if is_worker then set_number(mr) end
      io.stdout:setvbuf "line" -- beside the log, also where it is not a terminal: what is printed shows when it is
      local where = wanted.http
      if is_worker then where = os.getenv "MOONRABBIT_WORKER_SOCKET" end
      code = serve_pages(mr, where, wanted) or main(mr, wanted, where)
   end
   require("moonrabbit.loop.loop").close(1)
   return require("moonrabbit.cli.leave").code or code
end

return run

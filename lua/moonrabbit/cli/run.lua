--- cli.run: `moonrabbit run SCRIPT`: runs a script, then its loop, then stops in good order.
-- SPDX-License-Identifier: MIT
local run = {}

local FAILED, WRONG_USAGE, ABANDONED = 1, 2, 75 -- exit codes; 75: as of sysexits.h, "try again"

--- Adds the command to the parser.
function run.describe(p)
   local c = p:command("run", "Run a script, then pump its loop until it has nothing more to do, or SIGINT or SIGTERM.", [[
A signal cancels the consumers, lets running handlers finish, flushes acks and confirms and
closes; a second one ends at once.

Exit codes:
   0    all was settled
   1    the script failed, or a connection was lost
   2    wrong usage
   75   something had to be abandoned when stopping; its messages come again]])
   c:argument("script", "The Lua script.")
   c:argument("arguments", "What the script finds in `arg` and in `...`, options too."):args "*"
   c:option("--url", "Where mr.connect() connects when it is not told; without a password, please: that belongs in AMQP_URL.")
      :argname "URL"
   c:option("--drain", "Seconds that running handlers have to finish when stopping.", "30"):argname "SECONDS"
   c:option("--log-level", "The least level to log: error, warn, info or debug.", "info"):argname "LEVEL"
      :choices { "error", "warn", "info", "debug" }
   c:option("--log-format", "How to log: logfmt or json.", "logfmt"):argname "FORMAT":choices { "logfmt", "json" }
end

--- Splits the arguments of `run`: what is ours ends with the script's name, whatever follows is the
-- script's, options too. Each of our options but --help takes one value.
-- @tparam table args without the command's name
-- @treturn table ours
-- @treturn table the script's
function run.split(args)
   local i = 1
   while args[i] and args[i]:sub(1, 1) == "-" and args[i] ~= "-" do
      if args[i] == "--" then
         i = i + 1
         break
      end
      local takes_next = not args[i]:find("=", 1, true) and args[i] ~= "-h" and args[i] ~= "--help"
      i = i + (takes_next and 2 or 1)
   end
   local ours, rest = {}, {}
   for n, a in ipairs(args) do table.insert(n <= i and ours or rest, a) end
   return ours, rest
end

local function say(text)
   io.stderr:write("moonrabbit: ", text, "\n")
end

local function set_arguments(options)
   local args = { [0] = options.script }
   for i, a in ipairs(options.arguments) do args[i] = a end
   _G.arg = args
   return args
end

-- True unless the script cannot be loaded or raised an error; that mr.stop ended it is none.
local function run_script(options)
   local errors, task = require "moonrabbit.errors", require "moonrabbit.task"
   -- Text only: bytecode can be made to break out of LuaJIT.
   local chunk, why = loadfile(options.script, "t")
   if not chunk then
      say(why:find "wrong mode" and options.script .. ": is bytecode; only the text of a script is run" or why)
      return false
   end
   local ok, trace = xpcall(chunk, function(e)
      return e == task.STOPPED and e or errors.trace(e, 2)
   end, unpack(set_arguments(options)))
   if ok or trace == task.STOPPED then return true end
   say(trace)
   return false
end

local function judge(left, lost)
   if left.handlers > 0 or left.publishes > 0 then
      say(("stopped with %d handlers still running and %d publishes not confirmed; unsettled messages come again")
         :format(left.handlers, left.publishes))
      return ABANDONED
   end
   return lost and FAILED or 0
end

local function main(mr, options, seconds)
   local drain = require "moonrabbit.drain"
   drain.patience, drain.stops_at_loss = seconds, true
   require("moonrabbit.cli.signals").watch(mr)
   if not run_script(options) then
      drain.run(math.min(seconds, 1))
      return FAILED
   end
   drain.until_idle()
   local asked = drain.is_asked()
   local left = drain.run(seconds)
   local code = judge(left, drain.lost()) -- the word of a loss may come after the end of its consumers
   if asked then mr.log.info("stopped") end
   return code
end

--- Runs the command.
-- @treturn number exit code
function run.main(options)
   local seconds = tonumber(options.drain)
   if not seconds or seconds ~= seconds or seconds < 0 then
      say(('--drain takes a number of seconds, not "%s"'):format(options.drain))
      return WRONG_USAGE
   end
   local mr = require "moonrabbit"
   mr.log.configure(options.log_level, options.log_format)
   if options.url then mr.set_default_url(options.url) end
   local code = main(mr, options, seconds)
   require("moonrabbit.loop").close(1)
   return code
end

return run

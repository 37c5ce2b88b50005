--- cli.run: `moonrabbit run SCRIPT`: runs a script, then its loop, then stops in good order.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

local run = {}

ffi.cdef "long read(int fd, void *buffer, size_t size);"

function run.describe(p)
   local c = p:command("run", "Run a script and pump its loop until it has nothing more to do, or SIGINT or SIGTERM.")
   c:argument("script", "The Lua script.")
   c:argument("arguments", "What the script finds in arg and in `...`; options too."):args "*"
   c:option("--url", "Where mr.connect() without arguments connects; better in AMQP_URL."):argname "URL"
   c:option("--drain", "Seconds that running handlers have to finish when stopping.", "30"):argname "SECONDS"
      :convert(tonumber)
   c:option("--log-level", "error, warn, info or debug.", "info"):argname "LEVEL"
      :choices { "error", "warn", "info", "debug" }
   c:option("--log-format", "logfmt or json.", "logfmt"):argname "FORMAT":choices { "logfmt", "json" }
end

local function say(text)
   io.stderr:write("moonrabbit: ", text, "\n")
end

-- Text only: bytecode can be made to break out of LuaJIT.
local function load_script(path)
   local chunk, why = loadfile(path, "t")
   if not chunk then return nil, why end
   return chunk
end

local SIGNALS = { [2] = "SIGINT", [15] = "SIGTERM" }

-- The command's C part turns signals into bytes of a pipe.
local function watch_signals(mr)
   local fd = moonrabbit_signal_fd -- luacheck: ignore 113
   if not fd then return end
   local loop, task = require "moonrabbit.loop", require "moonrabbit.task"
   local box = ffi.new "uint8_t[1]"
   task.spawn(function()
      task.alive = task.alive - 1 -- waiting for a signal keeps no program going
      while loop.wait_fd(fd, "r") do
         if ffi.C.read(fd, box, 1) == 1 then
            mr.log.info("stopping", { signal = SIGNALS[box[0]] or tostring(box[0]) })
            mr.stop()
         end
      end
      task.alive = task.alive + 1
   end)
end

local function set_arguments(options)
   local args = { [0] = options.script }
   for i, a in ipairs(options.arguments) do args[i] = a end
   _G.arg = args
   return args
end

local function run_script(mr, options)
   local chunk, why = load_script(options.script)
   if not chunk then
      say(why)
      return false
   end
   local args = set_arguments(options)
   local ok, trace = xpcall(chunk, function(e) return debug.traceback(tostring(e), 2) end, unpack(args))
   if not ok then say(trace) end
   return ok, mr
end

local function report(left)
   if left.handlers == 0 and left.publishes == 0 then return 0 end
   say(("stopped with %d handlers still running and %d publishes not confirmed; their messages come again")
      :format(left.handlers, left.publishes))
   return 75
end

function run.main(options)
   local mr = require "moonrabbit"
   local drain, loop = require "moonrabbit.drain", require "moonrabbit.loop"
   if not options.drain or options.drain < 0 then
      say "--drain takes a number of seconds"
      return 2
   end
   mr.log.configure(options.log_level, options.log_format)
   if options.url then mr.set_default_url(options.url) end
   watch_signals(mr)
   if not run_script(mr, options) then
      drain.run(1)
      loop.close(1)
      return 1
   end
   drain.until_idle()
   local code = report(drain.run(options.drain))
   local lost = require("moonrabbit.dispatch").lost
   if not drain.is_asked() and lost then code = 1 end
   if drain.is_asked() then mr.log.info("stopped") end
   loop.close(1)
   return code
end

return run

--- cli.status: `moonrabbit status`: what a running process is at.
-- SPDX-License-Identifier: MIT
local processes = require "moonrabbit.cli.lazy" "moonrabbit.cli.processes"
local status_text = require "moonrabbit.cli.status_text"
local usage = require "moonrabbit.cli.usage"

local status = {}

local FAILED = 1

--- Adds the command to the parser.
function status.describe(p)
   local c = p:command("status", "Show the connections, consumers, rates and stalls of a running process.", [[
Example: moonrabbit status consumer --watch

Without an argument: the only process of this user that has a console, or a list to choose from. The
answer comes from the process's I/O thread, also while its script is stuck.]])
   c:argument("process", "A pid, the name of a script, or the path of a console's socket."):args "?"
   c:flag("--json", "Print the page /status as it is.")
   c:flag("--watch", "Print it again each second, with rates, until interrupted.")
end

local function show(process, before, is_json)
   local page, answer = processes.status(process)
   if not page then
      io.stderr:write("moonrabbit: ", require "moonrabbit.cli.escaped"(answer), "\n")
      return nil
   end
   local text = is_json and answer:gsub("%s+$", "") or table.concat(status_text.lines(page, process.name, before), "\n")
   return io.stdout:write(text, "\n") and io.stdout:flush() and page -- it ends with who reads it
end

-- Ctrl-C is how one leaves --watch.
local function heed_signals()
   local signals = require "moonrabbit.cli.signals"
   signals.each({}, function(number)
      if number == signals.INT then signals.process().end_now(0) end
      if number == signals.TERM or number == signals.QUIT then signals.process().end_now(128 + number) end
   end)
end

--- Runs the command.
-- @treturn number exit code
function status.main(options)
   local mr = require "moonrabbit"
   mr.log.configure "off"
   local process, why = processes.find(options.process, true)
   if not process then
      usage.say(why, "status")
      return usage.CODE
   end
   if options.watch then heed_signals() end
   local page = show(process, nil, options.json)
   while page and options.watch do
      mr.sleep(1)
      if not options.json then io.stdout:write "\n" end
      page = show(process, page, options.json)
   end
   return page and 0 or FAILED
end

return status

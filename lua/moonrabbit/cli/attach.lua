--- cli.attach: `moonrabbit attach`: runs expressions of the command line in a running process.
-- SPDX-License-Identifier: MIT
local processes = require "moonrabbit.cli.lazy" "moonrabbit.cli.processes"
local terminal = require "moonrabbit.cli.terminal"
local usage = require "moonrabbit.cli.usage"

local attach = {}

local OUT, ERR = 1, 2 -- descriptors
local FAILED = 1

--- Adds the command to the parser.
function attach.describe(p)
   local c = p:command("attach", "Run expressions in a running process.", [[
Example: moonrabbit attach consumer -e 'mr.stats().delivered'

Expressions run between the script's messages: they see its globals, mr, and what it has set as
mr.inspect.NAME. Each may take 5 s and print 1 MiB. Without -e: a prompt (.help lists its commands), or
what comes from standard input, line by line, if that is no terminal.]])
   c:argument("process", "A pid, the name of a script, or the path of a console's socket; default: the only one."):args "?"
   c:option("-e --execute", "Run this and print its values; may be repeated."):argname "EXPR":count "*"
   c:flag("--json", "Print values as JSON.")
   c:option("--seconds", "How long an expression may take; default: 5."):argname "SECONDS":convert(tonumber)
   c:option("--output", "How many bytes an expression may print; default: 1048576."):argname "BYTES":convert(tonumber)
end

local fit = terminal.fit

local function complain(text) io.stderr:write("moonrabbit: ", fit(ERR, text), "\n") end

-- Writes what an expression prints; if nobody takes it, the expression is given up.
local function write(target, text)
   local ok, why = io.stdout:write(fit(OUT, text))
   if ok or target.lost then return end
   target.lost = "standard output: " .. tostring(why)
   target:give_up()
end

local function execute(target, text, options)
   local answer, why = target:evaluate(text)
   if target.lost then answer, why = nil, target.lost end
   if not answer then
      complain(why)
      return false
   end
   io.stdout:write(fit(OUT, answer.output))
   for i = 1, #(answer.values or {}) do io.stdout:write(fit(OUT, options.json and answer.json[i] or answer.values[i]), "\n") end
   if not io.stdout:flush() then
      complain "standard output: it cannot be written"
      return false
   end
   if not answer.ok then io.stderr:write(fit(ERR, answer.error), "\n") end
   return answer.ok
end

--- Runs the command.
-- @treturn number exit code
function attach.main(options)
   require("moonrabbit").log.configure "off"
   local process, why = processes.find(options.process)
   if not process then
      usage.say(why, "attach")
      return usage.CODE
   end
   local target = require("moonrabbit.cli.remote").new(process, options)
   if #options.execute == 0 then return require("moonrabbit.cli.prompt").run(target) end
   target.tell = complain
   local function show(part) write(target, part) end
   target.show = show
   require("moonrabbit.cli.signals").end_at_once()
   for _, text in ipairs(options.execute) do
      if not execute(target, text, options) then return FAILED end
   end
   return 0
end

return attach

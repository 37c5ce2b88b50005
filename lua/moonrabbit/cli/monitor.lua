--- cli.monitor: `moonrabbit monitor`: the deliveries of a running process and their outcome, live.
-- SPDX-License-Identifier: MIT
-- The lines come from the console's page /monitor. A supervisor names the consoles of its workers: each is a source of lines.
local ask = require "moonrabbit.cli.lazy" "moonrabbit.cli.ask"
local each = require "moonrabbit.base.each"
local escaped = require "moonrabbit.cli.escaped"
local monitor_filter = require "moonrabbit.cli.lazy" "moonrabbit.console.monitor_filter"
local monitor_text = require "moonrabbit.cli.lazy" "moonrabbit.cli.monitor_text"
local processes = require "moonrabbit.cli.lazy" "moonrabbit.cli.processes"
local query = require "moonrabbit.cli.query"
local terminal = require "moonrabbit.cli.lazy" "moonrabbit.cli.terminal"
local usage = require "moonrabbit.cli.usage"

local monitor = {}

local FAILED, OUT = 1, 1
local BODY = 64    -- bytes, unless a number is given
local EVERY = 1    -- seconds between looks for new workers
local MANY = 2 ^ 31

--- Adds the command to the parser.
function monitor.describe(p)
   local c = p:command("monitor", "Show each delivery of a running process when it is settled, live.", [[
Example: moonrabbit monitor consumer --queue orders --key 'order.*' --body

A line says when, of which queue, the outcome (ack, nack, reject, requeue, retry, dead letter,
no ack, lost) and how long the handler took. Headers and bodies are shown only if asked for.
Patterns are those of a shell, as for queues and --match: * any characters, ? one. With --workers
the script's name means all workers. What comes faster than it is read is counted, and holds
nothing up. Ctrl-C ends it.]])
   c:argument("process", "A pid, the name of a script, or the path of a console's socket; default: the only one."):args "?"
   c:option("--queue", "Only of this queue, or of those that a pattern fits."):argname "QUEUE"
   c:option("--key", "Only with this routing key, or one that a pattern fits."):argname "PATTERN"
   c:flag("--headers", "Show headers.")
   c:option("--body", "Show the first bytes of the body; default: 64."):argname "BYTES":args "?"
   c:option("--limit", "End after this many deliveries."):argname "N"
   c:flag("--json", "Print an object a line; a body that is no UTF-8 is body_base64.")
end

local Monitor = {}
Monitor.__index = Monitor

local function say(text)
   io.stdout:flush() -- what was shown before comes before
   io.stderr:write("moonrabbit: ", escaped(text), "\n")
end

-- It ends with this code.
function Monitor:finish(code)
   self.code = self.code or code
   self.task.wake(self.token, true)
end

-- ---- lines ----

local function show_as_json(self, line, worker)
   if worker then line = line:gsub("^{", ('{"worker":%d,'):format(worker)) end
   return io.stdout:write(self.json_text(line), "\n")
end

local function show_as_text(self, entry, worker)
   entry.worker = worker
   return io.stdout:write(monitor_text.of(entry, self.paint), "\n")
end

-- A line of a process; a line that is none of ours is left out.
local function show(self, line, worker)
   local ok, entry = pcall(self.json.decode, line)
   if self.code or not ok or type(entry) ~= "table" or not (entry.outcome or entry.not_shown) then return end
   local is_written
   if self.options.json then is_written = show_as_json(self, line, worker)
   else is_written = show_as_text(self, entry, worker) end
   if not is_written then return self:finish(FAILED) end -- nobody reads it any more
   if not entry.outcome then return end
   self.shown = self.shown + 1
   if self.shown == self.limit then self:finish(0) end
end

-- ---- sources ----

local function name_of(source) return source.worker and ("worker %d (pid %d)"):format(source.worker, source.pid) or source.name end

-- Follows one process to its end. Why it could not; nil: it has ended. The second: the filter is refused.
local function follow(self, source)
   local function tell(text) say(name_of(source) .. ": " .. text) end
   local stop = require("moonrabbit.cli.remote").watch { process = source, tell = tell }
   local function on_lines(text)
      if stop then
         stop()
         stop = nil
         say("monitoring " .. name_of(source))
      end
      for line in text:gmatch "([^\n]+)\n" do show(self, line, source.worker) end
      if not io.stdout:flush() then self:finish(FAILED) end
   end
   local code, body = ask.lines(source.path, self.path, on_lines)
   if stop then stop() end
   if code == 200 then return nil end
   if not code then return body end
   local ok, page = pcall(self.json.decode, body)
   local why = ok and type(page) == "table" and page.error
   if code == 404 then why = "it has no page /monitor: an older version?" end
   return tostring(why or ("HTTP status %d"):format(code)), code == 400
end

local function follow_one(self, source)
   local why, is_refused = follow(self, source)
   if self.code then return end
   if is_refused then
      self.refusal = why
      return self:finish(usage.CODE)
   end
   say(name_of(source) .. (why and ": " .. why or " has ended"))
   self:finish(FAILED)
end

-- One that cannot be followed yet is tried again: its console, or its consumers, may only be about to begin.
local function follow_worker(self, source)
   source.is_followed = true
   local why, is_refused = follow(self, source)
   source.is_followed = why == nil
   if self.code then return end
   source.refusal = is_refused and why
   if not is_refused and source.said ~= (why or "") then
      say(name_of(source) .. (why and ": " .. why or " has ended"))
      source.said = why or ""
   end
end

-- Nobody has such a queue.
local function all_refuse(sources)
   local refusal
   for _, source in each(sources) do
      if not source.refusal then return nil end
      refusal = source.refusal
   end
   return refusal
end

-- The workers of a supervisor, and those that it starts later.
local function follow_workers(self, process, page)
   local sources = {}
   while page and not self.code do
      for _, part in ipairs(page.workers) do
         local source = part.pid and sources[part.pid]
         if part.pid and part.console and not source then
            source = { worker = part.worker, pid = part.pid, path = part.console }
            sources[part.pid] = source
         end
         if source and not source.is_followed then self.task.background(function() follow_worker(self, source) end) end
      end
      require("moonrabbit").sleep(EVERY)
      self.refusal = all_refuse(sources)
      if self.refusal then return self:finish(usage.CODE) end
      page = processes.status(process)
   end
   if self.code then return end
   say(self.name .. " has ended")
   self:finish(FAILED)
end

-- ---- the command ----

local function heed_signals(self)
   local signals = require "moonrabbit.cli.signals"
   signals.each({}, function(number)
      if number == signals.INT then self:finish(0) end -- that is how one leaves it
      if number == signals.TERM or number == signals.QUIT then signals.process().end_now(128 + number) end
   end)
end

local function run(options, process, page, limit)
   local loop, task = require "moonrabbit.loop.loop", require "moonrabbit.loop.task"
   local self = setmetatable({ options = options, task = task, token = task.token(), limit = limit, shown = 0,
      json = require "moonrabbit.base.json", json_text = require "moonrabbit.cli.json_text",
      paint = terminal.painter(terminal.wanted(OUT)), name = process.name or process.path }, Monitor)
   self.path = query.path("/monitor", { queue = options.queue, key = options.key, headers = options.headers and "", body = options.body })
   heed_signals(self)
   local source = { path = process.path, name = ("%s (pid %d)"):format(self.name, page.pid) }
   task.background(function()
      if page.workers then follow_workers(self, process, page) else follow_one(self, source) end
   end)
   if not self.code then loop.wait(self.token) end
   io.stdout:flush()
   return self.code, self.refusal
end

local function refuse(why)
   usage.say(why, "monitor")
   return usage.CODE
end

--- Runs the command.
-- @treturn number exit code
function monitor.main(options)
   if type(options.body) == "table" then options.body = options.body[1] or BODY end
   local filter, limit, why
   filter, why = monitor_filter.read(options, "--")
   if not filter then return refuse(escaped(why)) end
   limit, why = monitor_filter.number("--limit", options.limit, MANY)
   if why then return refuse(escaped(why)) end
   require("moonrabbit").log.configure "off"
   local process, page
   process, why = processes.find(options.process, true)
   if not process then return refuse(why) end
   page, why = processes.status(process)
   if not page then return refuse(escaped(why)) end
   local code
   code, why = run(options, process, page, limit)
   if why then return refuse(escaped(why)) end
   return code
end

return monitor

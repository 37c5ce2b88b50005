--- cli.top: `moonrabbit top`: a full screen that shows a running process, each second anew, and pauses its consumers.
-- SPDX-License-Identifier: MIT
-- Three tasks change the state: one asks for pages, one reads keys, one hears signals. The main chunk draws.
local each = require "moonrabbit.base.each"
local curses = require "moonrabbit.cli.lazy" "moonrabbit.cli.curses"
local processes = require "moonrabbit.cli.lazy" "moonrabbit.cli.processes"
local query = require "moonrabbit.cli.query"
local top_state = require "moonrabbit.cli.lazy" "moonrabbit.cli.top_state"
local top_text = require "moonrabbit.cli.lazy" "moonrabbit.cli.top_text"
local usage = require "moonrabbit.cli.usage"

local top = {}

local LEAST, MOST = 0.1, 3600 -- seconds between two pages
local HANGUP, RESIZED = 1, 28 -- SIGHUP, SIGWINCH
local INTERRUPT = 2
local SILENT = 50 -- readings of the terminal without a key, one after the other: it is gone

--- Adds the command to the parser.
function top.describe(p)
   local c = p:command("top", "Watch a running process on the full screen, and pause its consumers.", [[
Example: moonrabbit top consumer

Keys: arrows or j and k select, s orders by the next column, / filters, p pauses the selected consumers or
has them go on, Tab changes the list, h shows all keys, q leaves.]])
   c:argument("process", "A pid, the name of a script, or the path of a console's socket; default: the only one."):args "?"
   c:option("--interval", "Seconds between two looks; default: 1."):argname "SECONDS"
end

-- ---- the process ----

local Top = {}
Top.__index = Top

function Top:wake()
   self.is_due = true
   self.task.wake(self.token, true)
end

-- A process that has ended may have a successor of the same name.
local function look(self)
   local page, why = processes.status(self.process)
   if not page then
      local other = processes.find(self.which, true)
      if other and other.path ~= self.process.path then
         self.process = other
         page = processes.status(other)
         if page then self.state.page = nil end
      end
   end
   if page then
      self.state.name = self.process.name or self.process.path
      self.state:show(page)
   else
      self.state.trouble = "no answer any more: " .. why
   end
end

local function look_again_and_again(self)
   local mr = require "moonrabbit"
   while true do
      look(self)
      self:wake()
      mr.sleep(self.interval)
   end
end

-- ---- changes ----

-- What a console says to it.
local function change(self, path, what, name)
   local answer, code = processes.ask({ path = path }, query.path("/control", { ["do"] = what, consumer = name }), "", true)
   if not answer then return code end
   return answer.text or answer.error or self.state.name .. ": an answer without a text"
end

-- The consumers of a row, of all its workers. Those that are paused go on, unless others of them consume.
local function pause(self, row)
   local what = row.paused > 0 and row.paused == row.consumers and "resume" or "pause"
   local consoles, said = row.consoles[1] and row.consoles or { self.process.path }, {}
   for name in each(row.names) do
      for _, path in ipairs(consoles) do said[#said + 1] = change(self, path, what, name) end
   end
   self.state.message = table.concat(said, "; ")
   look(self)
   self:wake()
end

local function obey(self, order)
   if order == "quit" then self.code = 0 end
   if order ~= "pause" then return end
   local row = self.state.rows[self.state.selected]
   self.state.message = ("waiting for the script: %s"):format(row.name)
   self.task.background(function() pause(self, row) end)
end

-- ---- keys and signals ----

local function read_keys(self)
   local wait, silent = require "moonrabbit.loop.wait", 0
   while silent < SILENT and wait.fd(0, "r") do
      local keys = self.screen:keys()
      silent = keys[1] and 0 or silent + 1
      for _, key in ipairs(keys) do obey(self, self.state:key(key)) end
      self:wake()
   end
   self.code = self.code or 128 + HANGUP
   self:wake()
end

local function heed_signals(self)
   local signals = require "moonrabbit.cli.signals"
   local process = signals.process()
   if process then process.supervise() end -- a second signal does not end it before the terminal is as it was
   signals.each({ HANGUP, RESIZED }, function(number)
      if number == RESIZED then self.is_resized = true
      elseif number == INTERRUPT then self.code = 0
      elseif number == signals.TERM or number == signals.QUIT or number == HANGUP then self.code = 128 + number end
      self:wake()
   end)
end

local function draw_until_the_end(self)
   local loop = require "moonrabbit.loop.loop"
   while not self.code do
      if self.is_resized then self.screen:resize() end
      self.is_resized, self.is_due = false, false
      self.screen:draw(top_text.lines(self.state, self.screen.columns, self.screen.rows))
      self.token = self.task.token()
      if not self.is_due then loop.wait(self.token) end
   end
end

-- ---- the command ----

local function run(process, which, interval)
   local task = require "moonrabbit.loop.task"
   local self = setmetatable({ process = process, which = which, interval = interval, task = task, token = task.token(),
      state = top_state.new() }, Top)
   self.state.name = process.name or process.path
   heed_signals(self) -- before ncurses, which leaves signals alone that somebody hears
   local screen, why = curses.open()
   if not screen then return nil, why end
   self.screen = screen
   task.background(look_again_and_again, self)
   task.background(read_keys, self)
   local ok, failure = xpcall(draw_until_the_end, debug.traceback, self)
   screen:close()
   if not ok then error(failure, 0) end
   return self.code
end

local function refuse(why)
   usage.say(why, "top")
   return usage.CODE
end

--- Runs the command.
-- @treturn number exit code
function top.main(options)
   local interval = tonumber(options.interval or 1)
   if not interval or not (interval >= LEAST and interval <= MOST) then
      return refuse(('--interval takes a number of seconds from %g to %d, not "%s"'):format(LEAST, MOST, options.interval))
   end
   if not curses.is_terminal() then return refuse "it needs a terminal; `moonrabbit status --watch` does not" end
   require("moonrabbit").log.configure "off"
   local process, why = processes.find(options.process, true)
   if not process then return refuse(why) end
   local page
   page, why = processes.status(process)
   if not page then
      io.stderr:write("moonrabbit: ", require "moonrabbit.cli.escaped"(why), "\n")
      return 1
   end
   local code
   code, why = run(process, options.process, interval)
   if not code then return refuse(why) end
   return code
end

return top

--- cli.own: what `moonrabbit repl` is for: this process itself.
-- SPDX-License-Identifier: MIT
local above = require "moonrabbit.cli.above"
local complete = require "moonrabbit.console.complete"
local control = require "moonrabbit.console.control"
local errors = require "moonrabbit.base.errors"
local escaped = require "moonrabbit.cli.escaped"
local evaluate = require "moonrabbit.console.evaluate"
local leave = require "moonrabbit.cli.leave"
local log = require "moonrabbit.loop.log"
local look = require "moonrabbit.console.look"
local marks = require "moonrabbit.loop.mark"
local processes = require "moonrabbit.cli.processes"
local quiet = require "moonrabbit.program.quiet"
local show = require "moonrabbit.base.show"
local signals = require "moonrabbit.cli.signals"
local stop = require "moonrabbit.loop.stop"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"
local watchdog = require "moonrabbit.loop.watchdog"

local own = {}

local FOREVER = 1e9 -- seconds: Ctrl-C ends an expression
local PAST = 1e-9   -- a deadline
local CUT = errors.new("cancelled", "message", "ended by Ctrl-C")
CUT.hint = "its consumer is paused"

local Own = {}
Own.__index = Own

--- Runs an expression; what it prints is shown at once.
function Own:evaluate(text)
   self.worker, self.was_cut = task.current(), false
   local answer = evaluate.run(text, { seconds = FOREVER, print = self.print })
   self.flush()
   self.worker = nil
   if self.was_cut then return nil, "given up" end
   return answer
end

--- Changes something.
function Own.control(_, name, fields) return control.run(name, fields) end

--- The last events of the flight recorder.
function Own.recorder(_, filter)
   local ok, list = pcall(require("moonrabbit.loop.recorder").last, 40, filter)
   if not ok then return nil, (tostring(list):gsub("^[^:]*:%d+: ", "")) end
   return { events = list }
end

--- The handlers at work.
function Own.handlers() return look.handlers().value end

--- The page /status, of the I/O thread.
function Own:status()
   if not self.console then return nil, "this process has no console: " .. self.lack end
   return processes.status { path = self.console }
end

--- The words with which a line may go on.
function Own.complete(_, line) return complete.line(line) end

--- Ends the expression that waits. The signal that has ended one that computes is read later.
function Own:give_up()
   if self.worker then task.condemn(self.worker) end
   self.worker = nil
end

-- The message of a handler that was ended comes back at once: its consumer pauses, or it would spin again.
local function pause_cut(self)
   local consumer = self.cut
   if not consumer then return end
   self.cut = nil
   quiet.pause(consumer.owner or consumer, true)
   self.say(("a handler of %s was ended, and its consumer is paused: .resume %s\n"):format(escaped(consumer.queue),
      escaped(consumer.queue)))
end

--- True for a Ctrl-C that has done its work already. Called for each, in their order.
function Own:takes_signal()
   self.heard = self.heard + 1
   pause_cut(self)
   return self.heard <= self.done
end

--- This process is there.
function Own.is_gone() return false end

--- True after mr.stop() or .drain.
function Own.is_over() return stop.is_asked() end

-- The hook of the watchdog asks while something computes: has Ctrl-C been pressed, and neither been read nor done its work?
-- Other signals, such as of a window's new size, say nothing about the expression.
local function is_interrupted(self, count) return count > math.max(self.heard, self.done) end

-- A handler is about to be ended: until its consumer is paused, it gets no further messages.
local function cut_handler(self, consumer)
   if not consumer then return end
   self.cut, consumer.is_ending = consumer, true
end

-- An expression, or a handler of messages, that computes is ended as at a time limit: all handlers have one.
local function watch(self)
   local process = signals.process()
   subscription.set_time_limit(FOREVER)
   watchdog.install(process, function()
      local mark, count = marks.mark, process.interrupts()
      local is_mine = mark.consumer ~= 0 or self.worker ~= nil
      if is_mine and mark.deadline ~= 0 and is_interrupted(self, count) then
         if mark.consumer == 0 then self.was_cut = true else cut_handler(self, subscription.by_number(mark.consumer)) end
         self.done, mark.deadline = count, PAST
      end
      return false, mark.deadline == PAST and CUT or nil
   end)
end

-- What handlers print and write, and the log, goes above the line that is being typed.
local function redirect(self, say, has_line)
   local take
   take, self.flush = above(say, has_line)
   function self.print(...)
      local parts = {}
      for i = 1, select("#", ...) do parts[i] = show((select(i, ...)), true) end
      take(table.concat(parts, "\t") .. "\n")
   end
   _G.print = self.print -- luacheck: ignore 122
   log.sink(function(_, line) say(escaped(line) .. "\n") end)
end

--- A prompt begins.
-- @tparam function say fn(lines)
-- @tparam function restore gives the terminal back before the process ends
-- @tparam boolean has_line a line is typed, at a terminal
function Own:begin(say, restore, has_line)
   self.say = say
   redirect(self, say, has_line)
   watch(self)
   leave.install(signals.process())
   local exit = os.exit
   os.exit = function(...) -- luacheck: ignore 122
      self.flush()
      restore()
      return exit(...)
   end
end

--- A target.
-- @tparam string name of the prompt
-- @tparam ?string path of this process's console
-- @tparam ?string lack why there is none
function own.new(name, path, lack)
   return setmetatable({ name = name, console = path, lack = lack, options = {}, heard = 0, done = 0 }, Own)
end

return own

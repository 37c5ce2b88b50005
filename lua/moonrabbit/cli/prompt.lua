--- cli.prompt: reads expressions and commands from a terminal, or from standard input, and shows what comes of them.
-- SPDX-License-Identifier: MIT
-- A target does them: cli/remote.lua or cli/own.lua. It is given by its methods evaluate, control, look, status, complete,
-- give_up, is_gone, is_over.
local chunk = require "moonrabbit.cli.chunk"
local dot = require "moonrabbit.cli.dot"
local editline = require "moonrabbit.cli.editline"
local errors = require "moonrabbit.base.errors"
local escaped = require "moonrabbit.cli.escaped"
local history = require "moonrabbit.cli.history"
local loop = require "moonrabbit.loop.loop"
local printing = require "moonrabbit.console.printing"
local signals = require "moonrabbit.cli.signals"
local task = require "moonrabbit.loop.task"
local terminal = require "moonrabbit.cli.terminal"
local wait = require "moonrabbit.loop.wait"

local prompt = {}

local IN, OUT, ERR = 0, 1, 2
local FAILED = 1
local GONE = "the process has ended"
local WINDOW_CHANGED = 28 -- SIGWINCH
local LOOK = 1 -- seconds between two looks at whether the process is there
local LEVELS = { "debug", "error", "info", "off", "warn" }

local Session = {}
Session.__index = Session

-- ---- what is shown ----

-- Writes whole lines, above what is being typed.
function Session:say(text)
   if text == "" then return end
   if text:sub(-1) ~= "\n" then text = text .. "\n" end
   self.editor:above(text)
end

-- Shows the error of an expression.
function Session:fail(text) self:complain(text) end

function Session:complain(why) self:say(self.paint("red", terminal.fit(OUT, why))) end

-- What an expression of another process prints comes in pieces: shows the whole lines of it, and keeps the rest.
local function show_part(self, text)
   local whole, rest = text:match "^(.*\n)([^\n]*)$"
   if whole then self:say(terminal.fit(OUT, table.concat(self.held) .. whole)) end
   if whole then self.held = {} end
   self.held[#self.held + 1] = rest or text
end

local function show_answer(self, answer)
   self:say(terminal.fit(OUT, table.concat(self.held) .. answer.output))
   self.held = {}
   for i, text in ipairs(answer.values or {}) do
      local shown = self.target.options.json and answer.json[i] or text
      self:say(terminal.value(self.paint, terminal.fit(OUT, shown)))
   end
   if not answer.ok then self:fail(answer.error) end
end

-- ---- waiting ----

-- Ctrl-C: gives up what is being done, or the line.
local function interrupt(self)
   if self.target:takes_signal() then return end
   if not self.token then
      self.outcome = "interrupt"
      return
   end
   self.target:give_up()
   self.has_given_up = true
   task.wake(self.token, true)
end

-- Does fn in a task. Returns its results; nil and why if it was given up or has failed.
local function perform(self, fn)
   local token, result = task.token(), nil
   self.token, self.has_given_up, self.held = token, false, {}
   task.spawn(function()
      result = { xpcall(fn, errors.trace) }
      task.wake(token, true)
   end)
   if not result then loop.wait(token) end
   self.token = nil
   if self.has_given_up then return nil, "given up" end
   if result[1] then return result[2], result[3] end
   return nil, tostring(result[2])
end

local function watch_keys(self)
   if self.is_watching then return end
   self.is_watching = true
   task.background(function()
      wait.fd(IN, "r")
      self.is_watching, self.has_key = false, true
   end)
end

-- For the line editor: runs the loop until there is a key, or something else.
local function wait_for_key(self)
   while true do
      local outcome = self.outcome or self.target:is_over() and "over"
      self.outcome = nil
      if outcome then return outcome end
      if self.has_key then
         self.has_key = false
         return "key"
      end
      watch_keys(self)
      loop.pump()
   end
end

-- ---- completion ----

local function beginning_with(list, prefix)
   local found = {}
   for _, word in ipairs(list) do
      if word:sub(1, #prefix) == prefix then found[#found + 1] = word end
   end
   return found
end

-- Those with consumers; of one that is paused the broker, and the list of consumers, know nothing.
local function queues(target)
   local page, seen, list = target:status(), {}, {}
   local function add(entry)
      if not seen[entry.queue] then list[#list + 1] = entry.queue end
      seen[entry.queue] = true
   end
   for _, consumer in ipairs(page and page.consumers or {}) do add(consumer) end
   for _, queue in ipairs(page and page.queues or {}) do
      if (queue.paused or 0) > 0 then add(queue) end
   end
   table.sort(list)
   return list
end

-- The words with which the text before the cursor may go on, and the part of them that it has.
local function complete(self, before)
   local name = not self.is_within and before:match "^%s*(%.[%w_-]*)$"
   if name then return dot.words(name), name end
   local command, last = before:match "^%s*%.([%w_-]+)%s+(%S*)$"
   if command and not self.is_within then
      return beginning_with(command == "log" and LEVELS or dot.takes(command, "CONSUMER") and queues(self.target) or {}, last), last
   end
   return self.target:complete(before), before:match "[%w_.:]*$"
end

-- ---- one round ----

-- Reads until an expression is whole. Returns it, or nil and why not.
local function read(self)
   local text, why = self.editor:read(self.first)
   while text and not dot.parse(text) and text:find "%S" and chunk.is_incomplete(text) do
      self.is_within = true
      local more
      more, why = self.editor:read(self.further)
      text = more and text .. "\n" .. more
   end
   self.is_within = false
   return text, why
end

local function remember(self, text)
   self.editor:remember(text)
   if not self.file then return end
   local ok, why = history.add(self.file, printing.redact(text))
   if ok then return end
   self.file = nil -- told once
   self:complain("no history is kept: " .. why)
end

-- Runs a text. Returns dot.QUIT, or false and what is wrong, or true.
local function run(self, text)
   local name, arguments = dot.parse(text)
   local result, why = perform(self, function()
      if name then return dot.run(self.target, name, arguments) end
      return self.target:evaluate(text)
   end)
   if result == dot.QUIT then return result end
   if not result then return false, why end
   if name then
      self:say(terminal.fit(OUT, result))
      return true
   end
   show_answer(self, result)
   return result.ok
end

-- The end of the prompt: its exit code; nil: it goes on.
local function after(self, why)
   if why == "interrupt" then
      self:say "^C"
   elseif why == "gone" then
      self:say ""
      self.last_words = GONE
      return FAILED
   else
      self:say "\n" -- the line that was begun stays
      return 0
   end
end

local function rounds(self)
   while true do
      local text, why = read(self)
      if not text then
         local code = after(self, why)
         if code then return code end
      elseif text:find "%S" then
         remember(self, text)
         local ok, wrong = run(self, text)
         if ok == dot.QUIT then return 0 end
         if wrong then
            if self.target:is_gone() then
               self.last_words = GONE
               return FAILED
            end
            self:complain(wrong)
         end
      end
   end
end

-- ---- the terminal ----

-- The prompt has ended, and handlers at work are waited for: says which, and waits no longer.
local function end_at_once(number)
   require("moonrabbit.program.shutdown").log_abandoned(require("moonrabbit.channel.in_flight").list())
   signals.process().end_now(128 + number)
end

local function watch_signals(self)
   signals.process().prompt()
   signals.each({ WINDOW_CHANGED }, function(number)
      if number == signals.INT and self.has_ended then return end_at_once(number) end
      if number == signals.INT then return interrupt(self) end
      if number == WINDOW_CHANGED then return self.editor:resize() end
      if number ~= signals.TERM and number ~= signals.QUIT then return end
      self.editor:close()
      signals.process().end_now(128 + number)
   end)
end

-- Two looks, because a process that begins anew has no console for a moment.
local function watch_process(self)
   local misses = 0
   return loop.every(LOOK, function()
      misses = self.target:is_gone() and misses + 1 or 0
      if misses == 2 and not self.token then self.outcome = "gone" end
   end)
end

local function interactive(target)
   local paint = terminal.painter(terminal.wanted(OUT))
   local name = escaped(target.name)
   local self = setmetatable({ target = target, paint = paint, file = history.path(), held = {}, first = paint("bold", name .. "> "),
      further = paint("bold", (" "):rep(math.max(#name - 2, 0)) .. "..> ") }, Session)
   local why
   self.editor, why = editline.new(function() return wait_for_key(self) end,
      function(before) return complete(self, before) end, self.file and history.load(self.file) or {})
   if not self.editor then
      io.stderr:write("moonrabbit: ", why, "\n")
      return FAILED
   end
   target.tell = function(line) self:say(paint("yellow", terminal.fit(OUT, line))) end
   target.show = function(part) show_part(self, part) end
   target:begin(function(lines) self:say(lines) end, function() self.editor:close() end, true)
   watch_signals(self)
   local timer = watch_process(self)
   local ok, code = xpcall(rounds, function(e) return e == task.STOPPED and e or errors.trace(e, 2) end, self)
   loop.cancel(timer)
   self.editor:close()
   self.has_ended = true
   if ok and self.last_words then io.stderr:write("moonrabbit: ", self.last_words, "\n") end
   if ok then return code end
   if code == task.STOPPED then return 0 end
   io.stderr:write("moonrabbit: ", terminal.fit(ERR, tostring(code)), "\n")
   return FAILED
end

-- ---- standard input that is no terminal ----

local Plain = setmetatable({}, { __index = Session })
Plain.__index = Plain

function Plain.say(_, text)
   if text == "" then return end
   io.stdout:write(text, text:sub(-1) == "\n" and "" or "\n")
   io.stdout:flush()
end

function Plain.complain(_, why)
   io.stderr:write("moonrabbit: ", terminal.fit(ERR, why), "\n")
end

function Plain.fail(_, text) io.stderr:write(terminal.fit(ERR, text), "\n") end

-- Runs what comes until something fails.
local function piped(target)
   local self = setmetatable({ target = target, paint = terminal.painter(false), held = {} }, Plain)
   local next_line, text = require("moonrabbit.cli.lines").read(IN), nil
   target.tell = function(line) self:complain(line) end
   target.show = function(part) show_part(self, part) end
   target:begin(function(lines) self:say(lines) end, function() end, false)
   signals.end_at_once()
   while true do
      local line, failure = next_line()
      if failure then
         self:complain("standard input: " .. failure)
         return FAILED
      end
      text = text and line and text .. "\n" .. line or text or line
      if not text then return 0 end
      if text:find "%S" and (not line or dot.parse(text) or not chunk.is_incomplete(text)) then
         local ok, why = run(self, text)
         if ok == dot.QUIT then return 0 end
         if not ok then
            if why then self:complain(target:is_gone() and GONE or why) end
            return FAILED
         end
         text = nil
      elseif not text:find "%S" then
         text = nil
      end
      if not line then return 0 end
   end
end

--- Runs a prompt, or what comes from standard input if that, or standard output, is no terminal.
-- @tparam table target
-- @treturn number exit code
function prompt.run(target)
   if terminal.is_terminal(IN) and terminal.is_terminal(OUT) then return interactive(target) end
   return piped(target)
end

return prompt

--- cli.remote: what a prompt is for: another process, by its console.
-- SPDX-License-Identifier: MIT
local ask = require "moonrabbit.cli.ask"
local each = require "moonrabbit.base.each"
local json = require "moonrabbit.base.json"
local processes = require "moonrabbit.cli.processes"
local query = require "moonrabbit.cli.query"
local status_text = require "moonrabbit.cli.status_text"

local remote = {}

local EVENTS = 40 -- of the flight recorder
local PATIENT = 1 -- seconds after which it tells why there is no answer
local BUSY = 0.2  -- seconds after which a script is thought to spin

local Remote = {}
Remote.__index = Remote

-- A page that the script has to make; it waits until the script has time.
local function page_of(self, path, body)
   local page, code = processes.ask(self.process, path, body, true, self.hold)
   if not page then return nil, code end
   if type(page) ~= "table" then return nil, self.process.path .. ": does not answer like a console of Moonrabbit" end
   if code ~= 200 then return nil, page.error or ("HTTP status %d"):format(code) end
   return page
end

--- Tells why there is no answer yet: what the script is busy with.
-- @tparam table self process, and tell(line)
-- @treturn function ends that
function remote.watch(self)
   local told
   local timer = require("moonrabbit").every(PATIENT, function()
      local page = processes.status(self.process)
      if not page or page.script.busy < PATIENT or told == page.script.where then return end
      told = page.script.where
      self.tell(("the script is busy for %s%s; waiting"):format(status_text.duration(page.script.busy), told and ": " .. told or ""))
   end)
   return function() timer:cancel() end
end

local function path_of(options)
   return query.path("/evaluate", { stream = "", json = options.json and "", seconds = options.seconds, output = options.output })
end

-- Does fn, and tells why it takes long.
local function told(self, fn)
   local stop = remote.watch(self)
   local result, why = fn()
   stop()
   return result, why
end

local function decoded(text)
   local ok, page = pcall(json.decode, text)
   return ok and type(page) == "table" and page or {}
end

-- Asks for the answer line by line: what is printed is shown as it comes, the last line is returned.
local function answer_to(self, text)
   local answer
   local code, rest = ask.lines(self.process.path, path_of(self.options), function(lines)
      for line in lines:gmatch "[^\n]+" do
         local part = decoded(line)
         if part.ok == nil then self.show(tostring(part.output)) else answer = part end
      end
   end, self.hold, text)
   if answer then return answer end
   if code and code ~= 200 then return nil, decoded(rest).error or ("HTTP status %d"):format(code) end
   return nil, code and self.process.path .. ": the answer has no end" or rest
end

--- Runs an expression; what it prints is shown at once.
-- @tparam string text
-- @treturn[1] table the answer: ok, output (what is left to show), values, json, error
-- @treturn[2] nil, string what is wrong
function Remote:evaluate(text)
   return told(self, function() return answer_to(self, text) end)
end

--- Changes something.
-- @tparam string name of an action of console/control.lua
-- @tparam table fields by name; what the action needs
-- @treturn[1] string what was done
-- @treturn[2] nil, string what is wrong
function Remote:control(name, fields)
   local all = { ["do"] = name }
   for key, v in each(fields) do all[key] = v end
   local page, why = told(self, function() return page_of(self, query.path("/control", all), "") end)
   return page and page.text, why
end

--- The handlers at work. While the script spins, and of a supervisor, only the page /status knows something of them.
-- @treturn[1] table list of console/look.lua
-- @treturn[2] nil, nil, the page /status
-- @treturn[3] nil, string what is wrong
function Remote:handlers()
   local page, why = self:status()
   if page and not page.workers and page.script.busy < BUSY then
      local answer, code = processes.ask(self.process, "/handlers", "", false, self.hold)
      if answer and code ~= 200 then return nil, answer.error or ("HTTP status %d"):format(code) end
      if answer then return answer.list end
      page, why = self:status() -- it began to spin just now
   end
   return nil, why, page
end

--- The page /recorder: the last events of the flight recorder; also while the script spins.
function Remote:recorder(filter)
   local page, code = processes.ask(self.process, query.path("/recorder", { last = EVENTS, filter = filter }))
   if not page then return nil, code end
   if type(page.events) ~= "table" then return nil, page.error or ("HTTP status %d"):format(code) end
   return page
end

--- The page /status; also while the script spins.
function Remote:status() return processes.status(self.process) end

--- The words with which a line may go on; none while the script is busy.
function Remote:complete(line)
   local page = processes.ask(self.process, "/complete", line)
   return type(page) == "table" and type(page.words) == "table" and page.words or {}
end

--- Gives up what is waited for.
function Remote:give_up()
   if self.hold.give_up then self.hold.give_up() end
end

--- True for a signal that has done its work already.
function Remote.takes_signal() return false end

--- True if there is no such process any more.
function Remote:is_gone() return processes.is_gone(self.process) end

--- A prompt begins; nothing is written by itself.
function Remote.begin() end

--- True if the prompt is to end; only a prompt's own process ends it.
function Remote.is_over() return false end

--- A target.
-- @tparam table process of processes.find
-- @tparam table options json, seconds, output: of expressions
-- @treturn table `tell`, fn(line), is told why something takes long; `show`, fn(text), gets what an expression prints
function remote.new(process, options)
   return setmetatable({ process = process, name = process.name or process.path, options = options, hold = {},
      tell = function() end, show = function() end }, Remote)
end

return remote

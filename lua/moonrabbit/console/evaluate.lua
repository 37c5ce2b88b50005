--- evaluate: runs what somebody has typed at a console, as a task between messages.
-- SPDX-License-Identifier: MIT
local errors = require "moonrabbit.base.errors"
local json = require "moonrabbit.base.json"
local marks = require "moonrabbit.loop.mark"
local printing = require "moonrabbit.console.printing"
local show = require "moonrabbit.base.show"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"

local evaluate = {}

--- Limits of one expression, unless it is given others: seconds of running and waiting; bytes of what it prints.
evaluate.SECONDS = 5
local OUTPUT = 2 ^ 20
local VALUES = 2 ^ 22 -- bytes of values as JSON
local NAME = "=console"

--- What scripts hand over: mr.inspect.NAME is NAME at the console.
evaluate.handed = {}
--- The globals of the running script, and its name; the command sets them.
evaluate.environment = function() return _G end
evaluate.name = function() return (type(_G.arg) == "table" and tostring(_G.arg[0]) or "program"):match "[^/]*$" end

local function keep(...) return ... end

-- An expression, or statements. Text only. Without tail calls, so that an error has its place.
local function compile(text)
   local head = "local keep = ... return keep("
   local chunk = loadstring(head .. text .. ")", NAME) or loadstring(head .. text .. "\n)", NAME) -- it may end with a comment
   if chunk then return chunk end
   return loadstring(text, NAME)
end

-- sink: takes the text, and returns how many bytes it has left out; nil: all of it is kept.
local function new_output(most, sink)
   local out = { size = 0, most = most, left_out = 0 }
   function out.add(text)
      local room = out.most - out.size
      if #text > room then
         out.left_out = out.left_out + #text - room
         text = text:sub(1, room)
      end
      out.size = out.size + #text
      if sink then out.left_out = out.left_out + sink(text) else out[#out + 1] = text end
   end
   function out.print(...)
      local parts = {}
      for i = 1, select("#", ...) do parts[i] = show((select(i, ...)), true) end
      out.add(printing.redact(table.concat(parts, "\t")) .. "\n")
   end
   return out
end

-- Reads names that were handed over first, then the script's globals; writes those.
local function new_environment(print)
   local script = evaluate.environment()
   return setmetatable({ print = print }, {
      __index = function(_, name)
         local v = evaluate.handed[name]
         if v == nil then v = script[name] end
         if v == nil and name == "mr" then v = require "moonrabbit" end
         return v
      end,
      __newindex = function(_, name, v) script[name] = v end,
   })
end

local function explain(why)
   if why == task.STOPPED then return "given up" end
   return errors.trace(why, 2)
end

local function pack(...) return { n = select("#", ...), ... } end

local function json_of(v, budget) return json.encode(printing.without_secrets(v, nil, budget)) end

-- The values as text, and as JSON if that is wanted.
local function shown(result, wants_json)
   local answer, budget, json_budget = { ok = true, values = {} }, printing.budget(), printing.budget()
   for i = 1, result.n do answer.values[i] = printing.show(result[i], budget) end
   if not wants_json then return answer end
   answer.json = {}
   local size = 0
   for i = 1, result.n do
      local ok, text = pcall(json_of, result[i], json_budget)
      answer.json[i] = ok and text or json.encode(answer.values[i])
      size = size + #answer.json[i]
   end
   if size <= VALUES then return answer end
   return { ok = false, error = ("the values are over %d MiB as JSON: print parts of them"):format(VALUES / 2 ^ 20) }
end

-- Showing is within the time limit, too: it calls what the script has written, and tables may be large.
local function run(chunk, opts)
   local answer
   local function handler() answer = shown(pack(chunk(keep)), opts.json) end
   local ok, why = xpcall(time_limit.run, explain, { time_limit = opts.seconds or evaluate.SECONDS, handler = handler })
   marks.mark.deadline = 0
   return ok and answer or { ok = false, error = printing.redact(tostring(why)) }
end

local function text_of(out)
   if out.left_out > 0 then out[#out + 1] = ("\n... (%d bytes more)\n"):format(out.left_out) end
   return table.concat(out)
end

--- Runs a text; it waits as long as the text does.
-- @tparam string text an expression, or statements
-- @tparam[opt] table opts seconds=5 (of running and waiting), output=1 MiB (bytes of what it prints), json=false,
-- print (the function that prints, instead of into the answer), sink (function(text): takes what it prints, instead of the answer's
-- output, and returns how many bytes of it were left out)
-- @treturn table ok, output (what it printed), values (as text), json (the same as JSON, if wanted), or error
function evaluate.run(text, opts)
   opts = opts or {}
   local out = new_output(opts.output or OUTPUT, opts.sink)
   if text:byte() == 27 then return { ok = false, output = "", error = "this is bytecode: only text is run" } end
   local chunk, why = compile(text)
   if not chunk then return { ok = false, output = "", error = why } end
   setfenv(chunk, new_environment(opts.print or out.print))
   local answer = run(chunk, opts)
   answer.output = text_of(out)
   return answer
end

return evaluate

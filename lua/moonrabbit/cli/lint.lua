--- cli.lint: `moonrabbit lint`: what a script would declare and consume, and its mistakes.
-- SPDX-License-Identifier: MIT
local escaped = require "moonrabbit.cli.escaped"
local session = require "moonrabbit.cli.session"

local lint = {}

local SPIN = 3       -- seconds beyond --seconds after which a busy script is ended
local LOOK = 100000  -- instructions between two looks at the clock
local PLACES = { "hostname", "port", "userid", "password", "virtual_host", "ssl", "ssl_options", "auth", "insist" }

--- Adds the command to the parser.
function lint.describe(p)
   local c = p:command("lint", "Show what a script would declare and consume, and its mistakes.", [[
Example: moonrabbit lint consumer.lua --plan

The script is run, for at most --seconds, but all its connections go to a broker within this process that
delivers nothing: no handler is called. What else it does (files, other services), it does. Mistakes are:
it does not load, it fails, globals that nothing sets, warnings and errors of the log. What another
program declares is not there: a script that needs it at its start may fail.

--plan asks the real broker (--url) what the declares would do there; nothing is changed. Exit code 1:
there are mistakes, or conflicts with the broker.]])
   c:argument("script", "The Lua script.")
   c:argument("args", "Its arguments."):args "*"
   c:option("--seconds", "How long it may run.", "2"):argname "SECONDS"
   c:flag("--plan", "Ask the broker what the declares would do.")
   session.options(c)
end

-- ---- what it asks a broker for ----

local function record(found)
   local C = require("moonrabbit.base.ffi").C
   local function object(list, what, name, opts, more)
      local entity = { [what] = name, durable = opts.durable or false, exclusive = opts.exclusive, auto_delete = opts.auto_delete,
         internal = opts.internal, arguments = opts.arguments, passive = opts.passive, type = more }
      local known = list[name]
      if known and (opts.passive or not known.passive) then return end
      if not known then list[#list + 1] = name end
      list[name] = entity
   end
   return function(operation, opts, name, extra, key)
      if opts.asking then return end -- a question of the library's own
      if operation == C.MR_EXCHANGE_DECLARE then
         object(found.exchanges, "exchange", name, opts, extra)
      elseif operation == C.MR_QUEUE_DECLARE then
         object(found.queues, "queue", name or "", opts)
      elseif operation == C.MR_QUEUE_BIND or operation == C.MR_EXCHANGE_BIND then
         local text = ("%s <- %s%s"):format(name, extra, (key or "") ~= "" and (" (%s)"):format(key) or "")
         if not found.bindings[text] then found.bindings[#found.bindings + 1], found.bindings[text] = text, true end
      elseif operation == C.MR_BASIC_CONSUME and not found.consumed[name] then
         found.consumed[#found.consumed + 1], found.consumed[name] = name, true
      end
   end
end

-- ---- running it ----

local function divert(url)
   local merged = require "moonrabbit.base.merged"
   return function(given)
      local opts = merged(given, { url = url })
      for _, name in ipairs(PLACES) do opts[name] = nil end
      return opts
   end
end

-- A script that waits in its main chunk is stopped; one that spins is ended by an error.
local function bound(mr, seconds)
   local began = mr.now()
   jit.off()
   jit.flush()
   mr.after(seconds, function() mr.stop() end)
   debug.sethook(function()
      if mr.now() - began > seconds + SPIN then error("the script is busy without end", 0) end
   end, "", LOOK)
end

-- What it prints is not the result.
local function quieten()
   local task = require "moonrabbit.loop.task"
   io.output(io.stderr)
   function _G.print(...)
      local parts = { ... }
      for i = 1, select("#", ...) do parts[i] = tostring(parts[i]) end
      io.stderr:write(table.concat(parts, "\t"), "\n")
   end
   function os.exit() error(task.STOPPED, 0) end -- luacheck: ignore 122
end

local function settle(mr, deadline)
   local lifecycle, stop = require "moonrabbit.consumer.lifecycle", require "moonrabbit.loop.stop"
   local function is_settled()
      for _, worker in ipairs(lifecycle.list()) do
         if worker.state == "starting" then return false end
      end
      return true
   end
   repeat mr.sleep(0.1) until is_settled() or mr.now() > deadline or stop.is_asked()
end

-- Runs the script against a broker of its own; adds what it finds.
local function try(mr, options, seconds, found)
   local broker = assert(mr.testing.broker { name = "lint" })
   broker:pause_deliveries(true)
   require("moonrabbit.connection.settings").divert(divert(broker.url))
   require("moonrabbit.channel.request").hear(record(found))
   mr.log.configure "warn"
   mr.log.sink(function(level, line) found.log[#found.log + 1] = { level = level, text = line:gsub("^time=%S+ level=%S+ ", "") } end)
   quieten()
   bound(mr, seconds)
   local deadline = mr.now() + seconds
   local ok, why = require("moonrabbit.cli.script").run(options.script, options.args)
   if ok and not require("moonrabbit.loop.stop").is_asked() then ok, why = pcall(settle, mr, deadline) end
   debug.sethook()
   if not ok and why ~= require("moonrabbit.loop.task").STOPPED then found.failure = tostring(why) end
   require("moonrabbit.channel.request").hear(nil)
   require("moonrabbit.connection.settings").divert(nil)
   require("moonrabbit.program.shutdown").run(0.1)
   mr.log.sink(nil)
   mr.log.configure "off"
   require("moonrabbit.loop.loop").close(1)
end

-- ---- the plan ----

-- The declares as a topology; what they refer to is passive in it.
local function topology_of(mr, found)
   local exchanges, queues, known = {}, {}, { exchange = { [""] = true }, queue = {} }
   local function add(list, what, entity)
      if known[what][entity[what]] or entity[what]:find "^amq%." then return end
      known[what][entity[what]], list[#list + 1] = true, entity
   end
   for _, name in ipairs(found.exchanges) do add(exchanges, "exchange", found.exchanges[name]) end
   for _, name in ipairs(found.queues) do
      if name ~= "" and not found.queues[name].exclusive then add(queues, "queue", found.queues[name]) end
   end
   for _, list in ipairs { exchanges, queues } do
      for i = 1, #list do
         local a = list[i].arguments or {}
         local to = a["x-dead-letter-exchange"]
         if to then add(exchanges, "exchange", { exchange = to, passive = true }) end
         if to == "" and a["x-dead-letter-routing-key"] then
            add(queues, "queue", { queue = a["x-dead-letter-routing-key"], passive = true })
         end
         if a["alternate-exchange"] then add(exchanges, "exchange", { exchange = a["alternate-exchange"], passive = true }) end
      end
   end
   for _, x in ipairs(exchanges) do x.exclusive = nil end
   return mr.topology { exchanges = exchanges, queues = queues }
end

local function plan_of(self, found)
   local conn, err = self:connect()
   if not conn then return nil, err end
   local ok, topology = pcall(topology_of, self.mr, found)
   if not ok then return nil, tostring(topology) end
   return topology:plan(conn)
end

-- ---- the report ----

local function mistakes_of(options, found)
   local list, chunk, why = {}, loadfile(options.script, "t")
   if not chunk then return { { text = why } } end
   local globals = require "moonrabbit.cli.globals"
   for _, one in ipairs(globals.mistakes(globals.of(chunk), _G)) do
      list[#list + 1] = { text = ("%s:%d: %s"):format(options.script, one.line, one.text) }
   end
   if found.failure then list[#list + 1] = { text = "it fails: " .. found.failure:match "^[^\n]*" } end
   for _, line in ipairs(found.log) do list[#list + 1] = { text = "log: " .. line.text } end
   return list
end

local FLAGS = { "durable", "exclusive", "auto_delete", "internal" }

local function describe(what, entity)
   local each, show = require "moonrabbit.base.each", require "moonrabbit.base.show"
   local words = { entity.type }
   for _, flag in ipairs(FLAGS) do
      if entity[flag] then words[#words + 1] = (flag:gsub("_", "-")) end
   end
   local names = {}
   for name in each(entity.arguments or {}) do names[#names + 1] = name end
   table.sort(names)
   for _, name in ipairs(names) do words[#words + 1] = name .. "=" .. show(entity.arguments[name], true) end
   local name = entity[what] == "" and "(named by the broker)" or entity[what]
   return ("%s %s%s"):format(what, name, #words > 0 and " (" .. table.concat(words, ", ") .. ")" or "")
end

--- The lines for people: declares, needs, consumes, mistakes.
local function lines_of(found, mistakes, plan)
   local declares, needs, out = {}, {}, {}
   for _, what in ipairs { "exchange", "queue" } do
      local list = found[what .. "s"]
      for _, name in ipairs(list) do
         local into = list[name].passive and needs or declares
         into[#into + 1] = describe(what, list[name])
      end
   end
   for _, text in ipairs(found.bindings) do declares[#declares + 1] = "binding " .. text end
   local function section(title, list)
      if #list > 0 then out[#out + 1] = title end
      for _, text in ipairs(list) do out[#out + 1] = "   " .. escaped(text) end
   end
   section("It declares", declares)
   section("It needs, declared by others", needs)
   section("It consumes", found.consumed)
   local texts = {}
   for i, one in ipairs(mistakes) do texts[i] = one.text end
   section("Mistakes", texts)
   if plan then
      local rows = {}
      for line in tostring(plan):gmatch "[^\n]+" do rows[#rows + 1] = line end
      section("At the broker", rows)
   end
   return out
end

local function fields_of(found, mistakes, plan)
   local array = require("moonrabbit.base.value").array
   local function objects(list)
      local out = {}
      for i, name in ipairs(list) do out[i] = list[name] end
      return array(out)
   end
   local texts, verdicts = {}, {}
   for i, one in ipairs(mistakes) do texts[i] = one.text end
   for i, item in ipairs(plan or {}) do verdicts[i] = { what = item.what, name = item.name, verdict = item.verdict } end
   return { exchanges = objects(found.exchanges), queues = objects(found.queues), bindings = array { unpack(found.bindings) },
      consumes = array { unpack(found.consumed) }, mistakes = array(texts), plan = plan and array(verdicts) or nil }
end

local function run(self, options)
   local seconds, wrong = session.number("--seconds", options.seconds, 0.1)
   if wrong then return nil, wrong end
   local file, why = io.open(options.script)
   if not file then return session.misuse(why) end
   file:close()
   local found = { exchanges = {}, queues = {}, bindings = {}, consumed = {}, log = {} }
   if loadfile(options.script, "t") then try(self.mr, options, seconds, found) end
   local mistakes = mistakes_of(options, found)
   local plan, err
   if options.plan then plan, err = plan_of(self, found) end
   local lines = lines_of(found, mistakes, plan)
   lines[#lines + 1] = ("%s: %s%s"):format(options.script, session.count(#mistakes, "mistake"),
      plan and (", " .. session.count(plan.conflict + plan.missing, "conflict") .. " with the broker") or "")
   if not options.json and #lines > 1 then io.stdout:write(table.concat(lines, "\n", 1, #lines - 1), "\n") end
   local is_bad = #mistakes > 0 or plan and plan.conflict + plan.missing > 0
   return { line = lines[#lines], fields = fields_of(found, mistakes, plan), code = is_bad and 1 or 0 }, err
end

--- Runs the command.
-- @treturn number exit code
function lint.main(options)
   return session.run(options, function(self) return run(self, options) end, not options.plan)
end

return lint

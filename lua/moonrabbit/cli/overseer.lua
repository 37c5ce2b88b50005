--- cli.overseer: the console of a supervisor: it answers for all its workers.
-- SPDX-License-Identifier: MIT
-- /status is asked of each worker by its console, and added up; a change is passed on to all. Expressions are for a worker's console.
local C = require("moonrabbit.base.ffi").C
local console = require "moonrabbit.console.console"
local each = require "moonrabbit.base.each"
local ffi = require "ffi"
local host_pages = require "moonrabbit.health.host_pages"
local json = require "moonrabbit.base.json"
local log = require "moonrabbit.loop.log"
local pages = require "moonrabbit.cli.pages"
local processes = require "moonrabbit.cli.processes"
local query = require "moonrabbit.cli.query"
local spawn = require "moonrabbit.cli.spawn"
local together = require "moonrabbit.cli.together"
local value = require "moonrabbit.base.value"

local overseer = {}

local page = host_pages.json
local SOON, LATER = 1, 10 -- seconds: for an I/O thread's answer; for what a script does between its messages

-- The consoles of the running workers, by number.
local function consoles(group)
   local wanted, paths = group.wanted, {}
   for number, worker in ipairs(group.workers) do
      if wanted.console then paths[number] = ("%s.%d"):format(wanted.console, number)
      elseif worker.pid then paths[number] = processes.path(worker.pid, processes.name(wanted.script, number)) end
   end
   return paths
end

local function decoded(answer)
   if not answer or answer.code ~= 200 then return nil end
   local ok, table_ = pcall(json.decode, answer.body)
   return ok and type(table_) == "table" and table_ or nil
end

local function part_of(worker, answer, path)
   local part = { worker = worker.number, pid = worker.pid, console = worker.pid and path or nil, page = worker.pid and decoded(answer) }
   local is_done = not worker.pid and not worker.timer and worker.how and worker.how.code == 0
   if not part.page then part.page, part.reason = nil, not is_done and pages.absence(worker, answer) or nil end
   return part
end

--- What each worker answers, by number.
-- @tparam table group of cli.supervise
-- @tparam string path of the page, with its query
-- @tparam table sockets of the workers, by number
-- @tparam number seconds that all of it may take
-- @treturn table list of {worker, pid, console (its socket), page (decoded; nil: see reason), reason}
function overseer.parts(group, path, sockets, seconds)
   local answers, parts = pages.ask_all(group, path, { sockets = sockets, seconds = seconds }), {}
   for number, worker in ipairs(group.workers) do parts[number] = part_of(worker, answers[number], sockets[number]) end
   return parts
end

--- The page /status of all of them.
-- @tparam table group
-- @tparam table parts of overseer.parts
-- @tparam number began when the supervisor has
-- @treturn table
function overseer.sum(group, parts, began)
   local head = { version = ffi.string(C.mr_version()), pid = spawn.pid(), uptime = C.mr_now() - began, time = os.time(),
      restarts = group.restarts }
   return together.for_json(together.page(head, parts))
end

local function status(group, began)
   return page(200, overseer.sum(group, overseer.parts(group, "/status", consoles(group), SOON), began))
end

-- ---- changes ----

-- What one worker said, and whether it did it.
local function outcome(number, answer)
   local said = answer.code and select(2, pcall(json.decode, answer.body))
   local words = type(said) == "table" and (said.text or said.error) or answer.why or "gives no answer"
   return ("worker %d: %s"):format(number, tostring(words)), answer.code == 200
end

--- Passes a change on to all workers, by their consoles.
-- @tparam table group
-- @tparam table fields of the query of /control
-- @tparam[opt] number only this worker
-- @treturn string what each has said
-- @treturn boolean one has done it
function overseer.pass_on(group, fields, only)
   local lines, has_done, asking = {}, false, { sockets = consoles(group), body = "", seconds = LATER, only = only }
   for number, answer in each(pages.ask_all(group, query.path("/control", fields), asking)) do
      local line, is_done = outcome(number, answer)
      lines[#lines + 1], has_done = line, has_done or is_done
   end
   table.sort(lines)
   return lines[1] and table.concat(lines, "\n") or "no such worker runs", has_done
end

local function change(group, fields, request)
   if group.wanted.console_read_only then return page(403, { error = console.READ_ONLY }) end
   local text, has_done = overseer.pass_on(group, fields)
   if not has_done then return page(400, { error = text }) end
   log.info("changed by console", { action = fields["do"], consumer = fields.consumer, uid = request.uid, pid = request.pid,
      result = text })
   return page(200, { text = text })
end

local function refuse(group)
   local lines = {}
   for number, worker in ipairs(group.workers) do
      if worker.pid then lines[#lines + 1] = ("%d (worker %d)"):format(worker.pid, number) end
   end
   return page(400, { error = "this is the supervisor, which runs no script: ask one of its workers: " .. table.concat(lines, ", ") })
end

--- Opens the console.
-- @tparam table group of cli.supervise
function overseer.begin(group)
   local wanted, began = group.wanted, C.mr_now()
   if wanted.no_console then return end
   local _, err = console.start { path = wanted.console, name = processes.name(wanted.script, "workers"),
      read_only = wanted.console_read_only }
   if err then
      local fields = { kind = err.kind, error = err.text, hint = err.hint }
      if wanted.console then log.warn("no console", fields) else log.info("no console", fields) end
      return
   end
   host_pages.serve_console("/status", function() return status(group, began) end)
   host_pages.serve_console("/control", function(fields, request) return change(group, fields, request) end)
   host_pages.serve_console("/evaluate", function() return refuse(group) end)
   host_pages.serve_console("/complete", function() return page(200, { words = value.array {} }) end)
end

--- Closes it.
function overseer.finish() console.stop() end

return overseer

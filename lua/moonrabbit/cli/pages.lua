--- cli.pages: the supervisor's pages about all its workers: /health, /ready, /live and /metrics.
-- SPDX-License-Identifier: MIT
local ask = require "moonrabbit.cli.ask"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local host_pages = require "moonrabbit.health.host_pages"
local json = require "moonrabbit.base.json"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local pages = {}

local PATIENCE = 2 -- seconds for a worker's answer, which comes from its I/O thread even if the script is busy
local JSON, METRICS = "application/json", "text/plain; version=0.0.4; charset=utf-8"

--- Requests the page of all running workers concurrently.
-- @tparam table group of cli.supervise
-- @tparam string path with its query
-- @tparam[opt] table opts sockets (of the workers, by number; default: those for pages), body (of a POST request), seconds (that
-- all of it may take; default: 4), only (this worker, by number)
-- @treturn table by number {code, body}, or {why}
function pages.ask_all(group, path, opts)
   opts = opts or {}
   local answers, left, token, seconds = {}, 0, task.token(), opts.seconds or 2 * PATIENCE
   local patience = opts.seconds or PATIENCE
   for number, worker in ipairs(group.workers) do
      if worker.pid and number == (opts.only or number) then
         left = left + 1
         task.background(function()
            local code, text = ask.page((opts.sockets or group.sockets)[number], path, patience, opts.body)
            answers[number] = code and { code = code, body = text } or { why = text }
            left = left - 1
            if left == 0 then task.wake(token, true) end
         end)
      end
   end
   local deadline = C.mr_now() + seconds
   while left > 0 and C.mr_now() < deadline do loop.wait(token, deadline - C.mr_now()) end
   return answers
end
local ask_all = pages.ask_all

--- Why a worker has no page.
-- @tparam table worker
-- @tparam ?table answer of ask_all
-- @treturn string
function pages.absence(worker, answer)
   if worker.pid then return "gives no answer: " .. (answer and answer.why or "in time") end
   return ("is not running; deaths in a row: %d"):format(worker.deaths)
end

local function one_of(worker, answer, words)
   if worker.pid and answer and answer.code then
      local ok, report = pcall(json.decode, answer.body)
      if not ok then report = nil end
      local is_well = answer.code == 200
      return is_well, { worker = worker.number, pid = worker.pid, status = words[is_well], report = report }
   end
   if worker.how and worker.how.code == 0 and not worker.pid and not worker.timer then
      return true, { worker = worker.number, status = "ended" } -- it had ended its work
   end
   return false, { worker = worker.number, pid = worker.pid, status = words[false], reason = pages.absence(worker, answer) }
end

-- All workers must be healthy; /live only asks running ones, because the supervisor starts the others.
local function state(group, path, query, words)
   local answers, is_well, list = ask_all(group, path .. (query.verbose and "?verbose" or "")), true, {}
   for number, worker in ipairs(group.workers) do
      local one_is_well, one = one_of(worker, answers[number], words)
      list[number] = one
      if not one_is_well and (path ~= "/live" or worker.pid and answers[number] and answers[number].code) then is_well = false end
   end
   return is_well and 200 or 503, JSON, json.encode { status = words[is_well], workers = list, restarts = group.restarts } .. "\n"
end

-- ---- metrics ----

-- The lines of one metric of all workers are together, under one head, each with the worker's number.
local function merge(texts)
   local families, order = {}, {}
   for number, text in each(texts) do
      local family
      for line in text:gmatch "[^\n]+" do
         local what, name = line:match "^# (%u+) (%S+)"
         if what then
            family = families[name]
            if not family then
               family = { heads = {}, lines = {} }
               families[name] = family
               order[#order + 1] = name
            end
            family.heads[what] = family.heads[what] or line
         elseif family then
            local sample, rest = line:match "^([%w_:]+)(.*)$"
            local labels = ('{worker="%d"'):format(number)
            local is_labelled = rest:sub(1, 1) == "{"
            family.lines[#family.lines + 1] = sample .. labels .. (is_labelled and "," .. rest:sub(2) or "}" .. rest)
         end
      end
   end
   return families, order
end

--- The supervisor's own metrics: name, type, meaning, what to do.
pages.catalogue = {
   { "workers", "gauge", "Worker processes that should run.", "" },
   { "workers_running", "gauge", "Worker processes that run.", "Alert when less than moonrabbit_workers for minutes." },
   { "worker_restarts_total", "counter", "How often a worker that died was started again.",
      "Alert on a lasting rise: the log says how each died." },
}

local function own_metrics(group, out)
   if not group.restarts then return end -- it is not us who start them
   local running = 0
   for _, worker in ipairs(group.workers) do
      if worker.pid then running = running + 1 end
   end
   local values = { workers = #group.workers, workers_running = running, worker_restarts_total = group.restarts }
   for _, m in ipairs(pages.catalogue) do
      local name, kind, help = m[1], m[2], m[3]
      out[#out + 1] = ("# HELP moonrabbit_%s %s\n# TYPE moonrabbit_%s %s\nmoonrabbit_%s %d"):format(name, help, name, kind, name,
         values[name])
   end
end

local function metrics(group)
   local texts = {}
   for number, answer in each(ask_all(group, "/metrics")) do
      if answer.code == 200 then texts[number] = answer.body end
   end
   local families, order = merge(texts)
   local out = {}
   own_metrics(group, out)
   for _, name in ipairs(order) do
      local family = families[name]
      out[#out + 1] = family.heads.HELP
      out[#out + 1] = family.heads.TYPE
      for _, line in ipairs(family.lines) do out[#out + 1] = line end
   end
   return 200, METRICS, table.concat(out, "\n") .. "\n"
end

pages.merge = merge

local WORDS = {
   ["/health"] = { [true] = "healthy", [false] = "unhealthy" },
   ["/ready"] = { [true] = "ready", [false] = "not ready" },
   ["/live"] = { [true] = "live", [false] = "not live" },
}

--- The page at a path; nil: there is none.
-- @tparam table group as of serve; without restarts: another program starts the workers
-- @tparam ?string path
-- @tparam table query
-- @treturn ?number status code
-- @treturn string content type
-- @treturn string body
function pages.answer(group, path, query)
   if path == "/metrics" then return metrics(group) end
   local words = WORDS[path]
   if words then return state(group, path, query, words) end
end

--- Serves these pages instead of the supervisor's own.
-- @tparam table group workers, sockets, restarts
function pages.serve(group)
   for path, words in each(WORDS) do
      host_pages.serve(path, function(query) return state(group, path, query, words) end)
   end
   host_pages.serve("/metrics", function() return metrics(group) end)
end

return pages

--- cli.overview: the page for browsers of a supervisor: its data are those of all workers.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local changes = require "moonrabbit.console.changes"
local host_pages = require "moonrabbit.health.host_pages"
local log = require "moonrabbit.loop.log"
local overseer = require "moonrabbit.cli.overseer"
local query = require "moonrabbit.cli.query"
local value = require "moonrabbit.base.value"

local overview = {}

local SOON = 2 -- seconds for an answer

local page = host_pages.json

-- What the workers are asked: nothing but what is known here goes on to them.
local STATUS, CHANGE = { "recent", "rates", "log" }, { "do", "consumer", "number", "level" }

local function known(asked, keys)
   local some = {}
   for _, key in ipairs(keys) do some[key] = asked[key] end
   return some
end

-- A worker's answer to /details waits for its script: a busy one has none, and the others' come all the same.
local function details(group)
   return page(200, { workers = value.array(overseer.parts(group, "/details", group.sockets, SOON)) })
end

local function status(group, asked, began)
   local sum = overseer.sum(group, overseer.parts(group, query.path("/status", known(asked, STATUS)), group.sockets, SOON), began)
   sum.changes = group.wanted.http_token ~= nil
   return page(200, sum)
end

-- They are passed on by the workers' consoles.
local function change(group, asked)
   local name = tostring(asked["do"])
   if not changes.ALLOWED[name] then return page(400, { error = changes.REFUSAL }) end
   if group.wanted.no_console then return page(400, { error = "changes of workers need their consoles (--no-console)" }) end
   if asked.worker and not asked.worker:find "^%d+$" then return page(400, { error = "worker is the number of one" }) end
   local text, has_done = overseer.pass_on(group, known(asked, CHANGE), tonumber(asked.worker))
   if not has_done then return page(400, { error = text }) end
   log.info("changed by page", { action = name, consumer = asked.consumer, result = text })
   return page(200, { text = text })
end

--- Serves it instead of the page about the supervisor itself.
-- @tparam table group of cli.supervise
function overview.serve(group)
   local began = C.mr_now()
   host_pages.offer("/status", C.MR_PAGE_VIEWERS, function(asked) return status(group, asked, began) end)
   host_pages.offer("/details", C.MR_PAGE_VIEWERS, function() return details(group) end)
   host_pages.offer("/control", C.MR_PAGE_ADMINS, function(asked) return change(group, asked) end)
end

return overview

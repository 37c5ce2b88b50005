--- host_pages: pages that the program serves by HTTP, in addition to the built-in ones or instead of them.
-- SPDX-License-Identifier: MIT
-- The server runs on the I/O thread; a request for one of these pages arrives as an event, and a task answers it.
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local json = require "moonrabbit.base.json"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"
local value = require "moonrabbit.base.value"

local host_pages = {}

local JSON = "application/json"

local MOST = 64 -- functions running at the same time: each may hold descriptors, also after its client has left

local by_path = {}
local at_work = 0

local function answer(token, code, kind, body)
   return C.mr_http_answer(loop.runtime(), token, code, kind, body, #body) == 0
end

local function refuse(token, code, why) answer(token, code, JSON, json.encode { error = why }) end

local function serve(token, fn, query)
   local ok, code, kind, body = xpcall(fn, errors.trace, query)
   at_work = at_work - 1
   local is_page = ok and type(code) == "number" and type(kind) == "string" and type(body) == "string"
   if is_page and answer(token, code, kind, body) then return end
   refuse(token, 500, "the page failed")
   task.report("a page", ok and "a page needs a status code, a content type and a body" or code)
end

loop.on(C.MR_EV_PAGE, function(ev)
   local token, request = tonumber(ev.as.page.token), value.decode(ev.as.page.request)
   local fn = by_path[request.path]
   if not fn then return end
   if at_work == MOST then return refuse(token, 503, "busy") end
   at_work = at_work + 1
   task.later(function() serve(token, fn, request.query) end)
end)

--- Serves a page at every address of mr.health.listen, now and later.
-- @tparam string path such as "/status"; an impossible path is an error
-- @tparam function fn fn(query) -> status code, content type, body; query: a table of strings. It is called in a task
-- and may wait, up to 5 seconds in all; while 64 calls are running, the next request gets 503.
function host_pages.serve(path, fn)
   local status = C.mr_http_page(loop.runtime(), path, true)
   if status ~= 0 then errors.blame(("no page can have the path %q"):format(path)) end
   by_path[path] = fn
end

loop.on_close(function() by_path, at_work = {}, 0 end)

return host_pages

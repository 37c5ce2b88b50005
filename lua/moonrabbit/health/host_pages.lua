--- host_pages: pages that the program serves by HTTP, beside the built-in ones or in their place.
-- SPDX-License-Identifier: MIT
-- The I/O thread has the server; a request for one of these pages comes as an event and is answered by a task.
local C = require("moonrabbit.base.ffi").C
local json = require "moonrabbit.base.json"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"
local value = require "moonrabbit.base.value"

local host_pages = {}

local JSON = "application/json"

local by_path = {}

local function answer(token, code, kind, body)
   return C.mr_http_answer(loop.runtime(), token, code, kind, body, #body) == 0
end

local function serve(token, fn, query)
   local ok, code, kind, body = pcall(fn, query)
   local is_page = ok and type(code) == "number" and type(kind) == "string" and type(body) == "string"
   if is_page and answer(token, code, kind, body) then return end
   answer(token, 500, JSON, json.encode { error = "the page failed" })
   error(ok and "a page needs a status code, a content type and a body" or code, 0)
end

loop.on(C.MR_EV_PAGE, function(ev)
   local token, request = tonumber(ev.token), value.decode(ev.data.table)
   local fn = by_path[request.path]
   if fn then task.later(function() serve(token, fn, request.query) end) end
end)

--- Serves a page wherever mr.health.listen serves, or is going to.
-- @tparam string path such as "/status"
-- @tparam function fn fn(query) -> status code, content type, body; query: a table of strings. It is called in a task
-- and may wait, up to 5 seconds in all.
function host_pages.serve(path, fn)
   by_path[path] = fn
   C.mr_http_page(loop.runtime(), path, true)
end

loop.on_close(function() by_path = {} end)

return host_pages

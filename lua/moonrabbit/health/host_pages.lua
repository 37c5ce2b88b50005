--- host_pages: pages that the program serves by HTTP, in addition to the built-in ones or instead of them.
-- SPDX-License-Identifier: MIT
-- The server runs on the I/O thread; a request for one of these pages arrives as an event, and a task answers it.
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local json = require "moonrabbit.base.json"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"
local utf8_text = require "moonrabbit.base.utf8_text"
local value = require "moonrabbit.base.value"

local host_pages = {}

local JSON = "application/json"

local MOST = 64 -- functions running at the same time: each may hold descriptors, also after its client has left

local by_path, of_console = {}, {}
local at_work = 0
local awaited = {} -- token -> the request of a console's client, which may leave

--- What a page of JSON returns. Names and texts may have any bytes; JSON is UTF-8.
-- @tparam number code status code
-- @param answer a value of JSON
-- @treturn number code
-- @treturn string content type
-- @treturn string body
function host_pages.json(code, answer) return code, JSON, utf8_text.repaired(json.encode(answer)) .. "\n" end

local function answer(token, code, kind, body)
   return C.mr_http_answer(loop.runtime(), token, code, kind, body, #body) == 0
end

local function refuse(token, code, why) answer(token, code, JSON, json.encode { error = why }) end

-- Begins an answer that comes bit by bit: a function that writes a text, false: there is no room; and one that ends it. It is for a
-- console's client, whose request.on_left is called when it leaves.
local function stream(token, request, kind, room)
   if C.mr_http_stream(loop.runtime(), token, kind, room) ~= 0 then return nil end
   request.is_streamed = true
   local function write(text) return C.mr_http_write(loop.current(), token, text, #text) == 0 end
   local function finish()
      awaited[token] = nil
      C.mr_http_end(loop.current(), token)
   end
   return write, finish
end

local function serve(token, fn, request)
   local ok, code, kind, body = xpcall(fn, errors.trace, request.query, request)
   if not request.uid then at_work = at_work - 1 end
   if request.is_streamed and ok then return end
   local is_page = ok and type(code) == "number" and type(kind) == "string" and type(body) == "string"
   if is_page and answer(token, code, kind, body) then return end
   refuse(token, 500, "the page failed")
   task.report("a page", ok and "a page needs a status code, a content type and a body" or code)
end

-- A console's client: its request is dropped if it has left before its turn.
local function serve_client(token, fn, request)
   if not awaited[token] then return end
   function request.stream(kind, room) return stream(token, request, kind, room) end
   serve(token, fn, request)
   if not request.is_streamed then awaited[token] = nil end
end

local function client_left(token)
   local request = awaited[token]
   awaited[token] = nil
   if request and request.on_left then request.on_left() end
end

loop.on(C.MR_EV_PAGE, function(ev)
   local token = tonumber(ev.as.page.token)
   if ev.as.page.request == nil then return client_left(token) end
   local request = value.decode(ev.as.page.request)
   local fn = request.uid and of_console[request.path]
   if fn then
      awaited[token] = request
      return task.later(function() serve_client(token, fn, request) end)
   end
   fn = by_path[request.path]
   if not fn then return end
   if at_work == MOST then return refuse(token, 503, "busy") end
   at_work = at_work + 1
   task.later(function() serve(token, fn, request) end)
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

local offered = {} -- path -> {audience, fn}: for the page for browsers, at the next mr.health.listen

--- Offers a page that belongs to the page for browsers: health.listen serves it.
-- @tparam string path
-- @tparam number audience C.MR_PAGE_VIEWERS, or C.MR_PAGE_ADMINS (POST requests with the token)
-- @tparam function fn as of serve
function host_pages.offer(path, audience, fn) offered[path] = { audience = audience, fn = fn } end

--- Serves what is offered.
function host_pages.serve_offered()
   for path, page in each(offered) do
      if not by_path[path] then
         C.mr_http_page_for(loop.runtime(), path, page.audience, true)
         by_path[path] = page.fn
      end
   end
end

--- Serves a page for the console's clients only. Nothing bounds the time of the call.
-- @tparam string path
-- @tparam function fn fn(query, request) -> status code, content type, body; request: uid, pid, body (nil: not a POST); it may set
-- request.on_left, which is called if the client leaves meanwhile. request.stream(content type, room) begins an answer that comes bit by
-- bit: fn(text), which says whether it had room for the text, and a function that ends it, to be called also when the client has left
function host_pages.serve_console(path, fn)
   C.mr_console_page(loop.runtime(), path, true)
   of_console[path] = fn
end

-- What is offered stays: it belongs to modules, not to a runtime.
loop.on_close(function() by_path, of_console, awaited, at_work = {}, {}, {}, 0 end)

return host_pages

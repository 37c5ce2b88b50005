--- host.ngx_health: the health pages of all of nginx's workers, for a content_by_lua block.
-- SPDX-License-Identifier: MIT
-- Each worker serves its pages on a private socket, from its I/O thread; the worker that is asked by HTTP asks all of them. They
-- find each other by `lua_shared_dict moonrabbit`.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local connection = require "moonrabbit.connection.connection"
local driver = require "moonrabbit.host.ngx_driver"
local health = require "moonrabbit.health.health"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local pages = require "moonrabbit.cli.pages"
local task = require "moonrabbit.loop.task"

local ngx_health = {}

local own                -- path of this worker's socket, in the folder that the runtime removes
local has_warned = false

local function dict() return ngx.shared.moonrabbit end
local function entry() return ngx.worker.pid() .. " " .. own end

local function register(number)
   local workers = dict()
   if not workers then return end
   workers:set(number, entry())
   driver.on_leave(function()
      if workers:get(number) == entry() then workers:delete(number) end -- the next one has this number now
   end)
end

--- Begins to serve this worker's pages.
-- @tparam number number of the worker
function ngx_health.start(number)
   own = ffi.string(C.mr_runtime_wake_path(loop.runtime())):match "^.*/" .. "health"
   task.background(function()
      local port, err = health.listen(own)
      if port then return register(number) end
      log.error("health pages not served", { where = own, kind = err.kind, error = err.text, hint = err.hint })
   end)
end

local function is_used()
   local is_it = false
   connection.each(function(conn) is_it = is_it or conn.state ~= "idle" end)
   return is_it
end

local is_unused = false

--- A worker that runs no script is healthy without a connection, until its first request needs one.
function ngx_health.spare()
   is_unused = true
   health.configure { connected = false }
end

--- Looks whether it has one; called after each poll.
function ngx_health.look()
   if not is_unused or not is_used() then return end
   is_unused = false
   health.configure { connected = true }
end

local function all_workers()
   local workers, count = dict(), ngx.worker.count()
   local group = { workers = {}, sockets = {} }
   for number = 1, count do
      local pid, path = (workers:get(number) or ""):match "^(%d+) (.*)$"
      group.workers[number] = { number = number, pid = tonumber(pid), deaths = 0 }
      group.sockets[number] = path
   end
   return group
end

local function this_worker()
   if not has_warned and ngx.worker.count() > 1 then
      has_warned = true
      log.warn("the health page is about one worker only", { hint = "lua_shared_dict moonrabbit 100k; in http makes it about all" })
   end
   local number = ngx.worker.id() + 1
   return { workers = { { number = number, pid = ngx.worker.pid(), deaths = 0 } }, sockets = { own } }
end

--- Answers the running request.
function ngx_health.answer()
   if not own then options.blame('call start of moonrabbit.ngx in init_worker_by_lua_block') end
   local group = dict() and all_workers() or this_worker()
   local code, kind, body = pages.answer(group, ngx.var.uri:match "/%w+$", { verbose = ngx.var.arg_verbose })
   if not code then return ngx.exit(404) end
   ngx.status = code
   ngx.header.content_type, ngx.header.cache_control = kind, "no-store"
   ngx.print(body)
end

return ngx_health

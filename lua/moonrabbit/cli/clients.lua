--- cli.clients: logs who comes to `moonrabbit broker` and who goes, and its memory alarm.
-- SPDX-License-Identifier: MIT
-- It looks each second: a client that stays for less may not be seen.
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"

local clients = {}

local INTERVAL = 1 -- seconds

local function fields_of(c)
   local properties = c.client_properties or {}
   return { number = c.number, name = properties.connection_name, product = properties.product, user = c.user, vhost = c.vhost }
end

--- Logs what has changed since the last look.
-- @tparam table report of the broker
-- @tparam table last what the last call returned, or {}
-- @treturn table
function clients.look(report, last)
   local now = { blocked = report.blocked, here = {} }
   local before = last.here or {}
   for _, c in ipairs(report.connections) do
      if c.state == "running" or c.state == "blocked" then
         now.here[c.number] = before[c.number] or fields_of(c)
         if not before[c.number] then log.info("client connected", now.here[c.number]) end
      end
   end
   for number, fields in each(before) do
      if not now.here[number] then log.info("client gone", fields) end
   end
   if now.blocked and not last.blocked then log.warn("publishers are blocked", { memory = report.memory }) end
   if last.blocked and not now.blocked then log.info("publishers may go on", { memory = report.memory }) end
   return now
end

--- Watches a broker.
-- @tparam table handle of mr.testing.broker
function clients.watch(handle)
   local last = {}
   loop.every(INTERVAL, function()
      if not handle.handle then return end
      C.mr_server_log(handle.handle, loop.runtime())
      last = clients.look(handle:report(), last)
   end)
end

return clients

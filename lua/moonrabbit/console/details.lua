--- details: what only the script knows of the program, for the page for browsers: handlers at work, retries that wait, dead letters.
-- SPDX-License-Identifier: MIT
-- The I/O thread knows the rest, and serves it as /status; this page needs a script that lets go.
local C = require("moonrabbit.base.ffi").C
local dead_letters = require "moonrabbit.redelivery.dead_letters"
local each = require "moonrabbit.base.each"
local host_pages = require "moonrabbit.health.host_pages"
local in_flight = require "moonrabbit.channel.in_flight"
local lifecycle = require "moonrabbit.consumer.lifecycle"
local log = require "moonrabbit.loop.log"
local printing = require "moonrabbit.console.printing"
local put_off = require "moonrabbit.redelivery.put_off"
local quiet = require "moonrabbit.program.quiet"
local settings = require "moonrabbit.connection.settings"
local subscription = require "moonrabbit.channel.subscription"
local value = require "moonrabbit.base.value"

local details = {}

local MOST = 100 -- entries of a list

-- The first entries as an array, and how many others there are (nil: none).
local function first(list)
   local some = {}
   for i = 1, math.min(#list, MOST) do some[i] = list[i] end
   return value.array(some), #list > MOST and #list - MOST or nil
end

local function consumers()
   local list = {}
   for _, worker in ipairs(lifecycle.list()) do
      list[#list + 1] = { name = worker.name, tag = worker.tag, queue = worker.queue, state = worker.state,
         is_paused = quiet.is_paused(worker), prefetch = worker.options and tonumber(worker.options.prefetch),
         running = worker.inner and worker.inner.running or 0 }
   end
   subscription.each(function(c)
      if c.owner or c.is_service or c.is_exit then return end
      list[#list + 1] = { tag = c.tag, queue = c.queue, state = c.state, is_paused = quiet.is_paused(c), running = c.running }
   end)
   return list
end

--- All of it, without passwords.
-- @treturn table
function details.gather()
   local answer = { name = settings.name(), time = C.mr_now(), is_quiet = quiet.is_on(), log_level = log.level() }
   for name, list in each { handlers = in_flight.list(), retries = put_off.list(C.mr_now()), dead_letters = dead_letters.list(),
      consumers = consumers() } do
      answer[name], answer[name .. "_left_out"] = first(list)
   end
   for _, group in ipairs(answer.dead_letters) do group.examples = value.array(group.examples) end
   return printing.without_secrets(answer, nil, { left = math.huge }) -- the lists are bounded above
end

--- Offers the page /details to those who see the page for browsers.
function details.offer()
   host_pages.offer("/details", C.MR_PAGE_VIEWERS, function() return host_pages.json(200, details.gather()) end)
end

return details

--- unsettled: reports messages that a handler did not settle in time: `settle_timeout` of mr.consumer.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local message = require "moonrabbit.channel.message"

local unsettled = {}

local Watch = {}
Watch.__index = Watch

local function look(self)
   local now = C.mr_now()
   for msg, began in each(self.open) do
      if not msg.is_live then
         self.open[msg], self.told[msg] = nil, nil
      elseif now - began >= self.seconds and not self.told[msg] then
         self.told[msg] = true
         self.count = self.count + 1
         local message_id, correlation_id = message.ids(msg)
         log.error("a message is not settled", { queue = self.worker.queue, tag = msg.delivery_tag,
            message_id = message_id, correlation_id = correlation_id,
            handler = marks.origin(self.worker.options.handler), seconds = math.floor((now - began) * 10 + 0.5) / 10 })
      end
   end
end

--- Watches the messages of a worker.
-- @tparam worker worker
-- @tparam number seconds after which one is reported, once
function unsettled.new(worker, seconds)
   local self = setmetatable({ worker = worker, seconds = seconds, open = {}, told = {}, count = 0 }, Watch)
   self.timer = loop.every(math.max(seconds / 4, 0.01), function() look(self) end)
   return self
end

-- Messages that are settled, or that the handler's return settles, need no watching.
local function leave(self, msg, ...)
   if not self.worker.options.manual_ack or not msg.is_live then self.open[msg] = nil end
   return ...
end

--- Wraps the handler to record its messages.
function Watch:watching(run)
   return function(msg)
      self.open[msg] = C.mr_now()
      return leave(self, msg, run(msg))
   end
end

--- Stops watching.
function Watch:stop() loop.cancel(self.timer) end

return unsettled

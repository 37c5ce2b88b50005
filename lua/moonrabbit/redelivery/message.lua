--- message: what a message can do beyond being settled: come again, go to the dead letters, be answered.
-- SPDX-License-Identifier: MIT
local copies = require "moonrabbit.redelivery.copy"
local errors = require "moonrabbit.base.errors"
local holding = require "moonrabbit.redelivery.holding"
local ledger = require "moonrabbit.channel.ledger"
local merged = require "moonrabbit.base.merged"
local message = require "moonrabbit.channel.message"
local options = require "moonrabbit.base.options"
local returns = require "moonrabbit.redelivery.returns"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"

local methods, fields = {}, {} -- what init installs

local function consumer_of(self)
   local number = message.consumer_number(self)
   return number and subscription.known(number)
end

--- Which try this is: 1 at first, one more for each time it failed and came back. A dead letter that is put back
-- begins anew, and so does a message whose headers came along from another queue.
function fields.attempt(self)
   local entry = ledger.count > 0 and self.queue and ledger.find(ledger.key(self, self.queue))
   if entry then return entry.count + 1 end
   local headers = self.properties.headers
   local failed = headers and not headers["x-mr-reason"] and tonumber(headers["x-mr-attempt"])
   if not failed or not (failed >= 1 and failed < 2 ^ 31) then return 1 end
   local queue = self.queue
   return (not queue or headers["x-mr-queue"] == queue) and math.floor(failed) + 1 or 1
end

--- The queue it came from; nil when it was returned.
function fields.queue(self)
   local consumer = consumer_of(self)
   return consumer and consumer.queue
end

-- Copies by copy(queue) and acks. One that is settled or lost already gives the error of acking it.
local function replace(self, copy)
   if not self.is_live then return self:ack() end
   local queue = self.queue
   if not queue then return nil, copies.homeless() end
   local ok, err = copy(queue)
   if ok then return self:ack() end
   err.again = function() return copy(queue) end
   rawset(self, message.FAILED, err) -- a handler that does not heed it has failed: see handling
   return nil, err
end

--- Has the message come again after some seconds, as another delivery. With mr.consumer it waits in a queue at the broker
-- meanwhile: true says that it is there, and that this one was acked. Elsewhere this process holds it, unacked, and counted
-- in the prefetch; then a copy goes to the end of its queue.
-- @tparam number delay seconds
-- @treturn[1] true
-- @treturn[2] nil, error why it could not be copied (nothing is settled then), or of kind settled or stale
function methods:retry(delay)
   options.argument(1, "delay", delay, "number")
   options.seconds("delay", delay)
   task.check()
   local consumer = consumer_of(self)
   local exit = consumer and consumer.judge and returns.of(consumer.owner)
   local ok, err
   if exit then
      ok, err = replace(self, function(queue)
         return copies.delay(self, delay, { queue = queue, attempt = self.attempt, exit = exit })
      end)
      if ok or not (err.is_final or err.kind == "access_refused") then return ok, err end
   end
   if not self.is_live then return self:ack() end
   if not self.queue then return nil, copies.homeless() end
   return holding.keep(self, self.queue, delay)
end

--- Puts the message among the dead letters: in the queue of that name with ".dead", or the consumer's own choice
-- (none: it is rejected).
-- @tparam[opt] string reason goes into the header x-mr-reason
-- @treturn[1] true
-- @treturn[2] nil, error as of retry
function methods:dead_letter(reason)
   if reason ~= nil then options.argument(1, "reason", reason, "string") end
   task.check()
   local consumer = consumer_of(self)
   local owner = consumer and consumer.owner
   if owner and not owner.dead_letter then return self:reject() end -- its queue knows where to
   local ok, err = replace(self, function(queue)
      local dead = owner and owner.dead_letter or queue .. ".dead"
      return copies.bury(self, dead, { queue = queue, attempt = self.attempt, reason = reason or "the handler said so",
         arguments = owner and owner.companions })
   end)
   return ok, err
end

--- Publishes an answer to reply_to, with the same correlation_id.
-- @tparam string body any bytes, empty too
-- @tparam[opt] table props as of publish
function methods:reply(body, props)
   local asked = self.properties
   if not asked.reply_to then
      return nil, errors.new("bad_argument", "message", "the message has no reply_to property")
   end
   return self.channel:publish("", asked.reply_to, body, merged({ correlation_id = asked.correlation_id }, props))
end

return { methods = methods, fields = fields }

--- message: further methods of messages: retry, dead letters, replies.
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

--- The number of this attempt: 1 at first, plus one for each failure. A dead letter that is moved back starts at 1 again, and
-- so does a message whose headers were copied from another queue.
function fields.attempt(self)
   local entry = ledger.count > 0 and self.queue and ledger.find(ledger.key(self, self.queue))
   if entry then return entry.count + 1 end
   local headers = self.properties.headers
   local failed = headers and not headers["x-mr-reason"] and tonumber(headers["x-mr-attempt"])
   if not failed or not (failed >= 1 and failed < 2 ^ 31) then return 1 end
   local queue = self.queue
   return (not queue or headers["x-mr-queue"] == queue) and math.floor(failed) + 1 or 1
end

--- Its queue; nil for a returned message.
function fields.queue(self)
   local consumer = consumer_of(self)
   return consumer and consumer.queue
end

-- Copies the message by copy(queue) and acks it. If it is settled or lost already, returns the error of an ack.
local function replace(self, copy)
   if not self.is_live then return self:ack() end
   local queue = self.queue
   if not queue then return nil, copies.homeless() end
   local ok, err = copy(queue)
   if ok then return self:ack() end
   err.again = function() return copy(queue) end
   rawset(self, message.FAILED, err) -- a handler that ignores it has failed: see handling
   return nil, err
end

--- Retries the message after some seconds, as another delivery. With mr.consumer it waits in a queue at the broker: true means
-- that the copy is there, and that this message was acked. Otherwise this process holds it, unacked and counted in the
-- prefetch; then a copy is published to the end of its queue.
-- @tparam number delay seconds
-- @treturn[1] true
-- @treturn[2] nil, error why it could not be copied (then it is not settled), or of kind settled or stale
function methods:retry(delay)
   options.argument(1, "delay", delay, "number")
   options.seconds("delay", delay)
   task.check()
   if self.is_live and self.offset then
      local err = message.not_of_streams "put back for later"
      err.hint, err.is_of_stream = "return { retry = seconds }, which waits here", true
      rawset(self, message.FAILED, err)
      return nil, err
   end
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

--- Moves the message to the dead letters: to the queue QUEUE.dead, or the one that its consumer names (none: it is
-- rejected).
-- @tparam[opt] string reason for the header x-mr-reason
-- @treturn[1] true
-- @treturn[2] nil, error as of retry
function methods:dead_letter(reason)
   if reason ~= nil then options.argument(1, "reason", reason, "string") end
   task.check()
   local consumer = consumer_of(self)
   local owner = consumer and consumer.owner
   if owner and not owner.dead_letter then -- the queue has its own dead-letter exchange; a stream keeps the message
      if self.is_live and self.offset then return self:ack() end
      return self:reject()
   end
   local ok, err = replace(self, function(queue)
      local dead = owner and owner.dead_letter or queue .. ".dead"
      return copies.bury(self, dead, { queue = queue, attempt = self.attempt, reason = reason or "the handler said so",
         arguments = owner and owner.companions })
   end)
   return ok, err
end

--- Publishes a reply to reply_to, with the same correlation_id.
-- @tparam string body any bytes, may be empty
-- @tparam[opt] table props as of publish
function methods:reply(body, props)
   local asked = self.properties
   if not asked.reply_to then
      return nil, errors.new("bad_argument", "message", "the message has no reply_to property")
   end
   return self.channel:publish("", asked.reply_to, body, merged({ correlation_id = asked.correlation_id }, props))
end

return { methods = methods, fields = fields }

--- publish: a channel's publishes, with or without confirms, synchronous or asynchronous.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local properties = require "moonrabbit.base.properties"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local unconfirmed = require "moonrabbit.channel.unconfirmed"
local unheard = require "moonrabbit.channel.unheard"
local way = require "moonrabbit.channel.way"

local publish = {}

local new_ticket = ticket.new
local put = unconfirmed.put
local encode, check = properties.encode_checked, properties.check
local number_box = ffi.new "uint64_t[1]"
local MANDATORY, CONFIRM = C.MR_MANDATORY, C.MR_EV_CONFIRM
local OK, BACKPRESSURE = 0, errors.numbers.backpressure
local BLOCKED, CLOSED = errors.numbers.blocked_timeout, errors.numbers.closed
local PATIENCE = 10              -- seconds to wait for room if the publish has no timeout

local function wrong(exchange, routing_key, body)
   options.argument(1, "exchange", exchange, "string")
   options.argument(2, "routing_key", routing_key, "string")
   options.argument(3, "body", body, "string")
end

-- Waits until the obstacle of a publish is gone; returns the status of the wait.
local function wait_for_way(self, status, deadline)
   local left = deadline - C.mr_now()
   if left <= 0 then return false end
   if status == BACKPRESSURE then return loop.wait_room(left) end
   return way.wait(self.connection, left)
end

-- True if publishing may be possible later.
local function may_pass(self, status)
   return status == BACKPRESSURE or status == BLOCKED
      or status == CLOSED and self.handle and C.mr_channel_is_suspended(self.handle)
end

-- One attempt without a wait; returns its status. The number of the publish is in number_box.
local function try(handle, exchange, routing_key, body, props, encoded)
   local buffer, size, flags, timeout = nil, 0, 0, 0
   if props then
      if encoded then buffer, size = encoded, #encoded else buffer, size = encode(props) end
      if props.mandatory then flags = MANDATORY end
      timeout = props.timeout or 0
   end
   local status = C.mr_channel_publish(handle, exchange, #exchange, routing_key, #routing_key, body, #body, buffer, size,
      flags, timeout, number_box)
   return status -- no tail call: a function that ends with a tail call to C is not compiled by itself
end

-- The error of a failed attempt for which waiting does not help.
local function failure(self, status)
   if status == errors.numbers.content_too_large or status == errors.numbers.bad_argument then
      return errors.of_status(status, "publish")
   end
   return asking.refusal(self, status)
end

-- The properties as they are now, for a publish that goes out later: what is not on the wire, and the bytes. The program may
-- use its table for another message meanwhile.
local function freeze(props)
   if not props then return nil, nil end
   return { mandatory = props.mandatory, timeout = props.timeout }, ffi.string(encode(props))
end

-- The slow path: publishes again until there is a way, or the time is up. True, nil, and the properties as freeze has them.
local function insist(self, status, exchange, routing_key, body, props)
   local deadline = C.mr_now() + (props and props.timeout or PATIENCE)
   local encoded
   if may_pass(self, status) then props, encoded = freeze(props) end
   while may_pass(self, status) do
      if not wait_for_way(self, status, deadline) then
         if status == CLOSED then return nil, asking.refusal(self, status) end
         return nil, errors.of_status(status, "publish")
      end
      if not self.handle then return nil, asking.refusal(self, errors.numbers.closed) end
      status = try(self.handle, exchange, routing_key, body, props, encoded)
   end
   if status == OK then return true, nil, props, encoded end
   return nil, failure(self, status)
end

local function send(self, exchange, routing_key, body, props)
   if type(exchange) ~= "string" or type(routing_key) ~= "string" or type(body) ~= "string" then
      wrong(exchange, routing_key, body)
   end
   local handle = self.handle
   if not handle then return nil, asking.refusal(self, errors.numbers.closed) end
   local status = try(handle, exchange, routing_key, body, props)
   if status == OK then return true, nil, props end
   return insist(self, status, exchange, routing_key, body, props)
end

-- True if the broker will confirm the last publish: false before confirm.select is sent.
local function is_numbered() return number_box[0] ~= 0 end

local UNNUMBERED = "the channel is not in confirm mode again yet"

-- Registers the ticket of the last publish.
local function enter(book, t)
   local number = tonumber(number_box[0])
   t.number = number
   put(book.open, t)
   book.outstanding = book.outstanding + 1
end

-- The ticket of what was just sent. With the option `republish` it keeps the message, as far as the bytes
-- allow, to be sent again after a loss.
local function register(book, exchange, routing_key, body, props, encoded)
   local t = new_ticket(0, exchange, routing_key)
   enter(book, t)
   local room = book.keeps
   if room and #body <= room.left then
      room.left = room.left - #body
      if not encoded then props, encoded = freeze(props) end
      local limit = props and props.timeout
      t.sent = { exchange, routing_key, body, props, encoded, room = room,
         deadline = limit and limit > 0 and C.mr_now() + limit }
   end
   return t
end

-- The properties of a publish that is sent again: its timeout is the remaining time.
local function in_time(sent)
   if not sent.deadline then return sent[4] end
   return { mandatory = sent[4].mandatory, timeout = math.max(sent.deadline - C.mr_now(), 0.001) }
end

--- Sends under a ticket that was made before; does not wait for a way. What fails: nil, the error, and the
-- function that waits at most so many seconds for the way when it may open again.
-- `encoded`: the properties as bytes; props has mandatory and timeout only.
function publish.post(self, t, exchange, routing_key, body, props, encoded)
   local handle = self.handle
   if not handle then return nil, asking.refusal(self, CLOSED) end
   local status = try(handle, exchange, routing_key, body, props, encoded)
   if status == OK then
      if self.book and is_numbered() then enter(self.book, t)
      elseif self.book then ticket.lose(t, UNNUMBERED, self.book.tally) end
      return true
   end
   if not may_pass(self, status) then return nil, failure(self, status) end
   local err = status == CLOSED and asking.refusal(self, status) or errors.of_status(status, "publish")
   return nil, err, function(seconds) return wait_for_way(self, status, C.mr_now() + seconds) end
end

-- Sends without checking the names of the properties (they were checked before), so that it is compiled as one trace.
local function submit(self, exchange, routing_key, body, props)
   local ok, err, sent, encoded = send(self, exchange, routing_key, body, props)
   if not ok then return nil, err end
   local book, tx = self.book, self.tx
   if tx then tx.is_open = true end
   if not book or not is_numbered() then return true end
   return register(book, exchange, routing_key, body, sent, encoded)
end

--- Sends the message of a ticket once more, as publish.post does: the ticket has another number from then on.
function publish.send_again(self, t)
   local sent = t.sent
   local ok, err, wait = publish.post(self, t, sent[1], sent[2], sent[3], in_time(sent), sent[5])
   return ok, err, wait
end

--- Publishes without waiting for the broker.
-- @tparam string exchange "" is the default exchange: the routing key is the queue's name
-- @tparam string routing_key at most 255 bytes
-- @tparam string body any bytes, may be empty
-- @tparam[opt] table props AMQP's properties (content_type, headers, ...), and mandatory,
-- persistent (default true), timeout (seconds to wait for room, and for the confirm)
-- @treturn[1] ticket in confirm mode; else true
-- @treturn[2] nil, error of kind closed, backpressure, blocked_timeout, content_too_large
function publish:publish_async(exchange, routing_key, body, props)
   if props then check(props) end
   return submit(self, exchange, routing_key, body, props)
end

--- Waits in the main chunk for the ack of a waiting ticket, if nothing else happens meanwhile: the way of most scripts, so it
-- takes one poll and no coroutine, and their loop is compiled as a whole. False: see the ticket.
function publish.is_acked_next(self, t)
   local ev = loop.peek(CONFIRM)
   if not ev or ev.status ~= OK or ev.epoch ~= self.epoch or ev.connection ~= self.connection.number then return false end
   local number = t.number
   if t.state ~= "waiting" or tonumber(ev.as.confirm.first) ~= number or tonumber(ev.as.confirm.last) ~= number then return false end
   loop.take_peeked()
   ticket.settle(self.book, number, number, OK)
   return true
end

--- Publishes, and in confirm mode waits for the confirm in the calling coroutine.
-- @tparam string exchange as of publish_async
-- @tparam string routing_key as of publish_async
-- @tparam string body as of publish_async
-- @tparam[opt] table props as of publish_async
-- @treturn[1] true
-- @treturn[2] nil, error of kind nacked, returned (err.message), lost, timeout, or as publish_async
function publish:publish(exchange, routing_key, body, props)
   if self.book then task.check() end
   local result, err = self:publish_async(exchange, routing_key, body, props)
   if not result or result == true then return result, err end
   if publish.is_acked_next(self, result) then return true end
   return result:wait()
end

--- Waits until every publish of the channel is confirmed.
-- @tparam[opt] number timeout seconds; nil: no limit
-- @treturn[1] true if all publishes since the last call were acked
-- @treturn[2] nil, error of kind timeout (some are still open), or the error of the last failed one, with
-- err.count: the number of publishes that were not acked
function publish:wait_for_confirms(timeout)
   options.seconds("timeout", timeout)
   local book = self.book
   if not book then
      return nil, errors.new("bad_argument", "channel", "the channel is not in confirm mode: call confirm_select first")
   end
   local deadline = timeout and C.mr_now() + timeout
   local out = ticket.out(book)
   while out or self.again[1] do -- `again` waits for the connection to come back
      local left = deadline and math.max(deadline - C.mr_now(), 0)
      local done
      if out then
         out.waiters = out.waiters or {}
         done = loop.wait_in(out.waiters, left)
      else
         done = way.wait(self.connection, left)
      end
      if not done then
         return nil, errors.new("timeout", "publish",
            ("%d publishes are not confirmed yet"):format(ticket.count_out(self.book) + #self.again),
            "they are still on their way: wait again, or longer")
      end
      out = ticket.out(self.book) -- another book, after a loss
   end
   local tally = book.tally
   local failed = tally.failed
   tally.failed = 0
   unheard.tell_all(tally)
   if failed == 0 then return true end
   local err = errors.new(tally.failure, "publish", ("%d publishes were not acked"):format(failed))
   err.count = failed
   return nil, err
end

--- Sets the function that is called with returned mandatory messages: fn(message, error). In confirm mode the publish also
-- ends as "returned".
function publish:on_return(fn)
   if fn ~= nil then options.argument(1, "fn", fn, "function") end
   self.return_handler = fn
end

return publish

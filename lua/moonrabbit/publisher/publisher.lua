--- publisher: publishes that survive the loss of a connection: each has exactly one outcome.
-- SPDX-License-Identifier: MIT
-- A publish is in the line (it cannot be sent yet), in flight (sent, not confirmed), or aside (a policy decides about it or
-- delays it). It ends as acked, nacked, returned, lost or timeout; without confirms as sent.
local C = require("moonrabbit.base.ffi").C
local awaited = require "moonrabbit.topology.awaited"
local backlog = require "moonrabbit.publisher.backlog"
local body_of = require "moonrabbit.base.body"
local cascade = require "moonrabbit.delay.cascade"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local farewell = require "moonrabbit.connection.farewell"
local generation = require "moonrabbit.loop.generation"
local home = require "moonrabbit.connection.default"
local job = require "moonrabbit.publisher.job"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local outbox = require "moonrabbit.publisher.buffer"
local properties = require "moonrabbit.base.properties"
local resend = require "moonrabbit.publisher.resend"
local sender = require "moonrabbit.publisher.sender"
local stop = require "moonrabbit.loop.stop"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local topology = require "moonrabbit.topology.topology"
local unheard = require "moonrabbit.channel.unheard"

local publisher = {}

local Publisher = { __name = "moonrabbit.publisher" }
Publisher.__index = Publisher
function Publisher.__tostring(p)
   return ("publisher to exchange %q (%d in line, %d in flight)"):format(p.exchange, p.in_line, p.in_flight)
end

local all = setmetatable({}, { __mode = "k" }) -- to count the publishes that a stop would abandon
stop.count(function()
   local count = 0
   for p in each(all) do count = count + p.in_line + p.aside end
   return count
end)

local function abandon(p, why)
   p.is_closing = true
   p.box:close()
   sender.abandon(p, why)
end

farewell.on_give_up(function(why)
   for p in each(all) do abandon(p, why) end
end)

-- True in a forked child, if it was not used in the parent.
local function is_unused(p)
   return not p.connection.released and not p.is_running and p.in_line + p.in_flight + p.aside == 0
end

loop.on_close(function(err)
   for p in each(all) do
      backlog.forget(p)
      if not err or not is_unused(p) then
         p.gone = p.gone or err
         abandon(p, "the program has ended")
      end
   end
end)

-- ---- options ----

local SPEC = { connection = "table", exchange = "string", routing_key = "string", confirm = "boolean",
   confirm_timeout = "number", timeout = "number", mandatory = "boolean", persistent = "boolean", properties = "table",
   serializer = "string", retry = "function", buffer = "table", topology = "table", on_failed = "function" }
local BUFFER = { max_bytes = "number", when_full = "string" }
local POLICIES = { block = true, drop_oldest = true, error = true }
local MAX_BYTES = 16 * 2 ^ 20
local CONFIRM, TIMEOUT, CLOSING = 30, 60, 5 -- seconds

local function check_buffer(buffer)
   buffer = options.check(buffer, BUFFER)
   options.whole("max_bytes", buffer.max_bytes, 1, 2 ^ 53)
   if buffer.when_full and not POLICIES[buffer.when_full] then
      options.blame('option "when_full" must be "block", "drop_oldest" or "error"')
   end
   return buffer
end

local function either(a, b) if a ~= nil then return a end return b end

-- The defaults of every publish.
local function usual_properties(opts)
   local usual = merged({ persistent = either(opts.persistent, true), mandatory = either(opts.mandatory, true) }, opts.properties)
   usual.timeout = opts.confirm_timeout or CONFIRM
   properties.encode(usual)
   return usual
end

--- Makes a publisher with its own channel, opened at the first publish. While the connection is lost, or the broker blocks,
-- publishes wait in a line limited in bytes, and are then sent in order; unconfirmed publishes of a lost connection are
-- sent again before them (so a message may arrive twice).
-- @tparam[opt] table opts connection (the connection to use; default: the program's own), exchange="" (a publish may
-- name another), routing_key (a publish may name another; default: none, then each publish must name one),
-- confirm=true (wait for the broker's confirm), confirm_timeout=30 (seconds from sending to the confirm), timeout=60
-- (seconds for the whole publish, including the wait in the line; 0: no limit), mandatory=true (a message that no queue
-- takes is returned as an error), persistent=true (the broker keeps messages on disk), properties (of every message;
-- default: none), serializer ("json" or "raw"; default: strings unchanged, other values as JSON), retry (a policy of
-- the scope publish; default: retries only after a lost connection), buffer (limits waiting publishes: {max_bytes,
-- when_full = "block", "drop_oldest" or "error"}; default: {max_bytes = 16 * 2^20, when_full = "block"}), topology
-- (of mr.topology: declared when the channel opens, and again when a message is returned, which is then repeated once;
-- default: none), on_failed (function(err, message), called for each publish that fails; default: none)
-- @treturn publisher methods publish, publish_async, flush, stats, close
function publisher.new(opts)
   opts = options.check(opts, SPEC)
   for _, name in ipairs { "confirm_timeout", "timeout" } do options.seconds(name, opts[name]) end
   body_of.check(opts.serializer)
   if opts.connection then home.check('option "connection"', opts.connection) end
   if opts.topology then topology.check(opts.topology) end
   local buffer = check_buffer(opts.buffer)
   local self = setmetatable({
      options = opts, connection = home.connection(opts.connection), exchange = opts.exchange or "",
      routing_key = opts.routing_key, confirms = opts.confirm ~= false, timeout = opts.timeout or TIMEOUT,
      usual = usual_properties(opts, 2), in_line = 0, in_flight = 0, aside = 0, thinking = {}, numbers = 0, failed = 0, nacks = 0,
      waiters = {}, counts = { acked = 0, nacked = 0, returned = 0, lost = 0, timeout = 0, sent = 0, accepted = 0,
         retried = 0, dropped = 0, refused = 0 },
   }, Publisher)
   self.box = outbox.new(buffer.max_bytes or MAX_BYTES, buffer.when_full or "block", function(t)
      self.counts.dropped = self.counts.dropped + 1
      ticket.finish(t, "lost", "the buffer was full: the oldest had to go", "backpressure")
   end)
   all[self] = true
   if opts.topology then
      local names = opts.topology:names()
      awaited.announce(self, names.exchanges, names.queues)
   end
   return generation.keep(self, Publisher.close)
end

-- ---- the end of a publish ----

local function all_done(self)
   local waiters = self.waiters
   self.waiters = {}
   for _, token in ipairs(waiters) do task.wake(token, true) end
end

local PLACES = { line = "in_line", flight = "in_flight", aside = "aside" }

-- Called at the end of each ticket (ticket.finish): the only place that counts outcomes.
local function ended(t, state, reason, cause)
   local one = t.job
   local self = one.publisher
   local place = PLACES[one.place]
   backlog.add(self, place, -1)
   if one.timer then loop.cancel(one.timer) end
   one.timer = nil
   local is_well = state == "acked" or state == "sent"
   if one.plan and one.place == "flight" and not is_well then cascade.forget(self.connection) end
   if is_well then self.nacks = 0 end
   if one.place == "flight" and not is_well and resend.takes_back(self, t, state, reason, cause) then return true end
   one.place, self.thinking[t] = nil, nil
   self.counts[state] = self.counts[state] + 1
   self.box:give(#one.body)
   if not is_well then
      self.failed, self.failure = self.failed + 1, state
      if self.options.on_failed then
         local err = ticket.error(t, t.kind or state, reason, cause)
         local message = { exchange = (one.plan or one).exchange, routing_key = one.routing_key, body = one.body, properties = one.props }
         farewell.tell(self.options.on_failed, err, message)
      end
   end
   if self.in_line + self.in_flight + self.aside == 0 then all_done(self) end
end

-- ---- publishing ----

local function closed(self)
   if self.gone then return nil, self.gone end
   return nil, errors.new("closed", "publish", farewell.is_over() and "the program stopped" or "the publisher was closed")
end

local function start(self, body, props)
   loop.begin()
   if self.is_closing or farewell.is_over() then return closed(self) end
   local one, err = job.new(self, body, props)
   if not one then return nil, err end
   local ok
   ok, err = self.box:take(#one.body, one.deadline)
   if self.is_closing then
      if ok then self.box:give(#one.body) end
      return closed(self)
   end
   if not ok then
      self.counts.refused = self.counts.refused + 1
      return nil, err
   end
   self.numbers = self.numbers + 1
   one.number, one.born = self.numbers, C.mr_now()
   local t = ticket.new(0)
   t.job, t.on_end = one, ended
   backlog.accept(self)
   ok, err = sender.begin(self, t)
   if not ok then
      self.box:give(#one.body)
      return nil, err
   end
   self.counts.accepted = self.counts.accepted + 1
   return t
end

--- Publishes without waiting for the broker; waits only for room in a full buffer (when_full="block").
-- @param body a string is sent unchanged, a table, number or boolean as JSON
-- @tparam[opt] table props AMQP's properties, and exchange, routing_key, mandatory, persistent, timeout (seconds in
-- total), delay (seconds until it goes to its exchange or queue: docs/publishing.md)
-- @treturn[1] ticket state is "waiting", then "acked", "nacked", "returned", "lost" or "timeout" ("sent" without
-- confirms); t:wait()
-- @treturn[2] nil, error of kind backpressure (no room), content_too_large, bad_argument, closed
function Publisher:publish_async(body, props)
   return start(self, body, props)
end

--- Publishes and waits for the outcome in the calling coroutine.
-- @param body as of publish_async
-- @tparam[opt] table props as of publish_async
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error of kind nacked, returned (err.message), lost, timeout, blocked_timeout, or as publish_async
function Publisher:publish(body, props)
   task.check()
   local t, err = start(self, body, props)
   if not t then return nil, err end
   if sender.is_acked_next(self, t) then return true end
   return t:wait()
end

--- Waits until every publish has ended.
-- @tparam[opt] table opts timeout (seconds; default: none, no limit)
-- @treturn[1] true if all publishes since the last call were acked
-- @treturn[2] nil, error of kind timeout (some have not ended), or of the last failed one; err.count: their number
function Publisher:flush(opts)
   opts = options.check(opts, { timeout = "number" })
   options.seconds("timeout", opts.timeout)
   if self.in_line + self.in_flight + self.aside > 0 then
      loop.wait_in(self.waiters, opts.timeout)
   end
   local left = self.in_line + self.in_flight + self.aside
   local count = left > 0 and left or self.failed
   if left == 0 then
      self.failed = 0
      unheard.tell_all(self)
   end
   if count == 0 then return true end
   local err
   if left > 0 then
      err = errors.new("timeout", "publish", ("%d publishes have not ended yet"):format(left),
         "they are still on their way: flush again, or with a longer timeout")
   else
      err = errors.new(self.failure, "publish", ("%d publishes were not acked"):format(count))
   end
   err.count = count
   return nil, err
end

--- Counters since it was made: accepted, acked, nacked, returned, lost, timeout, sent (without confirms), retried,
-- dropped (by drop_oldest; they count as lost), refused (no room). Current values: in_line, in_flight, aside, bytes.
-- @treturn table
function Publisher:stats()
   return merged({ in_line = self.in_line, in_flight = self.in_flight, aside = self.aside, bytes = self.box.bytes },
      self.counts)
end

--- Accepts no more publishes, waits for open ones, and closes its channel. Publishes that have not ended by then are lost.
-- @tparam[opt] table opts timeout=5 (seconds)
-- @treturn[1] true if all ended in time (for their outcomes see flush and stats)
-- @treturn[2] nil, error of kind timeout, with err.count: the number of publishes that were given up
function Publisher:close(opts)
   opts = options.check(opts, { timeout = "number" })
   options.seconds("timeout", opts.timeout)
   task.check()
   if self.gone then return closed(self) end
   if self.is_closing then return true end
   self.is_closing = true
   awaited.done(self)
   self.box:close()
   local _, err = self:flush { timeout = opts.timeout or CLOSING }
   local is_late = self.in_line + self.in_flight + self.aside > 0
   sender.stop(self)
   if is_late then return nil, err end
   return true
end

return publisher

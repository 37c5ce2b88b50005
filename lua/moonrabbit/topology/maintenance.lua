--- maintenance: operations on the queues of a topology: count, purge, delete, wait until they are empty.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local home = require "moonrabbit.connection.default"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local probe = require "moonrabbit.topology.probe"

local maintenance = {}

-- Calls fn(ask) with a probe, and closes the probe.
local function with(conn, fn)
   local ask = probe.new(conn)
   local result, err = fn(ask)
   ask:close()
   return result, err
end

local function known(self, name)
   for _, q in ipairs(self.queues) do
      if q.queue == name then return q end
   end
   options.blame(('there is no queue "%s" in this topology'):format(tostring(name)))
end

-- The numbers of messages and consumers of a queue; none if it does not exist.
local function count(ask, name)
   local reply, err = ask:declare("queue", { queue = name }, { passive = true })
   if reply then return { messages = reply.message_count, consumers = reply.consumer_count } end
   if err.kind == "not_found" then return { messages = 0, consumers = 0, is_missing = true } end
   return nil, err
end

--- The number of ready messages and of consumers of each queue.
-- @tparam connection conn to the broker; opened if it is not open
-- @treturn[1] table by name: {messages, consumers, is_missing}
-- @treturn[2] nil, error
function maintenance:counts(conn)
   home.check('argument 1 ("conn")', conn)
   return with(conn, function(ask)
      local out = {}
      for _, q in ipairs(self.queues) do
         local one, err = count(ask, q.queue)
         if not one then return nil, err end
         out[q.queue] = one
      end
      return out
   end)
end

-- The queue, its delay queue and its dead letter queue, as far as the topology has them.
local function companions(self, name)
   local q = known(self, name)
   local delay = self.delays[name]
   local a = q.arguments or {}
   local dead = a["x-dead-letter-exchange"] == "" and a["x-dead-letter-routing-key"] or nil
   return { name, delay and delay.queue or false, dead or false }
end

--- The numbers of messages in a queue, in its delay queue, and in its dead letter queue; 0 for missing queues.
-- @tparam connection conn to the broker; opened if it is not open
-- @tparam string name of the queue
-- @treturn[1] number ready in the queue
-- @treturn[1] number delayed
-- @treturn[1] number dead
-- @treturn[2] nil, error
function maintenance:message_counts(conn, name)
   home.check('argument 1 ("conn")', conn)
   local of = companions(self, name)
   local counts, err = with(conn, function(ask)
      local out = {}
      for i, queue in ipairs(of) do
         local one, why = { messages = 0 }, nil
         if queue then one, why = count(ask, queue) end
         if not one then return nil, why end
         out[i] = one.messages
      end
      return out
   end)
   if not counts then return nil, err end
   return counts[1], counts[2], counts[3]
end

-- The selected queues: one with its companions, or all that the topology declares.
local function meant(self, name)
   if not name then return self:names().queues end
   local list = {}
   for _, queue in ipairs(companions(self, name)) do
      if queue then list[#list + 1] = queue end
   end
   return list
end

-- Calls a method for each queue, except missing ones. Returns the sum of the results.
local function for_each(conn, queues, method, opts)
   return with(conn, function(ask)
      local sum = 0
      for _, queue in ipairs(queues) do
         local n, err = ask:call(method, merged({ queue = queue }, opts))
         if not n and err.kind ~= "not_found" then return nil, err end
         sum = sum + (n or 0)
      end
      return sum
   end)
end

--- Drops ready messages.
-- @tparam connection conn to the broker; opened if it is not open
-- @tparam[opt] string name of a queue: it, its delay queue and its dead letter queue; default: all queues
-- @treturn[1] number of dropped messages
-- @treturn[2] nil, error
function maintenance:purge(conn, name)
   home.check('argument 1 ("conn")', conn)
   return for_each(conn, meant(self, name), "queue_purge", {})
end

local DELETE = { queue = "string", if_unused = "boolean", if_empty = "boolean" }

--- Deletes one queue with its companions, or all queues and exchanges of the topology.
-- @tparam connection conn to the broker; opened if it is not open
-- @tparam[opt] table opts queue (it, its delay queue and its dead letter queue; default: everything that the topology
-- declares), if_unused=false (true: only queues without consumers), if_empty=false (true: only queues without messages)
-- @treturn[1] number of messages dropped with them
-- @treturn[2] nil, error precondition_failed: in use, or not empty
function maintenance:delete(conn, opts)
   home.check('argument 1 ("conn")', conn)
   opts = options.check(opts, DELETE)
   local sum, err = for_each(conn, meant(self, opts.queue), "queue_delete",
      { if_unused = opts.if_unused, if_empty = opts.if_empty })
   if not sum or opts.queue then return sum, err end
   local ok
   ok, err = with(conn, function(ask)
      local names = self:names().exchanges
      for i = #names, 1, -1 do
         local gone, why = ask:call("exchange_delete", { exchange = names[i], if_unused = opts.if_unused })
         if not gone and why.kind ~= "not_found" then return nil, why end
      end
      return true
   end)
   if not ok then return nil, err end
   return sum
end

local JOIN = { min_successes = "number", idle_time = "number", timeout = "number" }

--- Waits until a queue and its delay queue were empty in `min_successes` consecutive checks. A check does not see messages
-- that a consumer has not acked yet, so more than one is needed.
-- @tparam connection conn to the broker; opened if it is not open
-- @tparam string name of the queue
-- @tparam[opt] table opts min_successes=2 (number of consecutive checks that must find them empty), idle_time=0.1 (seconds
-- between two checks), timeout (seconds in total; default: no limit)
-- @treturn[1] true
-- @treturn[2] nil, error of kind timeout, with err.messages: the number of remaining messages
function maintenance:join(conn, name, opts)
   home.check('argument 1 ("conn")', conn)
   opts = options.check(opts, JOIN)
   known(self, name)
   options.whole("min_successes", opts.min_successes, 1, 2 ^ 53)
   for _, option in ipairs { "idle_time", "timeout" } do options.seconds(option, opts[option]) end
   local deadline = opts.timeout and C.mr_now() + opts.timeout
   local successes = 0
   while true do
      local ready, delayed = self:message_counts(conn, name)
      if not ready then return nil, delayed end
      successes = ready + delayed == 0 and successes + 1 or 0
      if successes >= (opts.min_successes or 2) then return true end
      if deadline and C.mr_now() >= deadline then
         local err = errors.new("timeout", "channel", ('queue "%s" still had %d messages'):format(name, ready + delayed),
            "is anybody consuming it? Some may be unacked, or wait for another try")
         err.messages = ready + delayed
         return nil, err
      end
      loop.sleep(opts.idle_time or 0.1)
   end
end

return maintenance

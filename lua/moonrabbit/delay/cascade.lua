--- cascade: delays of any length at the broker, without a queue for each length; see docs/decisions/0022-delays.md.
-- SPDX-License-Identifier: MIT
-- Each level has a queue in which every message waits for the same time, and an exchange to which it goes then. Headers say
-- which level is next. After the last one a message goes to the queue of its target, which dead-letters it there at once.
-- The routing key is the message's own all the way.
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local levels = require "moonrabbit.delay.levels"
local once = require "moonrabbit.loop.once"
local options = require "moonrabbit.base.options"
local probe = require "moonrabbit.topology.probe"
local queue_type = require "moonrabbit.channel.queue_type"
local short = require "moonrabbit.base.short"
local stamps = require "moonrabbit.channel.stamps"

local cascade = {}

--- The exchange to which delayed messages are published.
cascade.ENTRY = "mr.delay"

local OUT = "mr.delay.to"          -- the exchange after the last level
local NOWHERE = "mr.delay.nowhere" -- a queue that drops everything, and the exchange before it
local FRESH = 60                   -- seconds for which something declared is assumed to exist
local HEADER = "mr-delay"
local TO = "mr-delay-to"

-- ---- what a delay needs: a list of steps, each a list of requests ----

local function exchange(name, kind, arguments)
   return { operation = C.MR_EXCHANGE_DECLARE, name = name, extra = kind, options = { durable = true, arguments = arguments } }
end

local function queue(name, arguments)
   return { operation = C.MR_QUEUE_DECLARE, name = name, options = { durable = true, arguments = arguments } }
end

local function bind(name, from, header, value)
   return { operation = C.MR_QUEUE_BIND, name = name, extra = from,
      options = { arguments = header and { ["x-match"] = "all", [header] = value } or nil } }
end

local function bind_exchange(name, from, arguments)
   return { operation = C.MR_EXCHANGE_BIND, name = name, extra = from, options = { arguments = arguments } }
end

-- An exchange that is deleted with the last one that is bound to it.
local function passing(name, kind, arguments)
   local step = exchange(name, kind, arguments)
   step.options.auto_delete = true
   return step
end

local function of_type(kind, arguments)
   if kind == "quorum" then return queue_type.at_least_once(arguments) end
   arguments["x-queue-type"] = queue_type.default() and "classic" or nil
   return arguments
end

-- What finds no target is dropped: a quorum queue would keep it, and stop for it after a while.
local function steps_of_base(kind)
   return { exchange(NOWHERE, "fanout"), queue(NOWHERE, { ["x-queue-type"] = kind, ["x-max-length"] = 0 }), bind(NOWHERE, NOWHERE),
      exchange(OUT, "headers", { ["alternate-exchange"] = NOWHERE }), exchange(cascade.ENTRY, "headers") }
end

local function steps_of_level(kind, name)
   local full = cascade.ENTRY .. "." .. name
   return { exchange(full, "headers", { ["alternate-exchange"] = OUT }),
      queue(full, of_type(kind, { ["x-message-ttl"] = levels.length(name), ["x-dead-letter-exchange"] = full })) }
end

local function steps_of_link(from, name)
   return { bind(cascade.ENTRY .. "." .. name, from and cascade.ENTRY .. "." .. from or cascade.ENTRY, from and HEADER .. "-" .. from
      or HEADER, name) }
end

-- The queue in front of a target. A quorum queue keeps what its target does not take: so each target has its own, and for
-- an exchange a message without a route counts as taken, as in any publish. It goes to that exchange and to a drain, which drops
-- it. Both ways are deleted with the exchange: what comes then is kept, until a delayed publish finds the exchange again.
local function steps_of_target(kind, plan)
   local list = {}
   if plan.is_direct then return { bind(plan.routing_key, OUT, TO, plan.target) } end
   local hop = short.name(OUT .. (plan.exchange == "" and "-queue." or "-exchange."), plan.exchange == "" and plan.routing_key
      or plan.exchange, "")
   local onward = plan.exchange
   if onward == "" then
      list[1] = { operation = C.MR_QUEUE_DECLARE, name = plan.routing_key, options = { passive = true }, is_exact = true }
   elseif kind == "quorum" then
      onward = hop
      local drain = short.name(hop, "", ".drain")
      list = { passing(drain, "headers", { ["alternate-exchange"] = NOWHERE }),
         bind_exchange(plan.exchange, drain, { ["x-match"] = "all", [HEADER] = "never" }),
         passing(hop, "fanout"), bind_exchange(plan.exchange, hop), bind_exchange(drain, hop) }
   else
      list[1] = { operation = C.MR_EXCHANGE_DECLARE, name = onward, extra = "direct", options = { passive = true }, is_exact = true }
   end
   list[#list + 1] = queue(hop, of_type(kind, { ["x-message-ttl"] = 0, ["x-dead-letter-exchange"] = onward }))
   list[#list + 1] = bind(hop, OUT, TO, plan.target)
   return list
end

-- Calls fn(key, make) for each part of what a plan needs.
local function each_part(plan, fn)
   fn("base", steps_of_base)
   for i, name in ipairs(plan.levels) do
      local from = plan.levels[i - 1]
      fn(name, function(kind) return steps_of_level(kind, name) end)
      fn((from or "") .. ">" .. name, function() return steps_of_link(from, name) end)
   end
   fn(plan.target, function(kind) return steps_of_target(kind, plan) end)
end

-- ---- a connection's part ----

local states = setmetatable({}, { __mode = "k" }) -- connection -> made (key -> when), epoch, doing, is_older

local function state_of(conn)
   local self = states[conn]
   if not self then
      self = { made = {}, doing = {} }
      states[conn] = self
   end
   if self.epoch ~= conn.epoch then self.made, self.epoch, self.delays_itself = {}, conn.epoch, nil end
   return self
end

-- One request, which may be refused.
local function ask(scratch, step, is_passive)
   local ch, err = scratch:open()
   if not ch then return nil, err end
   local ok
   ok, err = asking.ask(ch, step.operation, { unrecorded = true, asking = true, durable = step.options.durable,
      auto_delete = step.options.auto_delete, arguments = step.options.arguments, passive = is_passive or step.options.passive },
      step.name, step.extra)
   return ok and true, err
end

local DECLARES = { [C.MR_QUEUE_DECLARE] = true, [C.MR_EXCHANGE_DECLARE] = true }
local TAKEN = { precondition_failed = true, access_refused = true }

-- Makes one object, or takes it as it is: with other arguments, or declared for a user who may not.
local function make(scratch, step)
   local ok, err = ask(scratch, step)
   if ok or step.is_exact or not TAKEN[err.kind] or queue_type.is_too_old(err) then return ok, err end
   if not DECLARES[step.operation] or ask(scratch, step, true) then return true end
   return nil, err
end

local function kind_of(self)
   return (self.is_older or queue_type.default() == "classic") and "classic" or "quorum"
end

local function is_made(self, key)
   local at = self.made[key]
   return at ~= nil and C.mr_now() - at < FRESH
end

-- Makes all that is missing.
local function make_all(conn, self, plan)
   local scratch, failure = probe.new(conn), nil
   each_part(plan, function(key, steps)
      if is_made(self, key) then return end
      for _, step in ipairs(failure and {} or steps(kind_of(self))) do
         local ok, err = make(scratch, step)
         failure = not ok and err or nil
         if failure then return end
      end
      self.made[key] = not failure and C.mr_now() or nil
   end)
   scratch:close()
   return not failure and true or nil, failure
end

local function prepare(conn, self, plan)
   local ok, err = make_all(conn, self, plan)
   if not ok and not self.is_older and queue_type.is_too_old(err) then
      self.is_older = true
      ok, err = make_all(conn, self, plan)
   end
   return ok, err
end

-- True at a broker that delays by itself what has the headers of a delay: that of redis:// (runtime/broker/store/cascade.h).
local function delays_itself(conn, self)
   if self.delays_itself == nil then
      local properties = conn.server_properties
      if not properties then return false end
      self.delays_itself = properties.capabilities and properties.capabilities["moonrabbit.delay"] or false
   end
   return self.delays_itself
end

--- True if all that a plan needs is at the broker, as far as is known.
function cascade.is_ready(conn, plan)
   local self, is_ready = state_of(conn), true
   if delays_itself(conn, self) then return true end
   each_part(plan, function(key) is_ready = is_ready and is_made(self, key) end)
   return is_ready
end

--- Declares what a plan needs, in the calling task.
-- @tparam connection conn
-- @tparam table plan
-- @treturn[1] true
-- @treturn[2] nil, error; of kind not_found: there is no such queue or exchange
function cascade.prepare(conn, plan)
   local self = state_of(conn)
   if delays_itself(conn, self) then return true end
   local ok, err = once(self.doing, table.concat(plan.levels, "+") .. plan.target, prepare, conn, self, plan)
   return ok, err
end

--- What was declared may be gone.
function cascade.forget(conn) states[conn] = nil end

-- ---- plans ----

local function too_long(seconds)
   local err = errors.new("bad_argument", "publish", ("a delay of %g s is longer than the %d days that are possible"):format(seconds,
      math.floor(levels.LONGEST / 86400)))
   err.delay, err.max_delay = seconds, levels.LONGEST
   return err
end

--- How a message gets to its target after some seconds.
-- @tparam string to exchange
-- @tparam string key routing key
-- @tparam number seconds
-- @tparam[opt] boolean is_direct the target is a queue of the library, which always takes messages
-- @treturn[1] table plan, for the other functions; false: there is nothing to wait for
-- @treturn[2] nil, error of kind bad_argument
function cascade.plan(to, key, seconds, is_direct)
   options.seconds("delay", seconds)
   if seconds > levels.LONGEST then return nil, too_long(seconds) end
   local list = levels.of(seconds)
   if not list[1] then return false end
   return { exchange = to, routing_key = key, levels = list, is_direct = is_direct,
      target = is_direct and "exit " .. key or to == "" and "queue " .. key or "exchange " .. to }
end

--- The headers of a delayed message.
-- @tparam table plan
-- @tparam ?table given those of the message; what an earlier delay has left in them is left out
-- @treturn table
function cascade.headers(plan, given)
   local headers = {}
   for name, v in each(given or {}) do
      if not (type(name) == "string" and name:find("^mr%-delay")) and not stamps.of_brokers[name] then headers[name] = v end
   end
   headers[TO] = plan.target
   local at = HEADER
   for _, name in ipairs(plan.levels) do
      headers[at] = name
      at = HEADER .. "-" .. name
   end
   return headers
end

return cascade

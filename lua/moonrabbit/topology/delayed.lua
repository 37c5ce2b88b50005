--- delayed: a queue for delayed messages, with its dead letter queue, as data for mr.topology.
-- SPDX-License-Identifier: MIT
-- `q` (dead letters go to `q.XQ`), `q.DQ` (expired messages go to `q`), `q.XQ` (messages are kept for a week).
local errors = require "moonrabbit.base.errors"
local options = require "moonrabbit.base.options"
local queue_type = require "moonrabbit.channel.queue_type"

local delayed = {}

local WEEK = 7 * 24 * 3600
local SPEC = { dead_ttl = "number", max_delay = "number", max_priority = "number", queue_type = "string" }

--- The data of a queue with delays: pass it to mr.topology, unchanged or changed.
-- @tparam string name of the queue
-- @tparam[opt] table opts dead_ttl=604800 (seconds that dead letters are kept; 0: no limit), max_delay (seconds;
-- a publish with a longer delay fails, and the broker shortens longer delays; default: none), max_priority (of
-- the queue and its delay queue, x-max-priority; default: none), queue_type ("classic" or "quorum", of all three; default: of
-- mr.defaults)
-- @treturn table queues and delays
function delayed.delayed(name, opts)
   options.argument(1, "name", name, "string")
   opts = options.check(opts, SPEC)
   for _, option in ipairs { "dead_ttl", "max_delay" } do options.seconds(option, opts[option]) end
   local kind = opts.queue_type and queue_type.check("queue_type", opts.queue_type) or queue_type.default()
   if kind == "stream" then options.blame(('queue "%s": messages are not delayed in a stream'):format(name)) end
   local is_quorum = kind == "quorum" -- then no message is lost with a node between its delay and its queue
   local dead_ttl = opts.dead_ttl or WEEK
   local wait, dead = name .. ".DQ", name .. ".XQ"
   return {
      queues = {
         { queue = name, queue_type = kind, dead_letter_exchange = "", dead_letter_routing_key = dead, max_priority = opts.max_priority },
         { queue = wait, queue_type = kind, dead_letter_exchange = "", dead_letter_routing_key = name,
            max_priority = opts.max_priority, message_ttl = opts.max_delay, overflow = is_quorum and "reject-publish" or nil,
            arguments = is_quorum and { ["x-dead-letter-strategy"] = "at-least-once" } or nil },
         { queue = dead, queue_type = kind, message_ttl = dead_ttl > 0 and dead_ttl or nil },
      },
      delays = { [name] = { queue = wait, max = opts.max_delay } },
   }
end

--- The destination of a delayed message, on the default exchange.
-- @tparam string name of the queue
-- @tparam number seconds from its publish until it is in the queue
-- @treturn[1] table queue (the routing key) and expiration (the property)
-- @treturn[2] nil, error of kind bad_argument: there is no delay queue, or the delay is too long (then with err.delay,
-- err.max_delay and err.queue)
function delayed:delay(name, seconds)
   options.argument(1, "name", name, "string")
   options.seconds("seconds", seconds)
   local d = self.delays[name]
   if not d then return nil, errors.new("bad_argument", "publish", ('queue "%s" has no delays'):format(name)) end
   if d.max and seconds > d.max then
      local err = errors.new("bad_argument", "publish", ('a delay of %g s is longer than the %g s that "%s" allows'):format(seconds,
         d.max, d.queue))
      err.delay, err.max_delay, err.queue = seconds, d.max, d.queue
      return nil, err
   end
   return { queue = d.queue, expiration = ("%d"):format(math.floor(seconds * 1000 + 0.5)) }
end

return delayed

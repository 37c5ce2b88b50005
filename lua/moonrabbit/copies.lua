--- copies: a message that is to come again later, or never: published once more, then acked.
-- SPDX-License-Identifier: MIT
-- Later: into a queue that keeps messages for so many milliseconds and dead-letters them back to where they came
-- from; each delay is a queue of its own, which goes when it is not used. Never: into a queue of dead letters.
-- The copy is confirmed before the original is acked: at least once, and at most one more if anything dies
-- in between. Copies go over a connection of their own: a broker that blocks publishers must not hold up acks.
local C = require("moonrabbit.ffi").C
local each = require "moonrabbit.each"
local errors = require "moonrabbit.errors"
local limit = require "moonrabbit.limit"
local loop = require "moonrabbit.loop"
local task = require "moonrabbit.task"
local value = require "moonrabbit.value"

local copies = {}

local PATIENCE = 10               -- seconds for the broker to take a copy
local IDLE = 60                   -- seconds a delay queue lives beyond its delay when nothing more is put in
local FRESH = 30                  -- seconds for which a declared queue is taken to be there
local EXACT = 32                  -- delays per queue that are kept to the millisecond; see round
local LONGEST = 4e9 / 1000 - IDLE -- seconds; RabbitMQ takes x-expires up to 2^32-1 ms
local ERROR_SIZE, TRACE_SIZE = 500, 2000 -- bytes; all properties must fit a frame, which may be as small as 4096

-- What the broker or the first publisher meant for the first journey only.
local LEFT_OUT = { CC = true, BCC = true, ["x-death"] = true, ["x-delivery-count"] = true, ["x-acquired-count"] = true }
for _, which in ipairs { "first", "last" } do
   for _, what in ipairs { "exchange", "queue", "reason" } do LEFT_OUT[("x-%s-death-%s"):format(which, what)] = true end
end
-- Said anew by each copy; with x-mr-reason, a message would begin anew for ever.
for _, what in ipairs { "reason", "traceback", "first-failure" } do LEFT_OUT["x-mr-" .. what] = true end

--- Milliseconds since 1970, by a clock that tests can move.
local began_at, began = os.time(), C.mr_now()
function copies.now() return math.floor((began_at + C.mr_now() - began) * 1000) end

-- ---- where copies go out ----

-- The connection beside one, for copies.
local function side_of(conn)
   local side = conn.side
   if side and not side.connection.released then return side end
   local name = (conn.options.name or "moonrabbit") .. " copies"
   side = { connection = conn:clone { on_event = nil, name = name }, channels = {}, opening = {}, declared = {}, delays = {} }
   conn.side = side
   return side
end

local function open(side, name)
   local ch, err = side.connection:channel()
   local ok = ch
   if ch and name == "publish" then ok, err = ch:confirm_select() end
   if not ok then return nil, err end
   return ch
end

-- One channel for publishing and one for declaring, whose errors must not cost confirms.
local function channel(side, name)
   while side.opening[name] do
      local token = task.token()
      table.insert(side.opening[name], token)
      task.wait(token)
   end
   local ch = side.channels[name]
   if ch and ch.handle then return ch end
   side.opening[name] = {}
   local err
   ch, err = limit.apart(open, side, name)
   side.channels[name] = ch
   local waiting = side.opening[name]
   side.opening[name] = nil
   for _, token in ipairs(waiting) do task.wake(token, true) end
   return ch, err
end

-- Declares the queue of a copy, unless it was lately.
local function declare(side, queue)
   local at = side.declared[queue.queue]
   if at and C.mr_now() - at < FRESH then return true end
   local ch, err = channel(side, "declare")
   local ok
   if ch then ok, err = ch:queue_declare(queue) end
   if not ok then return nil, err end
   side.declared[queue.queue] = C.mr_now()
   return true
end

local function publish(side, queue, body, props)
   local ch, err = channel(side, "publish")
   if not ch then return nil, err end
   return ch:publish("", queue.queue, body, props)
end

-- Into a queue, which is declared once more when it is not there any more.
local function put(conn, queue, body, props)
   local side = side_of(conn)
   local ok, err = declare(side, queue)
   if ok then ok, err = publish(side, queue, body, props) end
   if ok or err.kind ~= "returned" then return ok, err end
   side.declared[queue.queue] = nil
   ok, err = declare(side, queue)
   if ok then ok, err = publish(side, queue, body, props) end
   return ok, err
end

-- ---- what a copy is ----

local function cut(text, size) return #text > size and text:sub(1, size - 4) .. " ..." or text end

-- The properties of a copy: those of the message, and what has become of it so far.
local function properties_of(msg, info)
   local props, headers = {}, {}
   for name, v in each(msg.properties) do props[name] = v end
   for name, v in each(msg.headers) do
      if not LEFT_OUT[name] then headers[name] = v end
   end
   -- An expiration was for the first queue; a user_id must be that of the connection that publishes.
   props.expiration, props.user_id = nil, nil
   headers["x-mr-user-id"] = headers["x-mr-user-id"] or msg.properties.user_id
   headers["x-mr-attempt"] = value.int(info.attempt)
   headers["x-mr-first-failure"] = info.attempt > 1 and msg.headers["x-mr-first-failure"] or value.int(copies.now())
   headers["x-mr-queue"] = info.queue
   headers["x-mr-exchange"], headers["x-mr-routing-key"] = msg.exchange, msg.routing_key
   headers["x-mr-error"] = info.error and cut(info.error, ERROR_SIZE)
   props.headers, props.mandatory, props.timeout = headers, true, PATIENCE
   return props
end

-- Queues for every delay there can be would be many, when chance has its part in them: beyond the first few,
-- delays are rounded up to two significant digits.
local function round(conn, queue, ms)
   local side = side_of(conn)
   local known = side.delays[queue]
   if not known then
      known = { count = 0 }
      side.delays[queue] = known
   end
   if known[ms] then return ms end
   if known.count < EXACT then
      known[ms], known.count = true, known.count + 1
      return ms
   end
   local unit = 10 ^ math.max(math.floor(math.log10(math.max(ms, 1))) - 1, 0)
   return math.ceil(ms / unit) * unit
end

--- The queue that keeps messages for so many milliseconds and gives them back to `queue`; see
-- docs/retry.md.
function copies.delay_queue(queue, ms)
   -- "amq." is the broker's own.
   return { queue = ("%s.retry.%d"):format(queue:gsub("^amq%.", "mr."), ms), durable = true, arguments = {
      ["x-message-ttl"] = ms, ["x-expires"] = ms + IDLE * 1000, ["x-dead-letter-exchange"] = "",
      ["x-dead-letter-routing-key"] = queue } }
end

--- Puts a copy where it waits so many seconds and then comes back to its queue.
-- @tparam message msg
-- @tparam number seconds
-- @tparam table info queue, attempt (how often it has failed, this one too), error
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error
function copies.delay(msg, seconds, info)
   local conn = msg.channel.connection
   local ms = round(conn, info.queue, math.ceil(math.min(seconds, LONGEST) * 1000 - 1e-6))
   local ok, err = put(conn, copies.delay_queue(info.queue, ms), msg.body, properties_of(msg, info))
   return ok, err
end

--- Puts a copy into a queue of dead letters.
-- @tparam message msg
-- @tparam string dead the queue; durable, declared when it is not there
-- @tparam table info queue, attempt, error, reason, trace
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error
function copies.bury(msg, dead, info)
   local props = properties_of(msg, info)
   props.headers["x-mr-reason"] = cut(info.reason, ERROR_SIZE)
   props.headers["x-mr-traceback"] = info.trace and cut(info.trace, TRACE_SIZE)
   return put(msg.channel.connection, { queue = dead, durable = true }, msg.body, props)
end

--- Why a message cannot be copied: an error.
function copies.homeless()
   return errors.new("bad_argument", "message", "the message came from no queue that is known: it was returned")
end

loop.on_close(function() began_at, began = os.time(), C.mr_now() end)

return copies

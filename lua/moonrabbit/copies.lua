--- copies: a message that is to come again later, or never: published once more, then acked.
-- SPDX-License-Identifier: MIT
-- Later: into a queue that keeps messages for so many milliseconds and dead-letters them back to where they came
-- from; each delay is a queue of its own, which goes when it is not used. Never: into a queue of dead letters.
-- The copy is confirmed before the original is acked: at least once, and at most one more if anything dies
-- in between.
local ffi = require "ffi"
local C = require("moonrabbit.ffi").C
local each = require "moonrabbit.each"
local errors = require "moonrabbit.errors"
local message = require "moonrabbit.message"
local side = require "moonrabbit.side"
local value = require "moonrabbit.value"

local copies = {}

local PATIENCE = 10               -- seconds for the broker to take a copy
local IDLE = 60                   -- seconds a delay queue lives beyond its delay when nothing more is put in
local EXACT = 32                  -- delays per queue that are kept to the millisecond; see round
local LONGEST = 4e9 / 1000 - IDLE -- seconds; RabbitMQ takes x-expires up to 2^32-1 ms
local NAME_SIZE = 255             -- bytes, of a queue's name
local REALTIME, MONOTONIC = 0, 1  -- of clock_gettime
local ERROR_SIZE, TRACE_SIZE = 500, 2000 -- bytes; all properties must fit a frame, which may be as small as 4096

-- What the broker or the first publisher meant for the first journey only.
local LEFT_OUT = { CC = true, BCC = true, ["x-death"] = true, ["x-delivery-count"] = true, ["x-acquired-count"] = true }
for _, which in ipairs { "first", "last" } do
   for _, what in ipairs { "exchange", "queue", "reason" } do LEFT_OUT[("x-%s-death-%s"):format(which, what)] = true end
end
-- Said anew by each copy; with x-mr-reason, a message would begin anew for ever.
for _, what in ipairs { "reason", "traceback", "first-failure" } do LEFT_OUT["x-mr-" .. what] = true end

ffi.cdef [[
typedef struct { long seconds, nanoseconds; } mr_wall_time;
int clock_gettime(int clock, mr_wall_time *time);
]]
local wall = ffi.new "mr_wall_time"

local function read_clock(number)
   ffi.C.clock_gettime(number, wall)
   return tonumber(wall.seconds) + tonumber(wall.nanoseconds) / 1e9
end

--- Milliseconds since 1970, moved as far as tests have moved the clock.
function copies.now()
   return math.floor((read_clock(REALTIME) + C.mr_now() - read_clock(MONOTONIC)) * 1000)
end

-- When the message's own headers leave no room for all of ours, with the least of them.
local function put(msg, queue, props, is_there)
   local ok, err = side.put(msg, queue, props, is_there)
   if ok or err.kind ~= "content_too_large" then return ok, err end
   props.headers["x-mr-error"], props.headers["x-mr-traceback"] = nil, nil
   return side.put(msg, queue, props, is_there)
end

-- ---- what a copy is ----

-- The first bytes of a text, without a part of a character at their end.
local function head(text, size)
   return (text:sub(1, size):gsub("[\192-\255][\128-\191]*$", function(last)
      local lead = last:byte()
      return #last < (lead >= 240 and 4 or lead >= 224 and 3 or 2) and "" or nil
   end))
end

local function cut(text, size) return #text > size and head(text, size - 4) .. " ..." or text end

-- Is it what was received, before the program may have changed it? (Of tables it is not looked what they hold.)
local function is_same(v, received)
   local kept = value.type_of(received)
   if kept == "A" or not kept and type(received) == "table" and received ~= value.null then
      return type(v) == "table" and not value.type_of(v)
   end
   return v == received or kept ~= nil and v == received.value
end

-- The headers as they are to be sent on: with the types that they came with.
local function headers_of(msg)
   local headers, received = {}, message.exact_headers(msg)
   for name, v in each(msg.headers) do
      local own = received[name]
      if not LEFT_OUT[name] then headers[name] = own ~= nil and is_same(v, own) and own or v end
   end
   return headers
end

-- The properties of a copy: those of the message, and what has become of it so far.
local function properties_of(msg, info)
   local props, headers = {}, headers_of(msg)
   for name, v in each(msg.properties) do props[name] = v end
   -- An expiration was for the first queue; a user_id must be that of the connection that publishes.
   props.expiration, props.user_id = nil, nil
   headers["x-mr-user-id"] = headers["x-mr-user-id"] or msg.properties.user_id
   headers["x-mr-attempt"] = value.int(info.attempt)
   local first = info.attempt > 1 and msg.headers["x-mr-first-failure"]
   headers["x-mr-first-failure"] = tonumber(first) and first or value.int(copies.now())
   headers["x-mr-queue"] = info.queue
   headers["x-mr-exchange"], headers["x-mr-routing-key"] = msg.exchange, msg.routing_key
   headers["x-mr-error"] = info.error and cut(info.error, ERROR_SIZE)
   props.headers, props.mandatory, props.timeout = headers, true, PATIENCE
   return props
end

-- Queues for every delay there can be would be many, when chance has its part in them: beyond the first few,
-- delays are rounded up to two significant digits.
local function round(conn, queue, ms)
   local delays = side.of(conn).delays
   local known = delays[queue]
   if not known then
      known = { count = 0 }
      delays[queue] = known
   end
   if known[ms] then return ms end
   if known.count < EXACT then
      known[ms], known.count = true, known.count + 1
      return ms
   end
   local unit = 10 ^ math.max(math.floor(math.log10(math.max(ms, 1))) - 1, 0)
   return math.ceil(ms / unit) * unit
end

-- A number that tells long names apart that begin alike.
local function sum_of(text)
   local sum = 5381
   for i = 1, #text do sum = (sum * 33 + text:byte(i)) % 2 ^ 32 end
   return sum
end

-- "amq." is the broker's own, and names have at most 255 bytes.
local function name_of(queue, ms)
   local suffix = (".retry.%d"):format(ms)
   local name = queue:gsub("^amq%.", "mr.")
   if #name + #suffix > NAME_SIZE then
      suffix = ("~%08x%s"):format(sum_of(name), suffix)
      name = head(name, NAME_SIZE - #suffix)
   end
   return name .. suffix
end

--- The queue that keeps messages for so many milliseconds and gives them back to `queue`; see
-- docs/retry.md.
function copies.delay_queue(queue, ms)
   return { queue = name_of(queue, ms), arguments = {
      ["x-message-ttl"] = ms, ["x-expires"] = ms + IDLE * 1000, ["x-dead-letter-exchange"] = "",
      ["x-dead-letter-routing-key"] = queue } }
end

--- Puts a copy where it waits so many seconds and then comes back to its queue.
-- @tparam message msg
-- @tparam number seconds
-- @tparam table info queue, attempt (how often it has failed, this one too), error
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error; of kind stale: the message was settled or lost, and there is no copy
function copies.delay(msg, seconds, info)
   local conn = msg.channel.connection
   local ms = round(conn, info.queue, math.ceil(math.min(seconds, LONGEST) * 1000 - 1e-6))
   local ok, err = put(msg, copies.delay_queue(info.queue, ms), properties_of(msg, info))
   return ok, err
end

--- Puts a copy into a queue of dead letters.
-- @tparam message msg
-- @tparam string dead the queue; durable, declared when it is not there
-- @tparam table info queue, attempt, error, reason, trace
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error as of delay
function copies.bury(msg, dead, info)
   local props = properties_of(msg, info)
   props.headers["x-mr-reason"] = cut(info.reason, ERROR_SIZE)
   props.headers["x-mr-traceback"] = info.trace and cut(info.trace, TRACE_SIZE)
   local ok, err = put(msg, { queue = dead }, props, true)
   return ok, err
end

--- Why a message cannot be copied: an error.
function copies.homeless()
   return errors.new("bad_argument", "message", "the message came from no queue that is known: it was returned")
end

return copies

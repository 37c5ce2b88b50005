--- copy: publishes a copy of a message to a delay queue or a dead letter queue, then acks the original.
-- SPDX-License-Identifier: MIT
-- A delay queue keeps messages for a number of milliseconds and dead-letters them to the exit; each delay has its own queue,
-- which is deleted when it is not used.
-- Nothing of the message is decoded for the copy: the bytes of its properties are published again, with our headers added.
-- The copy is confirmed before the original is acked: at least one of them exists, and both if the broker or the process dies
-- in between.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local cascade = require "moonrabbit.delay.cascade"
local dead_letters = require "moonrabbit.redelivery.dead_letters"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local ledger = require "moonrabbit.channel.ledger"
local loop = require "moonrabbit.loop.loop"
local levels = require "moonrabbit.delay.levels"
local merged = require "moonrabbit.base.merged"
local message = require "moonrabbit.channel.message"
local observer = require "moonrabbit.channel.observer"
local properties = require "moonrabbit.base.properties"
local put_off = require "moonrabbit.redelivery.put_off"
local queue_type = require "moonrabbit.channel.queue_type"
local recorder = require "moonrabbit.loop.recorder"
local short = require "moonrabbit.base.short"
local side = require "moonrabbit.redelivery.sender"
local stamps = require "moonrabbit.channel.stamps"
local value = require "moonrabbit.base.value"

local copies = {}

--- The header that identifies a copy while it waits.
copies.ID = "x-mr-copy"

local IDLE = 60                   -- seconds that an unused delay queue exists after its delay
local IDLE_QUORUM = 3600          -- the same; while a node is down, its messages wait for the exit
local OWN = 32                    -- delays of a queue that have a queue of their own
local LONGEST = 4e9 / 1000 - IDLE_QUORUM -- seconds; RabbitMQ's maximum of x-expires is 2^32-1 ms
local WRAPPED = "x-mr-properties" -- the header with a message's properties during the delay
local REALTIME, MONOTONIC = 0, 1  -- of clock_gettime
local ERROR_SIZE, TRACE_SIZE = 500, 2000 -- bytes; all properties must fit a frame, which may be as small as 4096

ffi.cdef [[
typedef struct { long seconds, nanoseconds; } mr_wall_time;
int mr_clock_gettime(int clock, mr_wall_time *time) __asm__("clock_gettime");
]]
local wall = ffi.new "mr_wall_time"

local function read_clock(number)
   ffi.C.mr_clock_gettime(number, wall)
   return tonumber(wall.seconds) + tonumber(wall.nanoseconds) / 1e9
end

--- Milliseconds since 1970, including the time by which tests have advanced the clock.
function copies.now()
   return math.floor((read_clock(REALTIME) + C.mr_now() - read_clock(MONOTONIC)) * 1000)
end

-- ---- for the metrics ----

local function meter_of(queue) return C.mr_meter_of(loop.runtime(), queue, #queue) end

-- For the flight recorder.
local function note(kind, msg, info)
   local ch = msg.channel
   recorder.note(kind, { connection = ch.connection.number, channel = ch.number, consumer = message.consumer_number(msg),
      tag = msg.delivery_tag }, ("%s, attempt %d%s"):format(info.queue, info.attempt, info.error and ": " .. info.error or ""))
end

--- Counts a message that is tried again later.
-- @tparam message msg
-- @tparam table info queue, attempt, error
function copies.count_retry(msg, info)
   C.mr_meter_retried(meter_of(info.queue))
   note("retry", msg, info)
end

-- ---- the content of a copy ----

local function cut(text, size) return #text > size and short.head(text, size - 4) .. " ..." or text end

-- True if the value is the received one, not changed by the program. (The contents of tables are not compared.)
local function is_same(v, received)
   local kept = value.type_of(received)
   if kept == "A" or not kept and type(received) == "table" and received ~= value.null then
      return type(v) == "table" and not value.type_of(v)
   end
   return v == received or kept ~= nil and v == received.value
end

-- The program's changes to a received message: changes, without, headers_without of properties.splice.
local function changes_of(msg)
   local changes, without, names = { headers = {} }, {}, {}
   local read = message.read(msg)
   if not read then return changes, without, names end
   local exact = message.exact(msg)
   for name, v in each(read) do
      if name ~= "headers" and v ~= exact[name] then changes[name] = v end
   end
   for name in each(exact) do
      if name ~= "headers" and read[name] == nil and properties.is_string(name) then without[name] = true end
   end
   local now, before = read.headers or {}, exact.headers or {}
   for name, v in each(now) do
      if before[name] == nil or not is_same(v, before[name]) then changes.headers[name] = v end
   end
   for name in each(before) do
      if now[name] == nil then names[name] = true end
   end
   return changes, without, names
end

-- The received properties and headers that a copy leaves out.
local function leave_out(without, names)
   -- An expiration was for the first queue; a user_id must be that of the publishing connection.
   without.expiration, without.user_id = true, true
   for name in each(stamps.all) do names[name] = true end
end

local function ours(msg, info)
   local received = msg.headers
   local first = info.attempt > 1 and received["x-mr-first-failure"]
   return {
      ["x-mr-user-id"] = received["x-mr-user-id"] or msg.properties.user_id,
      ["x-mr-attempt"] = value.int(info.attempt),
      ["x-mr-first-failure"] = tonumber(first) and first or value.int(info.first_failure or copies.now()),
      ["x-mr-queue"] = info.queue,
      ["x-mr-exchange"] = msg.exchange, ["x-mr-routing-key"] = msg.routing_key,
      ["x-mr-error"] = info.error and cut(info.error, ERROR_SIZE),
      ["x-mr-reason"] = info.reason and cut(info.reason, ERROR_SIZE),
      ["x-mr-traceback"] = info.trace and cut(info.trace, TRACE_SIZE),
   }
end

-- Our headers for a copy; with less room, fewer of them.
local ROOMS = {
   function(all) return all end,
   function(all)
      all["x-mr-error"], all["x-mr-traceback"] = nil, nil
      return all
   end,
   function(all)
      return { ["x-mr-attempt"] = all["x-mr-attempt"], ["x-mr-queue"] = all["x-mr-queue"], ["x-mr-reason"] = all["x-mr-reason"] }
   end,
   function() return {} end,
}

-- The encoded properties of a copy: those of the message, without the omitted ones, and with our headers.
local function encode(msg, headers)
   local changes, without, names = changes_of(msg)
   leave_out(without, names)
   for name in each(names) do changes.headers[name] = nil end
   for name, v in each(headers) do changes.headers[name] = v end
   return properties.splice(message.raw(msg), changes, without, names)
end

local program, copied = ("%.0f-%s"):format(copies.now(), tostring({}):match "0x(%x+)" or ""), 0

-- A broker changes the headers of messages that it dead-letters: it sorts them, turns 'L' into 'l', adds its own. So during
-- a delay the properties are stored as bytes in one header; our own headers stay visible for people who inspect the queue.
-- The message has its time as well as the queue: RabbitMQ 3.10 sets the arguments of a new quorum queue a moment after others
-- may publish to it, and a message of that moment would stay, in front of all others.
local function wrap(msg, bytes, headers, ms)
   local own = msg.properties
   copied = copied + 1
   headers[WRAPPED], headers[copies.ID] = value.bytes(bytes), ("%s-%d"):format(program, copied)
   return properties.splice("\0\0", { delivery_mode = own.delivery_mode, priority = own.priority, message_id = own.message_id,
      expiration = ms and ("%d"):format(ms), headers = headers }, {}, {})
end

-- As many of our headers as fit into a frame; if none fit, the properties are not wrapped.
local function each_form(msg, info, send)
   local ok, bytes, err
   for _, choose in ipairs(ROOMS) do
      local headers = choose(ours(msg, info))
      if next(headers) == nil and not info.reason then -- not even the count is needed, because it is kept here
         ledger.note(ledger.key(msg, info.queue), info.attempt)
      end
      bytes, err = encode(msg, headers)
      if bytes and info.exit then bytes, err = wrap(msg, bytes, info.plan and cascade.headers(info.plan, headers) or headers, info.ms) end
      if bytes then ok, err = send(bytes) end
      if ok or not bytes or err.kind ~= "content_too_large" then return ok, err end
   end
   if not info.exit or info.plan then return nil, err end
   bytes, err = encode(msg, {})
   if not bytes then return nil, err end
   return send(bytes)
end

-- Marks an error as final if a later attempt cannot succeed.
local function put(msg, queue, info, is_there)
   local was_sent = false
   local ok, err = each_form(msg, info, function(bytes)
      was_sent = true
      return side.put(msg, queue, bytes, is_there)
   end)
   if ok then return true end
   if not was_sent or err.kind == "content_too_large" then err.is_final = true end
   return nil, err
end

-- The first few lengths of a queue's delays have a queue each.
local function has_own_queue(conn, queue, ms)
   local delays = side.of(conn).delays
   local known = delays[queue]
   if not known then
      known = { count = 0 }
      delays[queue] = known
   end
   if not known[ms] and known.count < OWN and ms <= LONGEST * 1000 then known[ms], known.count = true, known.count + 1 end
   return known[ms] or false
end

-- Names with "amq." are reserved for the broker.
local function name_of(queue, what) return short.name("", (queue:gsub("^amq%.", "mr.")), ".retry" .. what) end

--- The name of the exit, from which messages are published to their queue with a confirm; see returns. (Not QUEUE.retry: many
-- programs have a queue of that name, for retries made by hand.)
function copies.exit_queue(queue) return name_of(queue, "-exit") end

--- The delay queue for this many milliseconds, which dead-letters to the exit; see docs/retry.md.
-- @tparam string queue
-- @tparam number ms
-- @tparam[opt] watch exit which must exist
function copies.delay_queue(queue, ms, exit)
   local arguments = { ["x-message-ttl"] = ms, ["x-expires"] = ms + IDLE * 1000, ["x-dead-letter-exchange"] = "",
      ["x-dead-letter-routing-key"] = copies.exit_queue(queue) }
   local delay_queue = { queue = name_of(queue, (".%d"):format(ms)), other = name_of(queue, (".other.%d"):format(ms)), exit = exit,
      arguments = arguments }
   local companions = exit and exit.options.arguments
   if queue_type.of(companions) == "quorum" then
      delay_queue.older = arguments -- for a broker whose quorum queues have no time to live
      delay_queue.arguments = queue_type.at_least_once(merged(arguments, { ["x-expires"] = ms + IDLE_QUORUM * 1000 }))
   end
   return delay_queue
end

local function delay(msg, seconds, info)
   local ms = math.ceil(math.min(seconds, levels.LONGEST) * 1000 - 1e-6)
   local exit = info.exit
   if not has_own_queue(msg.channel.connection, info.queue, ms) then
      ms = levels.round(ms / 1000) -- where they have a queue each after all, there are fewer of them
      info.plan = not exit.options.auto_delete and cascade.plan("", exit.exit, ms / 1000, true) or nil
   end
   info.ms = nil
   if info.plan then
      local ok, err = put(msg, { queue = exit.exit, plan = info.plan, exit = exit }, info)
      info.plan = nil
      if ok or err.kind ~= "content_too_large" then return ok, err end
   end
   info.ms = math.min(ms, LONGEST * 1000)
   local ok, err = put(msg, copies.delay_queue(info.queue, info.ms, exit), info)
   return ok, err
end

--- Publishes a copy that waits for some seconds and then returns to its queue.
-- @tparam message msg
-- @tparam number seconds
-- @tparam table info queue, attempt (number of failures, including this one), error, exit (the watch of the exit)
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error; of kind stale: the message was settled or lost, and there is no copy; with is_final: it can
-- never be copied
function copies.delay(msg, seconds, info)
   local ok, err = delay(msg, seconds, info)
   if ok then
      copies.count_retry(msg, info)
      put_off.note(info.queue, seconds, C.mr_now())
      if observer.copied then observer.copied(msg, "retry", { delay = seconds, error = info.error }) end
   end
   return ok, err
end

local function note_dead(msg, info)
   C.mr_meter_buried(meter_of(info.queue))
   dead_letters.note { queue = info.queue, error = info.error, reason = info.reason, time = copies.now() / 1000,
      attempt = info.attempt, message_id = (message.ids(msg)), routing_key = msg.routing_key }
end

--- Publishes a copy to a dead letter queue.
-- @tparam message msg
-- @tparam string dead the queue; durable, declared if it does not exist
-- @tparam table info queue, attempt, error, reason, trace, arguments (of its declaration)
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error as of delay
function copies.bury(msg, dead, info)
   local ok, err = put(msg, { queue = dead, arguments = info.arguments }, info, true)
   if ok then
      note_dead(msg, info)
      note("dead letter", msg, info)
      if observer.copied then observer.copied(msg, "dead_letter", { queue = dead, error = info.error, reason = info.reason }) end
   end
   return ok, err
end

--- Publishes a copy to the end of the message's queue.
-- @tparam message msg
-- @tparam table info queue, attempt
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error as of delay
function copies.again(msg, info)
   local ok, err = put(msg, { queue = info.queue }, info, "known")
   if ok then
      copies.count_retry(msg, info)
      if observer.copied then observer.copied(msg, "retry", {}) end
   end
   return ok, err
end

--- Publishes a message of the exit to its queue, unchanged except for headers that the broker has added.
-- @tparam message msg of the exit
-- @tparam string queue
-- @treturn[1] true the queue has it
-- @treturn[2] nil, error as of delay
function copies.give_back(msg, queue)
   local bytes, err = msg.headers[WRAPPED], nil
   if type(bytes) ~= "string" then
      bytes, err = properties.splice(message.raw(msg), { headers = {} }, {}, stamps.of_brokers)
   end
   if not bytes then return nil, err end
   local ok
   ok, err = side.put(msg, { queue = queue }, bytes, "known")
   return ok, err
end

--- The error for a message that cannot be copied.
function copies.homeless()
   return errors.new("bad_argument", "message", "the message came from no queue that is known: it was returned")
end

return copies

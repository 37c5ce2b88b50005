--- copy: a message that is to come again later, or never: published once more, then acked.
-- SPDX-License-Identifier: MIT
-- Later: into a queue that keeps messages for so many milliseconds and dead-letters them to where they are taken back
-- from; each delay is a queue of its own, which goes when it is not used. Never: into a queue of dead letters.
-- Nothing of a message is decoded for it: the bytes of its properties go out again, with our headers put in.
-- The copy is confirmed before the original is acked: at least once, and at most one more if anything dies
-- in between.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local ledger = require "moonrabbit.channel.ledger"
local message = require "moonrabbit.channel.message"
local properties = require "moonrabbit.base.properties"
local side = require "moonrabbit.redelivery.sender"
local stamps = require "moonrabbit.channel.stamps"
local value = require "moonrabbit.base.value"

local copies = {}

--- The header that tells one copy from all others, while it waits.
copies.ID = "x-mr-copy"

local IDLE = 60                   -- seconds a delay queue lives beyond its delay when nothing more is put in
local EXACT = 32                  -- delays per queue that are kept to the millisecond; see round
local LONGEST = 4e9 / 1000 - IDLE -- seconds; RabbitMQ takes x-expires up to 2^32-1 ms
local NAME_SIZE = 255             -- bytes, of a queue's name
local WRAPPED = "x-mr-properties" -- the header that has a message's properties, while it waits
local REALTIME, MONOTONIC = 0, 1  -- of clock_gettime
local ERROR_SIZE, TRACE_SIZE = 500, 2000 -- bytes; all properties must fit a frame, which may be as small as 4096

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

-- What the program has changed of a message since it came: changes, without, headers_without of properties.splice.
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

-- What a copy leaves out of what was received.
local function leave_out(without, names)
   -- An expiration was for the first queue; a user_id must be that of the connection that publishes.
   without.expiration, without.user_id = true, true
   for name in each(stamps.all) do names[name] = true end
end

local function ours(msg, info)
   local received = msg.headers
   local first = info.attempt > 1 and received["x-mr-first-failure"]
   return {
      ["x-mr-user-id"] = received["x-mr-user-id"] or msg.properties.user_id,
      ["x-mr-attempt"] = value.int(info.attempt),
      ["x-mr-first-failure"] = tonumber(first) and first or value.int(copies.now()),
      ["x-mr-queue"] = info.queue,
      ["x-mr-exchange"] = msg.exchange, ["x-mr-routing-key"] = msg.routing_key,
      ["x-mr-error"] = info.error and cut(info.error, ERROR_SIZE),
      ["x-mr-reason"] = info.reason and cut(info.reason, ERROR_SIZE),
      ["x-mr-traceback"] = info.trace and cut(info.trace, TRACE_SIZE),
   }
end

-- Of our headers those that are told, the fewer the less room there is.
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

-- The properties of a copy, as bytes: those of the message, less what is left out, and what has become of it so far.
local function encode(msg, headers)
   local changes, without, names = changes_of(msg)
   leave_out(without, names)
   for name in each(names) do changes.headers[name] = nil end
   for name, v in each(headers) do changes.headers[name] = v end
   return properties.splice(message.raw(msg), changes, without, names)
end

local program, copied = ("%.0f-%s"):format(copies.now(), tostring({}):match "0x(%x+)" or ""), 0

-- A broker changes the headers of what it dead-letters: it sorts them, turns 'L' into 'l', adds its own. So the
-- properties go through a delay as bytes within one header, beside ours, for those who look into its queue.
local function wrap(msg, bytes, headers)
   local own = msg.properties
   copied = copied + 1
   headers[WRAPPED], headers[copies.ID] = value.bytes(bytes), ("%s-%d"):format(program, copied)
   return properties.splice("\0\0", { delivery_mode = own.delivery_mode, priority = own.priority, message_id = own.message_id,
      headers = headers }, {}, {})
end

-- As many of our headers as a frame has room for, and one more way when it has none: not wrapped.
local function each_form(msg, info, send)
   local ok, bytes, err
   for _, choose in ipairs(ROOMS) do
      local headers = choose(ours(msg, info))
      if next(headers) == nil and not info.reason then -- not even the count: it is kept here
         ledger.note(ledger.key(msg, info.queue), info.attempt)
      end
      bytes, err = encode(msg, headers)
      if bytes and info.exit then bytes, err = wrap(msg, bytes, headers) end
      if bytes then ok, err = send(bytes) end
      if ok or not bytes or err.kind ~= "content_too_large" then return ok, err end
   end
   if not info.exit then return nil, err end
   bytes, err = encode(msg, {})
   if not bytes then return nil, err end
   return send(bytes)
end

-- What will never be another way is marked as final.
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
local function name_of(queue, what)
   local suffix = ".retry" .. what
   local name = queue:gsub("^amq%.", "mr.")
   if #name + #suffix > NAME_SIZE then
      suffix = ("~%08x%s"):format(sum_of(name), suffix)
      name = head(name, NAME_SIZE - #suffix)
   end
   return name .. suffix
end

--- Where what has waited comes out, to be put into its queue with a confirm; see returns. (Not QUEUE.retry: many a program
-- has one of its own, for retries made by hand.)
function copies.exit_queue(queue) return name_of(queue, "-exit") end

--- The queue that keeps messages for so many milliseconds and then hands them on to the exit; see docs/retry.md.
-- @tparam string queue
-- @tparam number ms
-- @tparam[opt] watch exit which must be there
function copies.delay_queue(queue, ms, exit)
   return { queue = name_of(queue, (".%d"):format(ms)), other = name_of(queue, (".other.%d"):format(ms)), exit = exit,
      arguments = { ["x-message-ttl"] = ms, ["x-expires"] = ms + IDLE * 1000, ["x-dead-letter-exchange"] = "",
         ["x-dead-letter-routing-key"] = copies.exit_queue(queue) } }
end

--- Puts a copy where it waits so many seconds and then comes back to its queue.
-- @tparam message msg
-- @tparam number seconds
-- @tparam table info queue, attempt (how often it has failed, this one too), error, exit (the watch of what has waited)
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error; of kind stale: the message was settled or lost, and there is no copy; with is_final: it will
-- never be copied
function copies.delay(msg, seconds, info)
   local conn = msg.channel.connection
   local ms = round(conn, info.queue, math.ceil(math.min(seconds, LONGEST) * 1000 - 1e-6))
   local ok, err = put(msg, copies.delay_queue(info.queue, ms, info.exit), info)
   return ok, err
end

--- Puts a copy into a queue of dead letters.
-- @tparam message msg
-- @tparam string dead the queue; durable, declared when it is not there
-- @tparam table info queue, attempt, error, reason, trace, arguments (of its declaration)
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error as of delay
function copies.bury(msg, dead, info)
   local ok, err = put(msg, { queue = dead, arguments = info.arguments }, info, true)
   return ok, err
end

--- Puts a copy at the end of the queue that the message came from.
-- @tparam message msg
-- @tparam table info queue, attempt
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error as of delay
function copies.again(msg, info)
   local ok, err = put(msg, { queue = info.queue }, info, "known")
   return ok, err
end

--- Puts a message that has waited into its queue, as it is but for what the broker has written on it.
-- @tparam message msg of the exit
-- @tparam string queue
-- @treturn[1] true the broker has it there
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

--- Why a message cannot be copied: an error.
function copies.homeless()
   return errors.new("bad_argument", "message", "the message came from no queue that is known: it was returned")
end

return copies

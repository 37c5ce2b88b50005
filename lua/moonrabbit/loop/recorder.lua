--- recorder: the flight recorder: the last events of the runtime, as tables.
-- SPDX-License-Identifier: MIT
-- The events are kept by the C library; see runtime/bridge/tape.h. Here they are read, and those added that only Lua knows.
local C = require("moonrabbit.base.ffi").C
local bit = require "bit"
local errors = require "moonrabbit.base.errors"
local ffi = require "ffi"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"

local recorder = {}

local NUMBER = 0x1fffffff -- of a consumer, without its flags
local MOST = 2 ^ 21 -- events: those of two threads

local queue_of = function() end

-- Sets how the queue of a consumer is found, by its number.
function recorder.find_queues(fn) queue_of = fn end

local on_trouble

-- Sets what is called with a reason when something is given up.
function recorder.on_trouble(fn) on_trouble = fn end

-- For the modules of the library: something was given up.
function recorder.trouble(reason)
   if on_trouble then on_trouble(reason) end
end

local function nonzero(n) return n ~= 0 and n or nil end

local function event_of(e)
   local consumer, text = nonzero(e.consumer), ffi.string(e.text)
   return { time = e.time, kind = ffi.string(e.kind), name = ffi.string(e.name), connection = nonzero(e.connection),
      channel = nonzero(e.channel), consumer = consumer and bit.band(consumer, NUMBER), queue = consumer and queue_of(consumer),
      number = nonzero(tonumber(e.number)), count = e.count > 1 and e.count or nil,
      code = nonzero(e.code), text = text ~= "" and text or nil }
end

--- The last events, the oldest first: commands, methods read ("in") and written ("out"), changes of state, settles, retries,
-- dead letters, errors, stalls, abandoned handlers.
-- @tparam[opt=20] number n how many at most
-- @tparam ?string filter words, all of which must fit: connection=N, channel=N, consumer=N, number=N, or a part of kind, name
-- or text; at most 8, and 256 bytes; a wrong one is an error
-- @treturn table list of { time (seconds since 1970), kind, name (such as "basic.deliver"), connection, channel, consumer (their
-- numbers), queue (of the consumer), number (delivery tag, or number of a publish), count (of events in a row that are alike but for
-- their numbers, from `number` on; nil: 1), code, text }; what it has not is nil
function recorder.last(n, filter)
   if n == nil then n = 20 end
   options.argument(1, "n", n, "number")
   if filter ~= nil then options.argument(2, "filter", filter, "string") end
   if not (n >= 0 and n <= MOST) then options.blame(("n must be from 0 to %d"):format(MOST)) end
   n = math.floor(n)
   local box = ffi.new("mr_recorded[?]", n + 1)
   local count = C.mr_recorder_last(loop.runtime(), filter, box, n)
   if count < 0 then
      options.blame "wrong filter: connection=, channel=, consumer= and number= take a whole number; it has at most 8 words, 256 bytes"
   end
   local list = {}
   for i = 1, count do list[i] = event_of(box[i - 1]) end
   return list
end

--- Sets how many events a runtime keeps of each of its two threads: of one that is made from now on (at first 4096).
-- @tparam number events rounded up to a power of two; 0: none
function recorder.size(events)
   options.argument(1, "events", events, "number")
   if not (events >= 0 and events <= 2 ^ 20) then options.blame "events must be from 0 to 1048576" end
   C.mr_recorder_size(events)
end

--- Writes the newest 65536 events at most to a new file of mode 0600, each as a JSON object in a line. A file that is there already stays.
-- @tparam string path of the file
-- @treturn[1] true
-- @treturn[2] nil, error
function recorder.write(path)
   options.argument(1, "path", path, "string")
   local err = ffi.new "mr_error"
   if C.mr_recorder_write(loop.runtime(), path, err) == 0 then return true end
   return nil, errors.of_c(err)
end

-- For the modules of the library: adds an event about a message.
-- kind: "retry", "dead letter", "error" or "handler"; about: connection, channel, consumer, tag: numbers, each may be nil
function recorder.note(kind, about, text)
   text = text or ""
   C.mr_recorder_note(loop.runtime(), kind, about.connection or 0, about.channel or 0, about.consumer or 0, about.tag or 0, text,
      #text)
end

return recorder

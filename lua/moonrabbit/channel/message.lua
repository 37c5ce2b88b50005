--- message: a received message. Its fields are read from C memory at the first access; a settle is one call.
-- SPDX-License-Identifier: MIT
-- The runtime owns the memory and reuses it. A message from `consume` may be read until its handler has returned. A message
-- from `get` or `messages()` may always be read: fields that were not read are copied when it is settled. Reading a message
-- after that raises an error; it never shows another message's bytes.
-- Fields: body, headers, properties and each property by its name, routing_key, exchange, consumer_tag, redelivered,
-- delivery_tag, delivery_count (nil if it is unknown), offset (in its stream; nil: of another queue), is_live (true if it can
-- be settled), channel, message_count (of `get`: messages left in the queue), reply_code and reply_text (of a returned
-- message: the reason). Any other name is an error.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local body_of = require "moonrabbit.base.body"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local observer = require "moonrabbit.channel.observer"
local options = require "moonrabbit.base.options"
local properties = require "moonrabbit.base.properties"

local message = {}

local ffi_string = ffi.string
local ACK, NACK, REJECT = C.MR_ACK, C.MR_NACK, C.MR_REJECT
local MULTIPLE, REQUEUE, RELEASE = C.MR_SETTLE_MULTIPLE, C.MR_SETTLE_REQUEUE, C.MR_SETTLE_RELEASE
local NO_ACK, REDELIVERED, RETURNED = C.MR_DELIVERY_NO_ACK, C.MR_DELIVERY_REDELIVERED, C.MR_DELIVERY_RETURNED
local STREAM = C.MR_DELIVERY_STREAM
local NOTHING = {}                   -- the cache of a message without one
local TAKEN = -1                     -- no delivery has this generation

-- Slots of a message: array part, so that making one is one small allocation.
local D, GENERATION, BODY, CHANNEL, CACHE, STANDING, ERA = 1, 2, 3, 4, 5, 6, 7

--- The slot of the error for which msg:retry or msg:dead_letter failed.
message.FAILED = "_failed"
--- In that slot: the delivery was taken over, and is not its handler's any more; see holding.
message.HELD = {}

local Message, methods, fields = { __name = "moonrabbit.message" }, {}, {}
message.methods, message.fields = methods, fields

local COVERED = "_covered"           -- the slot of one that was taken; see message.is_covered

local era, inherited = 1, 0          -- one for each runtime: the memory of an earlier one is gone; up to which it was a parent's
loop.on_close(function(err)
   if err then inherited = era end
   era = era + 1
end)

local function gone()
   options.blame("this message is gone: its handler has returned; read what you need before")
end

-- The C delivery, or nil if the memory was released.
local function live(self)
   if self[ERA] ~= era then return nil end
   local d = self[D]
   return d.generation == self[GENERATION] and d or nil
end

local function unknown(key)
   local names = {}
   for _, of in ipairs { fields, methods } do
      for name in each(of) do names[#names + 1] = name end
   end
   options.blame(('a message has no field "%s": %s'):format(tostring(key), options.advice(key, names)))
end

function Message.__index(self, key)
   local field = fields[key]
   if field then return field(self) end
   local method = methods[key]
   if method == nil then unknown(key) end
   return method
end

function Message.__newindex(_, key)
   options.blame(('a message has no settable field "%s"'):format(tostring(key)))
end

function Message.__tostring(self)
   if not live(self) and not self[CACHE].exchange then return "message (gone)" end
   return ("message %s (exchange %q, routing key %q, %d bytes)"):format(self.delivery_tag, self.exchange,
      self.routing_key, #self.body)
end

function fields.body(self)
   local body = self[BODY]
   if body then return body end
   local d = live(self)
   if not d then gone() end
   body = ffi_string(d.body, d.body_size)
   self[BODY] = body
   return body
end

--- The first bytes of the body, at most so many, and its size: it may be large, and is not copied as a whole.
function message.start(self, most)
   local d = not self[BODY] and live(self)
   if not d then return self.body:sub(1, most), #self.body end
   local size = tonumber(d.body_size)
   return ffi_string(d.body, math.min(size, most)), size
end

-- A field that is read by `read(d)` and copied when the message is detached.
local copied = {}
local function field(name, read)
   copied[#copied + 1] = name
   fields[name] = function(self)
      local d = live(self)
      if d then return read(d) end
      local cache = self[CACHE]
      if not cache.exchange then gone() end
      return cache[name]
   end
end

local function returned(d) return bit.band(d.flags, RETURNED) ~= 0 end

field("routing_key", function(d) return ffi_string(d.routing_key, d.routing_key_size) end)
field("exchange", function(d) return ffi_string(d.exchange, d.exchange_size) end)
field("redelivered", function(d) return bit.band(d.flags, REDELIVERED) ~= 0 end)
field("delivery_tag", function(d) return tonumber(d.tag) end)
field("consumer_tag", function(d) return not returned(d) and ffi_string(d.consumer_tag, d.consumer_tag_size) or nil end)
field("message_count", function(d) return not returned(d) and d.message_count or nil end)
field("reply_code", function(d) return returned(d) and d.message_count or nil end)
field("reply_text", function(d) return returned(d) and ffi_string(d.consumer_tag, d.consumer_tag_size) or nil end)

field("offset", function(d) return bit.band(d.flags, STREAM) ~= 0 and tonumber(d.offset) or nil end)

-- Decoded at the first access: most messages never need it.
local encoded = ffi.new "mr_delivery"

local function decode_properties(self, is_exact)
   local d = live(self)
   if d then return properties.decode(d, is_exact) end
   local raw = self[CACHE].raw
   if not raw then gone() end
   encoded.properties, encoded.properties_size = raw, #raw
   return properties.decode(encoded, is_exact)
end

--- The properties as received; headers keep their types on the wire.
function message.exact(self) return decode_properties(self, true) end

--- The headers, with their types on the wire.
function message.exact_headers(self) return message.exact(self).headers or {} end

--- The properties that the program has read, and perhaps changed; nil if it has not read them.
function message.read(self)
   local cache = self[CACHE]
   return cache ~= NOTHING and cache.properties or nil
end

--- The encoded properties, as received.
function message.raw(self)
   local d = live(self)
   if d then return ffi_string(d.properties, d.properties_size) end
   local raw = self[CACHE].raw
   if not raw then gone() end
   return raw
end

function fields.properties(self)
   local cache = self[CACHE]
   if cache.properties then return cache.properties end
   local decoded = decode_properties(self)
   if cache == NOTHING then
      cache = {}
      self[CACHE] = cache
   end
   cache.properties = decoded
   return decoded
end

function fields.headers(self)
   local all = self.properties
   if not all.headers then all.headers = {} end
   return all.headers
end

for _, name in ipairs(properties.NAMES) do
   fields[name] = fields[name] or function(self) return self.properties[name] end
end

-- Quorum queues count deliveries; in other queues only the first delivery is known.
function fields.delivery_count(self)
   local headers = self.properties.headers
   return headers and headers["x-delivery-count"] or (not self.redelivered and 0 or nil)
end

-- Was it settled together with a later one? Tags begin anew when the channel comes back.
local function is_covered(self, d)
   local ch = self[CHANNEL]
   return ch.settled_below and d.epoch == ch.settled_epoch and d.tag <= ch.settled_below
end

function fields.is_live(self)
   local d = live(self)
   return d ~= nil and not is_covered(self, d) and C.mr_delivery_is_live(loop.current(), d)
end

function fields.channel(self) return self[CHANNEL] end

-- ---- making and ending; for consume, channel and dispatch ----

--- Makes the message of a delivery.
-- @tparam cdata d
-- @tparam channel channel
-- @tparam[opt] boolean standing it outlives handlers and releases its memory when it is settled
function message.new(d, channel, standing)
   return setmetatable({ d, d.generation, false, channel, NOTHING, standing or false, era }, Message)
end

local function copy_all(self, d)
   local cache = self[CACHE]
   if cache == NOTHING then cache = {} end
   for i = 1, #copied do cache[copied[i]] = fields[copied[i]](self) end
   cache.raw = ffi_string(d.properties, d.properties_size)
   self[BODY] = self[BODY] or ffi_string(d.body, d.body_size)
   self[CACHE] = cache
end

--- Copies the fields that were not read yet and releases the memory.
function message.detach(self)
   local d = live(self)
   if not d then return end
   copy_all(self, d)
   C.mr_delivery_release(loop.current(), d)
end

--- Copies the fields; the ack releases the memory.
function message.remember(self)
   local d = live(self)
   if d then copy_all(self, d) end
end

--- The epoch of its channel at the delivery; nil if its memory was released.
function message.epoch(self)
   local d = live(self)
   return d and d.epoch
end

--- Takes the delivery from its message, which counts as settled from then on.
-- @tparam function on_back called with the new message if the program nacks it together with a later one
-- @treturn message a new message of the delivery, which keeps the memory until it is settled or detached; see put_down
function message.take(self, on_back)
   local ch = self[CHANNEL]
   local taken = message.new(live(self), ch, true)
   copy_all(self, live(self))
   taken[CACHE], taken[BODY] = self[CACHE], self[BODY]
   self[GENERATION] = TAKEN
   ch.taken = ch.taken or {}
   ch.taken[taken] = on_back
   return taken
end

--- Drops a message that was taken.
function message.put_down(self)
   self[CHANNEL].taken[self] = nil
   message.detach(self)
end

--- True if the program nacked it together with a later one: then the broker delivers it again.
function message.is_back(self) return self[CHANNEL].taken[self] == nil end

-- The program has settled all up to this tag: those that were taken go back, or nobody but us has them from here on.
local function settle_taken(ch, epoch, tag, is_back)
   for taken, on_back in each(ch.taken) do
      local d = live(taken)
      if taken.is_live and d.epoch == epoch and d.tag <= tag then
         if is_back then ch.taken[taken] = nil else rawset(taken, COVERED, true) end
         if is_back then on_back(taken) end
      end
   end
end

--- Was one that was taken settled by the program, together with a later one? Also when its channel has gone since.
function message.is_covered(self) return rawget(self, COVERED) == true end

--- Its message_id and correlation_id, for the log: never raises.
-- @treturn ?string message_id
-- @treturn ?string correlation_id
function message.ids(self)
   local ok, props = pcall(fields.properties, self)
   if ok then return props.message_id, props.correlation_id end
end

--- True while the message holds its memory; a standing one does until it is settled.
function message.is_held(self) return live(self) ~= nil end

--- The number of its consumer; nil if that is not known any more.
function message.consumer_number(self)
   local d = live(self)
   return d and not returned(d) and d.consumer or nil
end

-- ---- settling ----

-- The error of a message that is already settled, or nil.
local function settled_by(self, d)
   if not d then return "it was settled before" end
   if bit.band(d.flags, NO_ACK) ~= 0 then return "a no_ack consumer's messages arrive settled", "leave no_ack out to settle them" end
   return is_covered(self, d) and "it was settled together with a later one" or nil
end

local STREAM_HINT = "a stream keeps its messages: ack it when it is handled or given up; for another try return nil and an error"

--- The error for what cannot be done with a message of a stream.
-- @tparam string what "nacked"
function message.not_of_streams(what)
   local err = errors.new("not_implemented", "message", "a message of a stream cannot be " .. what)
   err.hint = STREAM_HINT
   return err
end

local on_stream_ack

--- Calls fn(number of the consumer, offset, is_multiple) when the program acks a message of a stream.
function message.hear_stream_acks(fn) on_stream_ack = fn end

local function settle(self, how, flags)
   local d = live(self)
   local why, hint = settled_by(self, d)
   if why then
      if self[ERA] <= inherited then return nil, errors.of_status(errors.numbers.forked, "message") end
      if d and self[STANDING] then message.detach(self) end
      return nil, errors.new("settled", "message", why, hint)
   end
   local offset = bit.band(d.flags, STREAM) ~= 0 and tonumber(d.offset)
   if offset and how ~= ACK then return nil, message.not_of_streams(how == NACK and "nacked" or "rejected") end
   if self[STANDING] then
      copy_all(self, d)
      flags = flags + RELEASE
   end
   local tag, epoch, number = flags % 2 == MULTIPLE and d.tag, d.epoch, d.consumer
   local tell = observer.settling and observer.settling(self, d, how, flags)
   local status = C.mr_delivery_settle(loop.current(), d, how, flags)
   if status ~= 0 then return nil, errors.of_status(status, "message") end
   if tell then tell() end
   local ch = self[CHANNEL]
   if ch.tx and ch.epoch == epoch then ch.tx.is_open = true end
   if offset and on_stream_ack then on_stream_ack(number, offset, tag ~= false) end
   if not tag then return true end
   if ch.taken then settle_taken(ch, epoch, tag, bit.band(flags, REQUEUE) ~= 0) end
   ch.settled_below, ch.settled_epoch = tag, epoch
   return true
end

local SETTLE_OPTIONS = { multiple = "boolean", requeue = "boolean" }

--- Acks the message: it was handled.
-- @tparam[opt=false] boolean opts.multiple also all earlier messages of the channel
-- @treturn[1] true
-- @treturn[2] nil, error of kind settled, stale or forked
function methods:ack(opts)
   if opts == nil then return settle(self, ACK, 0) end
   opts = options.check(opts, { multiple = "boolean" })
   return settle(self, ACK, opts.multiple and MULTIPLE or 0)
end

--- Nacks the message: it goes back to the queue.
-- @tparam[opt=true] boolean opts.requeue false: it is dropped or dead-lettered
-- @tparam[opt=false] boolean opts.multiple also all earlier messages of the channel
-- @treturn[1] true
-- @treturn[2] nil, error as of ack
function methods:nack(opts)
   opts = options.check(opts, SETTLE_OPTIONS)
   return settle(self, NACK, (opts.requeue ~= false and REQUEUE or 0) + (opts.multiple and MULTIPLE or 0))
end

--- Rejects the message: it is dropped or dead-lettered, unless it is requeued.
-- @tparam[opt=false] boolean opts.requeue true: it goes back to the queue
-- @treturn[1] true
-- @treturn[2] nil, error as of ack
function methods:reject(opts)
   opts = options.check(opts, { requeue = "boolean" })
   return settle(self, REJECT, opts.requeue and REQUEUE or 0)
end

--- The body, decoded by its content type: JSON (RFC 8259) for application/json and any +json, in upper or lower case, with or
-- without parameters; else the string. Integers beyond 2^53 that a Lua number cannot hold become int64_t or uint64_t (cdata),
-- null becomes cjson.null. The script's own cjson settings have no effect. What kombu has compressed is not decoded.
-- @treturn[1] any
-- @treturn[2] nil, error of kind bad_argument (no JSON); not_implemented (compressed, as its header `compression` says)
function methods:decode() return body_of.read(self.properties, self.body) end

--- The body as it lies in memory, for C functions by FFI, without a Lua string of it: what is large is not copied. It may be read as
-- long as the message's fields may: until its handler has returned; of a message from `get` or `messages()`, until it is settled.
-- @treturn cdata const char *, not NUL-terminated by promise
-- @treturn number bytes
function methods:view()
   local d = live(self)
   if d then return d.body, tonumber(d.body_size) end
   return ffi.cast("const char *", self.body), #self.body -- a copy, which this message keeps
end

return message

--- simple_queue: a queue with put and get.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local body_of = require "moonrabbit.base.body"
local cascade = require "moonrabbit.delay.cascade"
local ensure = require "moonrabbit.connection.ensure"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local queue_type = require "moonrabbit.channel.queue_type"
local time_limit = require "moonrabbit.loop.time_limit"

local simple_queue = {} -- methods of connections, which init installs
local Simple = {}

-- The object is a userdata, to support `#`: LuaJIT ignores __len of tables.
local states = setmetatable({}, { __mode = "k" })
local prototype = newproxy(true)
local meta = getmetatable(prototype)
meta.__name = "moonrabbit.simple"
function meta.__index(self, key)
   local v = states[self][key]
   if v ~= nil then return v end
   return Simple[key]
end
function meta.__newindex(_, key) options.blame(('a simple queue has no settable field "%s"'):format(tostring(key))) end
function meta.__tostring(self) return ("simple queue %q"):format(states[self].queue) end
function meta.__len(self)
   local n, err = self:qsize()
   if not n then options.blame(tostring(err)) end
   return n
end

local POLL = 0.05 -- seconds between two tries of get; a consumer would take messages from others

local SPEC = { no_ack = "boolean", queue_opts = "table", exchange_opts = "table", channel = "table", serializer = "string",
   queue_type = "string" }
local QUEUE = { durable = "boolean", exclusive = "boolean", auto_delete = "boolean", passive = "boolean", arguments = "table",
   queue_type = "string" }
local EXCHANGE = { type = "string", durable = "boolean", auto_delete = "boolean", internal = "boolean", passive = "boolean",
   arguments = "table" }
local WHOLE_QUEUE = merged(QUEUE, { queue = "string", exchange = "string", routing_key = "string" })

-- The declarations, and the destination of put: from a name, or from a queue's table.
local function destination_of(name, opts, usual)
   if type(name) == "string" then
      return { exchange = name, routing_key = name, queue = merged(merged(usual.queue, opts.queue_opts), { queue = name }),
         exchange_opts = merged(usual.exchange, opts.exchange_opts) }
   end
   if type(name) ~= "table" then
      options.blame(('argument 1 ("name") must be a string or a queue\'s table, not a %s'):format(type(name)))
   end
   options.check(name, WHOLE_QUEUE, { "queue" })
   if opts.queue_opts then options.blame('"queue_opts" goes with a name; a queue\'s table says it all') end
   local exchange = name.exchange or ""
   if exchange == "" and (opts.exchange_opts or name.routing_key) then
      options.blame("the default exchange takes the queue's name as key and no options: name an exchange")
   end
   local queue = merged(usual.queue, name)
   queue.exchange, queue.routing_key = nil, nil
   return { exchange = exchange, routing_key = name.routing_key or name.queue, queue = queue,
      exchange_opts = merged(usual.exchange, opts.exchange_opts) }
end

local function shape_of(name, opts, usual)
   local shape = destination_of(name, opts, usual)
   local queue = shape.queue
   if opts.queue_type and queue.queue_type and queue.queue_type ~= opts.queue_type then
      options.blame(('queue "%s" has two types, "%s" and "%s"'):format(queue.queue, opts.queue_type, queue.queue_type))
   end
   queue.queue_type = queue.queue_type or opts.queue_type
   shape.queue = queue_type.put(queue)
   if queue_type.of(shape.queue.arguments) == "stream" then
      options.blame(('queue "%s": a stream has no get: consume it, or give queue_type = "quorum"'):format(queue.queue))
   end
   return shape
end

-- Declares the queue and its exchange, and binds them; returns the queue's name.
local function declare(ch, shape)
   local reply, ok, err
   if shape.exchange ~= "" then
      ok, err = ch:exchange_declare(merged(shape.exchange_opts, { exchange = shape.exchange }))
      if not ok then return nil, err end
   end
   reply, err = ch:queue_declare(shape.queue)
   if not reply then return nil, err end
   if shape.exchange == "" then return reply.queue end
   ok, err = ch:queue_bind { queue = reply.queue, exchange = shape.exchange, routing_key = shape.routing_key }
   if not ok then return nil, err end
   return reply.queue
end

-- The channel and the queue's name; or nil and the error.
local function open(conn, opts, usual, shape)
   local ch, err = opts.channel, nil
   if not ch then ch, err = conn:channel() end
   if not ch then return nil, err end
   local ok = opts.channel or not usual.confirm
   if not ok then ok, err = ch:confirm_select() end
   local queue
   if ok then queue, err = declare(ch, shape) end
   if queue then return ch, queue end
   if not opts.channel then ch:close() end
   return nil, err
end

local function new(conn, name, opts, usual)
   opts = options.check(opts, SPEC)
   options.check(opts.queue_opts, QUEUE)
   options.check(opts.exchange_opts, EXCHANGE)
   body_of.check(opts.serializer)
   local shape = shape_of(name, opts, usual)
   local ch, queue = time_limit.apart(open, conn, opts, usual, shape)
   if not ch then return nil, queue end
   local no_ack = opts.no_ack
   if no_ack == nil then no_ack = usual.no_ack end
   local self = newproxy(prototype)
   states[self] = { name = queue, queue = queue, exchange = shape.exchange, channel = ch, owns_channel = not opts.channel,
      routing_key = shape.exchange == "" and queue or shape.routing_key, no_ack = no_ack, serializer = opts.serializer,
      usual = { persistent = usual.confirm, mandatory = usual.confirm and not opts.channel } }
   return self
end

--- A queue with put and get: durable, with a direct exchange of the same name; the program acks each message. If the
-- queue has its own channel, put returns when the broker has the message.
-- @tparam string|table name of the queue, the exchange and the routing key; or a queue's table: queue, exchange
-- (default: the default exchange), routing_key (default: the queue's name), durable, exclusive, auto_delete,
-- passive, queue_type, arguments
-- @tparam[opt] table opts no_ack=false (true: consumes without acks), queue_opts (as of queue_declare; default:
-- durable), exchange_opts (as of exchange_declare; default: durable), channel (the channel to use; default: its
-- own), queue_type ("classic" or "quorum"; default: of mr.defaults), serializer ("json" or "raw"; default: strings
-- unchanged, other values as JSON)
-- @treturn[1] simple put, get, get_nowait, clear, qsize, `#q`, close; fields queue, exchange, routing_key, channel
-- @treturn[2] nil, error
function simple_queue:simple_queue(name, opts)
   return new(self, name, opts, { no_ack = false, confirm = true, queue = { durable = true },
      exchange = { durable = true } })
end

--- The same for messages that may be lost: not durable, auto-delete, transient messages, no acks, no confirms.
-- @tparam string|table name as of simple_queue
-- @tparam[opt] table opts as of simple_queue, with no_ack=true
function simple_queue:simple_buffer(name, opts)
   return new(self, name, opts, { no_ack = true, confirm = false, queue = { auto_delete = true },
      exchange = { auto_delete = true } })
end

-- As put, after a time.
local function put_later(self, text, all)
   if all.expiration ~= nil then options.blame '"delay" and "expiration": the message would leave its delay too early' end
   local plan, err = cascade.plan(self.exchange, self.routing_key, all.delay)
   if err then return nil, err end
   all.delay = nil
   if not plan then return self.channel:publish(self.exchange, self.routing_key, text, all) end
   local conn = self.channel.connection
   if not cascade.is_ready(conn, plan) then
      local is_made, why = cascade.prepare(conn, plan)
      if not is_made then return nil, why end
   end
   all.headers = cascade.headers(plan, all.headers)
   local ok
   ok, err = self.channel:publish(cascade.ENTRY, self.routing_key, text, all)
   if not ok then cascade.forget(conn) end -- the next one declares it again
   return ok, err
end

--- Puts a message into the queue.
-- @param body a string, or a value that the serializer accepts
-- @tparam[opt] table props as of publish, and delay (seconds until it is in the queue)
-- @treturn[1] true
-- @treturn[2] nil, error
function Simple:put(body, props)
   local text, kind = body_of.encode(body, self.serializer)
   if not text then options.blame(kind) end
   local all = merged(self.usual, props)
   if all.content_type == nil then all.content_type = kind end
   if all.delay ~= nil then return put_later(self, text, all) end
   return self.channel:publish(self.exchange, self.routing_key, text, all)
end

--- Takes the next message if there is one.
-- @treturn[1] message (msg:decode() returns the value that was put)
-- @treturn[2] nil, error of kind empty
function Simple:get_nowait() return self.channel:get(self.queue, { no_ack = self.no_ack }) end

-- True if a later attempt may succeed: the queue is empty, or the connection is lost for a while.
local function may_come(self, err)
   if err.kind == "empty" then return true end
   local handle = self.channel.handle
   return handle and C.mr_channel_is_suspended(handle) and ensure.is_retriable(err)
end

--- Takes the oldest message; waits if there is none.
-- @tparam[opt] table opts block=true (false: as get_nowait), timeout (seconds; default: no limit)
-- @treturn[1] message
-- @treturn[2] nil, error of kind empty: none arrived in time; of another kind: the request failed
function Simple:get(opts)
   opts = options.check(opts, { block = "boolean", timeout = "number" })
   options.seconds("timeout", opts.timeout)
   if opts.block == false then return self:get_nowait() end
   local deadline = opts.timeout and C.mr_now() + opts.timeout
   while true do
      local left = deadline and math.max(deadline - C.mr_now(), POLL)
      local msg, err = self.channel:get(self.queue, { no_ack = self.no_ack, timeout = left })
      if msg or not may_come(self, err) then return msg, err end
      left = deadline and deadline - C.mr_now() or POLL
      if left <= 0 then return nil, err end
      loop.sleep(math.min(left, POLL))
   end
end

--- Drops all messages.
-- @treturn[1] number of dropped messages
-- @treturn[2] nil, error
function Simple:clear() return self.channel:queue_purge { queue = self.queue } end

--- The number of messages in the queue; `#q` is the same, but raises errors.
-- @treturn[1] number
-- @treturn[2] nil, error
function Simple:qsize()
   local reply, err = self.channel:queue_declare { queue = self.queue, passive = true }
   if not reply then return nil, err end
   return reply.message_count
end

--- Closes the channel if it is the queue's own; a channel that was passed in stays open. Does not delete the queue.
-- @treturn[1] true
-- @treturn[2] nil, error
function Simple:close()
   if self.owns_channel then return self.channel:close() end
   return true
end

return simple_queue

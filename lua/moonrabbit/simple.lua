--- simple: a queue as a program sees it: put and get.
-- SPDX-License-Identifier: MIT
local connection = require "moonrabbit.connection"
local errors = require "moonrabbit.errors"
local loop = require "moonrabbit.loop"
local options = require "moonrabbit.options"

local Connection = connection.methods

local Simple = { __name = "moonrabbit.simple" }
Simple.__index = Simple
function Simple.__tostring(s) return ("simple queue %q"):format(s.name) end
function Simple.__len(s) return s:qsize() end

local POLL = 0.05 -- seconds between two looks while get waits and nothing is consumed

local SPEC = { no_ack = "boolean", queue_opts = "table", exchange_opts = "table", channel = "table", serializer = "string" }

local function merged(usual, given)
   local all = {}
   for k, v in pairs(usual) do all[k] = v end
   for k, v in pairs(given or {}) do all[k] = v end
   return all
end

-- A queue, and a direct exchange of its name bound to it by its name.
local function declare(ch, name, queue_opts, exchange_opts)
   local ok, err = ch:exchange_declare(merged({ exchange = name, type = "direct" }, exchange_opts))
   local reply
   if ok then reply, err = ch:queue_declare(merged({ queue = name }, queue_opts)) end
   if reply then ok, err = ch:queue_bind { queue = reply.queue, exchange = name, routing_key = name } else ok = nil end
   return ok, err
end

local function new(conn, name, opts, usual)
   local ch, err = opts.channel, nil
   if not ch then ch, err = conn:channel() end
   if not ch then return nil, err end
   local ok
   ok, err = declare(ch, name, merged(usual.queue, opts.queue_opts), merged(usual.exchange, opts.exchange_opts))
   if not ok then
      if not opts.channel then ch:close() end
      return nil, err
   end
   local no_ack = opts.no_ack
   if no_ack == nil then no_ack = usual.no_ack end
   return setmetatable({ name = name, channel = ch, owns_channel = not opts.channel, no_ack = no_ack,
      persistent = usual.persistent }, Simple)
end

--- A queue with put and get: durable, with a direct exchange of its name, each message acked by the program.
-- @tparam string name of the queue, the exchange and the routing key
-- @tparam[opt] table opts no_ack=false, queue_opts, exchange_opts, channel (else one of its own)
-- @treturn[1] simple put, get, get_nowait, clear, qsize, close
-- @treturn[2] nil, error
function Connection:simple_queue(name, opts)
   options.argument(1, "name", name, "string")
   opts = options.check(opts, SPEC)
   return new(self, name, opts, { no_ack = false, persistent = true, queue = { durable = true },
      exchange = { durable = true } })
end

--- The same for what may be lost: not durable, auto-delete, transient messages, no acks.
-- @tparam string name
-- @tparam[opt] table opts no_ack=true, queue_opts, exchange_opts, channel
function Connection:simple_buffer(name, opts)
   options.argument(1, "name", name, "string")
   opts = options.check(opts, SPEC)
   return new(self, name, opts, { no_ack = true, persistent = false, queue = { auto_delete = true },
      exchange = { auto_delete = true } })
end

--- Puts a message in.
-- @tparam string body
-- @tparam[opt] table props as of publish
-- @treturn[1] true
-- @treturn[2] nil, error
function Simple:put(body, props)
   return self.channel:publish(self.name, self.name, body, merged({ persistent = self.persistent }, props))
end

--- Takes the next message if there is one.
-- @treturn[1] message
-- @treturn[2] nil, error of kind empty
function Simple:get_nowait() return self.channel:get(self.name, { no_ack = self.no_ack }) end

--- Takes the next message, waiting for one.
-- @tparam[opt] table opts block=true, timeout (seconds; nil: for ever)
-- @treturn[1] message
-- @treturn[2] nil, error of kind empty: none came in time
function Simple:get(opts)
   opts = options.check(opts, { block = "boolean", timeout = "number" })
   options.seconds("timeout", opts.timeout)
   local mr = require "moonrabbit"
   local deadline = opts.timeout and mr.now() + opts.timeout
   while true do
      local msg, err = self:get_nowait()
      if msg or err.kind ~= "empty" or opts.block == false then return msg, err end
      local left = deadline and deadline - mr.now() or POLL
      if left <= 0 then return nil, errors.new("empty", "message") end
      loop.sleep(math.min(left, POLL))
   end
end

--- Drops all messages.
-- @treturn[1] number how many
-- @treturn[2] nil, error
function Simple:clear() return self.channel:queue_purge { queue = self.name } end

--- How many messages wait.
-- @treturn[1] number
-- @treturn[2] nil, error
function Simple:qsize()
   local reply, err = self.channel:queue_declare { queue = self.name, passive = true }
   if not reply then return nil, err end
   return reply.message_count
end

--- Closes the channel, when it is its own. The queue stays.
function Simple:close()
   if self.owns_channel then return self.channel:close() end
   return true
end

return Simple

--- declare: a channel's exchanges, queues and bindings.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local options = require "moonrabbit.base.options"
local queue_type = require "moonrabbit.channel.queue_type"

local declare = {}

local ask, done, spec = asking.ask, asking.done, asking.spec

local EXCHANGE = spec { exchange = "string", type = "string", passive = "boolean", durable = "boolean",
   auto_delete = "boolean", internal = "boolean", arguments = "table" }
local EXCHANGE_DELETE = spec { exchange = "string", if_unused = "boolean" }
local EXCHANGE_BINDING = spec { destination = "string", source = "string", routing_key = "string",
   arguments = "table" }
local QUEUE = spec { queue = "string", passive = "boolean", durable = "boolean", exclusive = "boolean",
   auto_delete = "boolean", arguments = "table", queue_type = "string" }
local QUEUE_BINDING = spec { queue = "string", exchange = "string", routing_key = "string",
   arguments = "table" }
local QUEUE_PURGE = spec { queue = "string" }
local QUEUE_DELETE = spec { queue = "string", if_unused = "boolean", if_empty = "boolean" }

--- Declares an exchange.
-- @tparam table opts exchange (required; its name), type="direct" (or "fanout", "topic", "headers", or the type of a
-- plugin), passive=false (true: declare nothing, only check whether it exists), durable=false (true: it survives a
-- restart of the broker), auto_delete=false (true: the broker deletes it with its last binding), internal=false
-- (true: only other exchanges publish to it), arguments (of exchange.declare, such as alternate-exchange; default:
-- none), timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error of kind precondition_failed (its text names the difference), not_found (passive, and it does not
-- exist), access_refused, timeout, or that of a closed channel
function declare:exchange_declare(opts)
   opts = options.check(opts, EXCHANGE, { "exchange" })
   return done(ask(self, C.MR_EXCHANGE_DECLARE, opts, opts.exchange, opts.type or "direct"))
end

--- Deletes an exchange.
-- @tparam table opts exchange (required; its name), if_unused=false (true: only if nothing is bound to it), timeout
-- (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true; also if the exchange does not exist
-- @treturn[2] nil, error of kind precondition_failed (in use), access_refused, timeout...
function declare:exchange_delete(opts)
   opts = options.check(opts, EXCHANGE_DELETE, { "exchange" })
   return done(ask(self, C.MR_EXCHANGE_DELETE, opts, opts.exchange))
end

--- Binds an exchange to another exchange.
-- @tparam table opts destination (required; the exchange that receives the messages), source (required; the exchange that
-- routes them), routing_key="" (the key or pattern of the binding), arguments (of the binding, such as the headers
-- to match; default: none), timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error of kind not_found (one of them does not exist), access_refused, timeout...
function declare:exchange_bind(opts)
   opts = options.check(opts, EXCHANGE_BINDING, { "destination", "source" })
   return done(ask(self, C.MR_EXCHANGE_BIND, opts, opts.destination, opts.source, opts.routing_key))
end

--- Removes a binding between exchanges.
-- @tparam table opts as of exchange_bind
-- @treturn[1] true; also if the binding does not exist
-- @treturn[2] nil, error as of exchange_bind
function declare:exchange_unbind(opts)
   opts = options.check(opts, EXCHANGE_BINDING, { "destination", "source" })
   return done(ask(self, C.MR_EXCHANGE_UNBIND, opts, opts.destination, opts.source, opts.routing_key))
end

--- Declares a queue; without a name the broker chooses one.
-- @tparam table opts queue="" (its name; "": the broker chooses one), passive=false (true: declare nothing, only check
-- whether it exists), durable=false (true: it survives a restart of the broker), exclusive=false (true: only for this
-- connection, and deleted with it), auto_delete=false (true: the broker deletes it with its last consumer),
-- queue_type ("classic", "quorum" or "stream"; default: of mr.defaults, for a durable queue with a name), arguments (of
-- queue.declare, such as x-max-length; default: none), timeout (seconds to wait for the broker's answer; default: the
-- option rpc_timeout)
-- @treturn[1] table queue (its name), message_count (messages ready), consumer_count
-- @treturn[2] nil, error of kind precondition_failed (its text names the difference), not_found (passive, and it does not
-- exist), resource_locked (exclusive to another connection), access_refused, timeout...
function declare:queue_declare(opts)
   opts = queue_type.put(options.check(opts, QUEUE))
   local reply, err = ask(self, C.MR_QUEUE_DECLARE, opts, opts.queue)
   if not reply then return nil, err end
   return { queue = reply.name, message_count = reply.message_count, consumer_count = reply.consumer_count }
end

--- Binds a queue to an exchange.
-- @tparam table opts queue (required; its name), exchange (required; its name), routing_key="" (the key or pattern of
-- the binding), arguments (of the binding, such as the headers to match; default: none), timeout (seconds to wait for
-- the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error of kind not_found (one of them does not exist), access_refused, timeout...
function declare:queue_bind(opts)
   opts = options.check(opts, QUEUE_BINDING, { "queue", "exchange" })
   return done(ask(self, C.MR_QUEUE_BIND, opts, opts.queue, opts.exchange, opts.routing_key))
end

--- Removes a binding.
-- @tparam table opts as of queue_bind
-- @treturn[1] true; also if the binding does not exist
-- @treturn[2] nil, error as of queue_bind
function declare:queue_unbind(opts)
   opts = options.check(opts, QUEUE_BINDING, { "queue", "exchange" })
   return done(ask(self, C.MR_QUEUE_UNBIND, opts, opts.queue, opts.exchange, opts.routing_key))
end

local function counted(reply, err)
   if reply then return reply.message_count end
   return nil, err
end

--- Empties a queue.
-- @tparam table opts queue (required; its name), timeout (seconds to wait for the broker's answer; default: the
-- option rpc_timeout)
-- @treturn[1] number messages dropped
-- @treturn[2] nil, error of kind not_found, access_refused, timeout...
function declare:queue_purge(opts)
   opts = options.check(opts, QUEUE_PURGE, { "queue" })
   return counted(ask(self, C.MR_QUEUE_PURGE, opts, opts.queue))
end

--- Deletes a queue.
-- @tparam table opts queue (required; its name), if_unused=false (true: only if it has no consumers), if_empty=false
-- (true: only if it has no messages), timeout (seconds to wait for the broker's answer; default: the option
-- rpc_timeout)
-- @treturn[1] number of messages dropped with it; 0 if the queue does not exist
-- @treturn[2] nil, error of kind precondition_failed (in use, or not empty), access_refused, timeout...
function declare:queue_delete(opts)
   opts = options.check(opts, QUEUE_DELETE, { "queue" })
   return counted(ask(self, C.MR_QUEUE_DELETE, opts, opts.queue))
end

return declare

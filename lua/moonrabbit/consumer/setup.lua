--- setup: prepares the broker for a consumer of mr.consumer: queue, bindings, dead letters, prefetch.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local awaited = require "moonrabbit.topology.awaited"
local chain = require "moonrabbit.consumer.middleware"
local companion = require "moonrabbit.channel.companion"
local errors = require "moonrabbit.base.errors"
local home = require "moonrabbit.connection.default"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local queue_type = require "moonrabbit.channel.queue_type"
local streams = require "moonrabbit.consumer.streams"
local time_limit = require "moonrabbit.loop.time_limit"
local topology = require "moonrabbit.topology.topology"

local setup = {}

local PREFETCH = 100
local NAME_SIZE = 255 -- the maximum bytes of a queue's name
local SPEC = { queue = "string|table", name = "string", connection = "table", prefetch = "number", concurrency = "number",
   retry = "function|boolean", dead_letter = "string|boolean", declare = "boolean", bindings = "table",
   consumer_tag = "string", exclusive = "boolean", priority = "number", arguments = "table", manual_ack = "boolean",
   topology = "table", settle_timeout = "number", stall = "number", time_limit = "number", on_lost = "function|string",
   on_cancel = "function", decode = "boolean|function", middleware = "table", handler = "function",
   queue_type = "string", companions = "table", stream = "table" }
local COMPANIONS = { queue_type = "string" }
local QUEUE = { queue = "string", durable = "boolean", exclusive = "boolean", auto_delete = "boolean",
   arguments = "table", queue_type = "string" }
local BINDING = { exchange = "string", routing_key = "string", arguments = "table", type = "string", durable = "boolean",
   auto_delete = "boolean", internal = "boolean" }

-- Options that are tables.
local function check_tables(opts)
   if type(opts.queue) == "table" then options.check(opts.queue, QUEUE) end
   if opts.queue == "" then options.blame('option "queue" is empty: for a name of the broker\'s give { exclusive = true }') end
   local arguments = type(opts.queue) == "table" and opts.queue.arguments
   if opts.exclusive and arguments and arguments["x-single-active-consumer"] then
      options.blame('option "exclusive": a queue with x-single-active-consumer has no exclusive consumers')
   end
   for i, b in ipairs(options.list_of("bindings", opts.bindings, BINDING)) do
      options.argument(i, "bindings", b, "table")
      options.check(b, BINDING, { "exchange" })
   end
end

-- Checks the names of the queues now, not when the first dead letter needs them.
local function check_names(opts)
   local queue = type(opts.queue) == "table" and opts.queue.queue or opts.queue
   if type(queue) ~= "string" then return end
   local dead = opts.dead_letter
   if #queue > NAME_SIZE then options.blame('option "queue" is longer than 255 bytes') end
   if dead == queue then options.blame('option "dead_letter" must be another queue than the one consumed') end
   if #(type(dead) == "string" and dead or dead ~= false and queue .. ".dead" or "") > NAME_SIZE then
      options.blame('option "dead_letter": the name of the queue would be longer than 255 bytes; give one, or false')
   end
end

-- The declaration of the queue, with its type among the arguments.
local function declaration_of(opts)
   local given = type(opts.queue) == "table" and opts.queue or { queue = opts.queue }
   local declaration = merged(given)
   if opts.queue_type and given.queue_type and given.queue_type ~= opts.queue_type then
      options.blame(('option "queue_type" is "%s", and that of "queue" is "%s": say it once'):format(opts.queue_type, given.queue_type))
   end
   declaration.queue_type = given.queue_type or opts.queue_type
   local is_typed = declaration.queue_type or given.arguments and given.arguments["x-queue-type"]
   if opts.stream and not is_typed and opts.declare ~= false then declaration.queue_type = "stream" end
   local is_passing = given.exclusive or given.auto_delete or not given.queue or given.queue == ""
   if given.durable == nil then declaration.durable = not is_passing end
   return queue_type.put(declaration), is_passing
end

local function check_companions(kind, is_passing)
   if not kind then return end
   queue_type.check("queue_type", kind)
   if kind == "stream" then options.blame('option "companions": messages do not wait in a stream: "quorum" or "classic"') end
   if kind == "quorum" and is_passing then
      options.blame('option "companions": those of an exclusive or auto-delete queue end with it: "classic"')
   end
end

--- Checks the options of mr.consumer.
function setup.check(opts)
   if type(opts) == "table" and type(opts.retry) == "table" then
      options.blame('option "retry" must be a policy, such as mr.retry.exponential { attempts = 3 }, or false')
   end
   options.check(opts, SPEC, { "queue", "handler" })
   options.whole("prefetch", opts.prefetch, 1, 65535)
   options.whole("concurrency", opts.concurrency, 1, 65535)
   options.seconds("settle_timeout", opts.settle_timeout)
   if opts.settle_timeout == 0 then options.blame('option "settle_timeout" must be more than 0') end
   time_limit.check(opts)
   if opts.connection then home.check('option "connection"', opts.connection) end
   if opts.topology then topology.check(opts.topology) end
   if opts.retry == true then options.blame('option "retry" must be a policy, such as mr.retry.exponential { attempts = 3 }, or false') end
   if type(opts.on_lost) == "string" and opts.on_lost ~= "continue" then
      options.blame('option "on_lost" must be "continue" or a function')
   end
   chain.check(opts.middleware or {})
   check_tables(opts)
   check_names(opts)
   local declaration, is_passing = declaration_of(opts)
   streams.check(opts, queue_type.of(declaration.arguments))
   check_companions(options.check(opts.companions, COMPANIONS).queue_type, is_passing)
end

--- Fills in queue, dead_letter, declaration and companions (the arguments of its other queues) of a worker.
function setup.prepare(self, opts)
   local declaration, is_passing = declaration_of(opts)
   self.declaration, self.queue, self.is_passing = declaration, declaration.queue or "", is_passing
   self.queue_type = queue_type.of(declaration.arguments)
   streams.prepare(self, opts)
   self.companions = companion.arguments(declaration.arguments, opts.companions and opts.companions.queue_type)
   local dead = opts.dead_letter
   if dead == nil then dead = not is_passing end
   if dead == true then dead = self.queue ~= "" and self.queue .. ".dead" end
   self.dead_letter = dead
end

local function bindings_of(opts) return options.list_of("bindings", opts.bindings, BINDING) end

-- Declares objects that others may bind to first, and reports them, so that two consumers do not wait for each other.
local function declare_own(self, ch)
   local opts, ok, err = self.options, true, nil
   if opts.topology then ok, err = opts.topology:apply(ch.connection) end
   for _, b in ipairs(bindings_of(opts)) do
      if ok and b.type then
         ok, err = ch:exchange_declare { exchange = b.exchange, type = b.type, durable = b.durable ~= false,
            auto_delete = b.auto_delete, internal = b.internal }
      end
   end
   if ok and opts.declare ~= false then
      ok, err = ch:queue_declare(self.declaration)
      if ok then self.queue = ok.queue end
   end
   if not ok then return nil, err end
   awaited.done(self)
   return true
end

-- A missing exchange may be declared later: the bind is tried again.
local function bind(self, ch, b)
   awaited.wait("exchange", b.exchange, self)
   local ok, err = ch:queue_bind { queue = self.queue, exchange = b.exchange, routing_key = b.routing_key,
      arguments = b.arguments }
   if not ok and err.kind == "not_found" then err.recoverable = true end
   return ok, err
end

-- The dead letter queue has the type of the queue; an existing one is used unchanged.
local function declare_dead_letter(self, ch)
   local declaration = { queue = self.dead_letter, durable = true, arguments = self.companions }
   local ok, is_ours = companion.declare(ch.connection, self.dead_letter, declaration)
   if not ok then return nil, is_ours end
   if not is_ours then return true end
   local reply, err = ch:queue_declare(declaration) -- on its own channel: it is restored with it
   return reply and true, err
end

local function declare(self, ch)
   local opts = self.options
   local done, why = declare_own(self, ch)
   if not done then return nil, why end
   if opts.declare == false then awaited.wait("queue", self.queue, self) end
   for _, b in ipairs(bindings_of(opts)) do
      local ok, err = bind(self, ch, b)
      if not ok then return nil, err end
   end
   if not self.dead_letter or opts.declare == false then return true end
   local ok, err = declare_dead_letter(self, ch)
   return ok, err
end

--- The objects that it will declare, for other parts of the program to wait for.
function setup.announce(self)
   local opts, exchanges, queues = self.options, {}, {}
   if opts.topology then
      local names = opts.topology:names()
      exchanges, queues = names.exchanges, names.queues
   end
   for _, b in ipairs(bindings_of(opts)) do
      if b.type then exchanges[#exchanges + 1] = b.exchange end
   end
   if opts.declare ~= false and self.queue ~= "" then queues[#queues + 1] = self.queue end
   awaited.announce(self, exchanges, queues)
end

--- The maximum number of unsettled messages that the program requested.
function setup.prefetch(self) return self.options.prefetch or PREFETCH end

--- True if a message over max_message_size is kept instead of rejected: if its dead letters must be kept, and the consumer has
-- not declared a dead letter exchange.
function setup.keeps_large(self)
   local arguments = self.declaration.arguments
   return not self.is_stream and self.dead_letter and not (arguments and arguments["x-dead-letter-exchange"])
end

--- Declares and binds everything on a channel.
-- @treturn[1] true
-- @treturn[2] nil, error, and the scope of the failure: "channel" or "topology"
function setup.run(self, ch)
   local ok, err = ch:qos { prefetch_count = setup.prefetch(self) }
   if not ok then return nil, err, "channel" end
   ok, err = declare(self, ch)
   if not ok then return nil, err, err.scope == "connection" and "connect" or "topology" end
   return true
end

--- Waits until a worker consumes; true, or nil and why not.
function setup.wait(self, timeout)
   local deadline = timeout and C.mr_now() + timeout
   while self.state ~= "consuming" do
      if self.state == "failed" then return nil, self.err end
      if self.state == "cancelled" then
         return nil, errors.new("cancelled", "channel", "the consumer was cancelled", "the program did that, or the broker")
      end
      local left = deadline and deadline - C.mr_now()
      if left and left <= 0 then
         if self.err and self.err.kind == "channel_limit_reached" then return nil, self.err end -- more time is of no use
         return nil, errors.new("timeout", "channel", "the consumer does not consume yet"
            .. (self.err and ": " .. self.err.text or ""),
            self.err and self.err.hint or "it goes on trying; the log says why it does not")
      end
      loop.wait_in(self.waiting, left)
   end
   return true
end

return setup

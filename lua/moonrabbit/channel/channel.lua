--- channel: AMQP's channel methods, under AMQP's own argument names.
-- SPDX-License-Identifier: MIT
-- Every method that sends a request waits for the answer and suspends only the calling coroutine.
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local declare = require "moonrabbit.channel.declare"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local generation = require "moonrabbit.loop.generation"
local merged = require "moonrabbit.base.merged"
local message = require "moonrabbit.channel.message"
local messages = require "moonrabbit.channel.iterator"
local options = require "moonrabbit.base.options"
local publish = require "moonrabbit.channel.publish"
local streams = require "moonrabbit.channel.streams"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local time_limit = require "moonrabbit.loop.time_limit"
local way = require "moonrabbit.channel.way"

local channel = {}

local Channel = { __name = "moonrabbit.channel",
   exchange_declare = declare.exchange_declare, exchange_delete = declare.exchange_delete,
   exchange_bind = declare.exchange_bind, exchange_unbind = declare.exchange_unbind,
   queue_declare = declare.queue_declare, queue_bind = declare.queue_bind, queue_unbind = declare.queue_unbind,
   queue_purge = declare.queue_purge, queue_delete = declare.queue_delete,
   publish = publish.publish, publish_async = publish.publish_async, wait_for_confirms = publish.wait_for_confirms,
   on_return = publish.on_return }
local getters = {}
channel.methods = Channel

function Channel.__index(self, key)
   local getter = getters[key]
   if getter then return getter(self) end
   return Channel[key]
end

function Channel.__tostring(self)
   return ("channel %d (%s)"):format(self.number, self.is_open and "open" or "closed")
end

--- True if the channel is open.
function getters.is_open(self) return self.handle ~= nil and C.mr_channel_is_open(self.handle) end
--- Its number.
function getters.id(self) return self.number end
--- Why it was closed: an error, or nil.
function getters.last_error(self) return self.err end

local refusal, ask, done = asking.refusal, asking.ask, asking.done

local JUST_TIMEOUT = asking.spec {}
local QOS = asking.spec { prefetch_count = "number", global = "boolean" }
local GET = asking.spec { no_ack = "boolean" }
local RECOVER = asking.spec { requeue = "boolean" }
local CONSUME = asking.spec { consumer_tag = "string", no_ack = "boolean", exclusive = "boolean",
   priority = "number", concurrency = "number", stall = "number", time_limit = "number", arguments = "table" }

--- Sets the prefetch: the maximum number of unsettled messages that the broker sends.
-- @tparam table opts prefetch_count (required; 0 to 65535, 0: no limit), global=false (false: for each consumer that
-- starts from now on; true: for all consumers of the channel together), timeout (seconds to wait for the broker's
-- answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error
function Channel:qos(opts)
   opts = options.check(opts, QOS, { "prefetch_count" })
   options.whole("prefetch_count", opts.prefetch_count, 0, 65535)
   local reply, err = ask(self, C.MR_BASIC_QOS, opts, nil, nil, nil, opts.prefetch_count)
   if reply then self.modes[opts.global and "global qos" or "qos"] = { "qos", opts } end
   return done(reply, err)
end

--- Makes the broker requeue all unsettled messages of the channel. Messages that were delivered before are stale from now
-- on: settling them fails.
-- @tparam[opt] table opts requeue=true (RabbitMQ supports only true: false closes the connection with not_implemented),
-- timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error
function Channel:recover(opts)
   opts = options.check(opts, RECOVER)
   for _, consumer in each(self.consumers) do
      if consumer.next_offset then return nil, message.not_of_streams "taken back" end
   end
   return done(ask(self, C.MR_BASIC_RECOVER, { requeue = opts.requeue ~= false, timeout = opts.timeout }))
end

--- Selects confirm mode; from now on `publish` waits for the broker's confirm.
-- @tparam[opt] table opts timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error
function Channel:confirm_select(opts)
   opts = options.check(opts, JUST_TIMEOUT)
   if not self.handle then return nil, refusal(self, errors.numbers.closed) end
   self.book = self.book or ticket.book() -- publishes are numbered from the request on
   local room = self.connection.options.republish
   if room and not self.book.keeps then self.book.keeps = { left = room } end
   self.modes.confirm = { "confirm_select" }
   return done(ask(self, C.MR_CONFIRM_SELECT, opts))
end

-- ---- transactions ----

-- `tx` is false, or has `is_open`: something was published or settled since the last commit; and `is_left`: on a connection
-- that was "lost" or "handed over" since.
local function end_tx(self)
   if self.tx then self.tx = { is_open = false, is_left = false } end
end

-- What a transaction held is rolled back with the connection that it began on: the error of that, or nil.
local function lost_tx(self)
   if not self.tx or not self.tx.is_left then return nil end
   local text = "the connection was %s while the transaction was open, which rolled it back"
   local err = errors.new("lost", "channel", text:format(self.tx.is_left))
   err.hint = "begin it again: publish and ack once more what it held"
   return err
end

--- Selects transaction mode: publishes and acks take effect at the commit.
-- @tparam[opt] table opts timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error
function Channel:tx_select(opts)
   self.modes.tx = { "tx_select" }
   self.tx = self.tx or { is_open = false, is_left = false }
   return done(ask(self, C.MR_TX_SELECT, options.check(opts, JUST_TIMEOUT)))
end

--- Commits the publishes and acks since the last commit.
-- @tparam[opt] table opts timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error of kind lost: the connection was lost or handed over in between, so all of it is rolled back, also
-- what came after that
function Channel:tx_commit(opts)
   opts = options.check(opts, JUST_TIMEOUT)
   local lost = lost_tx(self)
   local reply, err = ask(self, lost and C.MR_TX_ROLLBACK or C.MR_TX_COMMIT, opts)
   end_tx(self)
   if reply and lost then return nil, lost end
   return done(reply, err)
end

--- Rolls back the publishes and acks since the last commit.
-- @tparam[opt] table opts timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error
function Channel:tx_rollback(opts)
   local reply, err = ask(self, C.MR_TX_ROLLBACK, options.check(opts, JUST_TIMEOUT))
   if reply then end_tx(self) end
   return done(reply, err)
end

-- ---- consuming ----

--- Gets one message from a queue.
-- @tparam string queue its name
-- @tparam[opt] table opts no_ack=false (true: the message needs no ack), timeout (seconds to wait for the broker's answer;
-- default: the option rpc_timeout)
-- @treturn[1] message stays readable; settle it unless no_ack
-- @treturn[2] nil, error of kind empty (no message is ready), not_found, access_refused, timeout...
function Channel:get(queue, opts)
   options.argument(1, "queue", queue, "string")
   opts = options.check(opts, GET)
   local reply, err = ask(self, C.MR_BASIC_GET, opts, queue)
   if not reply then return nil, err end
   local msg = message.new(reply.delivery, self, true)
   rawset(msg, "queue", queue) -- there is no consumer to take it from
   if opts.no_ack then message.detach(msg) end
   return msg
end

local function start_consumer(self, queue, handler, opts, inner)
   opts = options.check(opts, CONSUME)
   options.whole("concurrency", opts.concurrency, 1, 65535)
   options.whole("priority", opts.priority, -2 ^ 31, 2 ^ 31 - 1)
   time_limit.check(opts)
   streams.check(opts)
   if opts.time_limit and not handler then options.blame('option "time_limit" is for handlers, not for messages()') end
   local arguments = opts.arguments
   if opts.priority then arguments = merged({ ["x-priority"] = opts.priority }, arguments) end
   task.check() -- or it would be known here, and never asked for
   local consumer = subscription.new(self, queue, handler, opts, inner)
   local flags = { no_ack = opts.no_ack, exclusive = opts.exclusive, arguments = arguments, timeout = opts.timeout }
   -- Deliveries may arrive in the same batch as consume-ok: so the consumer is ready for them before the request.
   consumer.flags = flags
   local reply, err = ask(self, C.MR_BASIC_CONSUME, flags, queue, opts.consumer_tag, nil, consumer.number)
   if reply then
      if consumer.state == "starting" then subscription.started(consumer, reply.name) end
      return consumer
   end
   subscription.ended(consumer, "failed", err)
   return nil, err
end

--- Starts a consumer. The handler is called with each message in a coroutine. When it returns, the message is acked, unless
-- the handler has settled it. When it fails, the message goes back to the queue and the traceback is logged. A message that
-- always fails is redelivered without end: give the queue a delivery limit.
-- @tparam string queue its name
-- @tparam function handler called with the message
-- @tparam[opt] table opts consumer_tag (its name on the channel; default: the broker's), no_ack=false (true: messages
-- need no ack), exclusive=false (true: no other consumer of the queue is allowed), priority (of this consumer, x-priority;
-- default: none, which the broker treats as 0), concurrency (maximum number of concurrent handlers; default: the prefetch),
-- stall (seconds after which a handler that does not wait is reported; default: of mr.watchdog), time_limit
-- (seconds after which a handler is aborted: docs/watchdog.md; default: none), arguments (of basic.consume; default:
-- none), timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] consumer fields tag, queue, state; method cancel
-- @treturn[2] nil, error of kind not_found, access_refused (exclusive, and there is another consumer), timeout...
function Channel:consume(queue, handler, opts)
   options.argument(1, "queue", queue, "string")
   options.argument(2, "handler", handler, "function")
   generation.refuse("ch:consume")
   local consumer, err = start_consumer(self, queue, handler, opts)
   if consumer then generation.note("consumers", consumer) end
   return consumer, err
end

--- Iterates over the messages of a queue: `for msg in assert(ch:messages("q")) do msg:ack() end`.
-- The program settles each message. The loop ends when the consumer is cancelled or its channel closes; `consumer.err` has
-- the reason, nil if the program cancelled it. Leaving the loop by `break` does not cancel the consumer, which is the second
-- result: the program can continue to read, or cancel it. Several tasks may read one iterator.
-- @tparam string queue its name
-- @tparam[opt] table opts as of consume, without concurrency
-- @treturn[1] function iterator
-- @treturn[1] consumer
-- @treturn[2] nil, error
function Channel:messages(queue, opts)
   options.argument(1, "queue", queue, "string")
   generation.refuse("ch:messages")
   local consumer, err = start_consumer(self, queue, nil, opts)
   if not consumer then return nil, err end
   generation.note("consumers", consumer)
   return messages.iterator(consumer), consumer
end

--- For mr.consumer: consume with the further options of subscription.new.
channel.consume = start_consumer

-- ---- its beginning and its end ----

--- Books of channels that are gone while publishes are still to be answered, by channel epoch.
channel.books = {}

--- Ends all of these publishes: nobody will tell of them any more.
function channel.lose_books()
   for _, book in each(channel.books) do ticket.lose_all(book) end
   channel.books = {}
end

local function closed_by_program() return errors.new("closed", "channel", "the channel was closed by the program") end

--- The object of a channel that C has made.
function channel.wrap(conn, handle)
   local number = C.mr_channel_number(handle)
   local before = conn.channels[number] -- it has ended, though who closes it has not gone on yet
   if before then channel.gone(before, closed_by_program()) end
   local ch = setmetatable({ connection = conn, handle = handle, number = number, consumers = {}, book = false,
      lost = {}, again = {}, modes = {}, tx = false, settled_below = false, epoch = C.mr_channel_epoch(handle) }, Channel)
   conn.channels[number] = ch
   return ch
end

-- Publishes that wait for an answer have it from the book, those that are to be sent again never go out.
local function leave_book(ch, err)
   ch.book.reason, ch.book.cause = err.text, err
   for _, range in ipairs(ch.lost) do ticket.settle(ch.book, range[1], range[2], errors.numbers.lost) end
   local again = ch.again
   ch.again = {}
   for _, t in ipairs(again) do ticket.lose(t, err.text, ch.book.tally) end
   if ch.book.outstanding > 0 then channel.books[ch.epoch] = ch.book end
end

--- The channel is of no more use: its consumers end, its handle goes.
function channel.gone(ch, err)
   if not ch.handle then return end
   local handle, channels = ch.handle, ch.connection.channels
   ch.err, ch.handle = err, nil
   if ch.book then leave_book(ch, err) end
   if channels[ch.number] == ch then channels[ch.number] = nil end
   if ch.on_away then ch.on_away(err) end
   local by_program = err.kind == "closed"
   for _, consumer in each(ch.consumers) do
      subscription.ended(consumer, by_program and "cancelled" or "failed", not by_program and err or nil)
   end
   ch.epoch = 0
   C.mr_channel_free(handle)
   way.wake(ch.connection) -- those who wait to publish on it: there is no way any more
end

--- Closes the channel; allowed anywhere, also in a handler.
-- @treturn[1] true; also if it was closed before
-- @treturn[2] nil, error
function Channel:close()
   if not self.handle then return true end
   if not self.is_open and not C.mr_channel_is_suspended(self.handle) then return true end
   local token = task.token()
   local status = C.mr_channel_close(self.handle, token)
   if status ~= 0 then return status == errors.numbers.closed or nil, refusal(self, status) end
   local reply = task.wait(token)
   channel.gone(self, closed_by_program())
   return done(not reply.err and reply, reply.err)
end

return channel

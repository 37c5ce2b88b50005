--- consumer: mr.consumer: consumes a queue with a handler, and recovers from every failure.
-- SPDX-License-Identifier: MIT
local apart = require "moonrabbit.connection.apart"
local chain = require "moonrabbit.consumer.middleware"
local generation = require "moonrabbit.loop.generation"
local home = require "moonrabbit.connection.default"
local lifecycle = require "moonrabbit.consumer.lifecycle"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local outcome = require "moonrabbit.consumer.outcome"
local setup = require "moonrabbit.consumer.setup"
local streams = require "moonrabbit.consumer.streams"
local task = require "moonrabbit.loop.task"
local unsettled = require "moonrabbit.consumer.unsettled"

local consumer = {}

--- A worker. Fields: `name`, `queue`, `state` ("starting", "consuming", "recovering", "failed", "cancelled"),
-- `err` (why it is not consuming), `next_try` (the time of the next try, by mr.now()), `connection`, `channel`,
-- `running` (number of running handlers), `dead_letter` (the queue of dead letters, or false).
local Worker = { __name = "moonrabbit.worker" }
local getters = {}
function Worker.__index(self, key)
   local getter = getters[key]
   if getter then return getter(self) end
   return Worker[key]
end
function Worker.__tostring(w) return ("consumer %s of %q (%s)"):format(w.name, w.queue, w.state) end

function getters.running(self) return self.inner and self.inner.running or 0 end
--- In a stream: the offset of the last handled message; all before it are handled, too. Nil: none yet.
function getters.offset(self) return streams.offset(self) end
function getters.tag(self) return self.inner and self.inner.tag end

-- Fields that the program may change while the consumer runs.
local function adopt(self, opts)
   self.options = opts
   self.retry = opts.retry == nil and outcome.policy or opts.retry
   self.middleware = {}
   for i, fn in ipairs(opts.middleware or {}) do self.middleware[i] = fn end
   self:_rebuild()
end

function Worker:_rebuild()
   local run = chain.build(self.options.handler, self.middleware, self.options.decode)
   self.handler = streams.wrap(self, self.overdue and self.overdue:watching(run) or run, function() self:_rebuild() end)
   if self.inner then self.inner.handler = self.handler end
end

--- Consumes a queue with a handler and keeps consuming: it waits for a broker that is not running yet, recovers from every
-- loss, and retries failed messages later.
-- The handler's result decides about the message: nothing or true acks it; nil (or false) and an error, or a raised error,
-- calls the retry policy; "requeue", "reject", "dead_letter" (with a reason) and {retry = seconds} are direct decisions.
-- @tparam table opts queue (required; a name, or the options of queue_declare; durable unless they say otherwise),
-- handler (required; function(msg) or function(msg, decoded)), queue_type ("classic", "quorum" or "stream"; default: of
-- mr.defaults), name (in the log; default: the queue's), connection
-- (the connection to use; default: one for all consumers), prefetch=100 (maximum number of unsettled messages),
-- concurrency (maximum number of concurrent handlers; default: prefetch), retry (a policy of the scope message; default:
-- exponential from 0.5 to 60 s, 8 attempts; false: none), dead_letter=true (QUEUE.dead; a name; false: the queue's own dead
-- letter exchange, if any), companions (queue_type: "quorum" or "classic", of its delay queues, exit and dead letters;
-- default: of the queue, and for a stream that of mr.defaults), declare=true (false: the queue exists), bindings (list of
-- {exchange, routing_key, arguments; with type, durable=true...: the exchange is declared, too}, or one of them; default:
-- none), topology (of
-- mr.topology: declared first; default: none), decode=false (true: msg:decode(); or a function(msg): its result is
-- the handler's second argument, messages that fail go to the dead letters), middleware (list of functions(msg, next);
-- default: none), manual_ack=false (true: the handler's return does not ack), settle_timeout (seconds after which an
-- unsettled message is reported with its handler; default: none), stall (seconds after which a handler that does not
-- wait is reported; default: of mr.watchdog), time_limit (seconds after which a handler is aborted: docs/watchdog.md;
-- default: none), on_lost="continue" (consumes again when possible; or a function(err) that is also called), on_cancel
-- (function(err), called when the broker cancels it; default: none), consumer_tag (its name on the channel; default:
-- the broker's), exclusive=false (true: no other consumer of the queue is allowed), priority (of this consumer, x-priority;
-- default: none, which the broker treats as 0), arguments (of basic.consume; default: none), stream (of a stream,
-- docs/streams.md: where it begins and keeps its offset: { offset, name, store, save_every }; default: none)
-- @treturn worker methods cancel, use, wait
function consumer.new(opts)
   setup.check(opts)
   if generation.is_staging() then return generation.note("workers", consumer.make(opts)) end -- checked, not begun
   return consumer.start(consumer.make(opts))
end

-- Not started yet.
function consumer.make(opts)
   local self = setmetatable({ state = "starting", waiting = {}, was_consuming = false, kept = 0, room = 0 }, Worker)
   self.connection = home.connection(opts.connection)
   setup.prepare(self, opts)
   self.name = opts.name or self.queue
   self.apart = apart.new(self.connection, self.name)
   if opts.settle_timeout then self.overdue = unsettled.new(self, opts.settle_timeout) end
   adopt(self, opts)
   return self
end

function consumer.start(self)
   lifecycle.start(self)
   return self
end

--- Adds a middleware inside the existing ones: fn(msg, next) calls next(msg), and may return another result than the
-- handler. It applies to future messages.
-- @tparam function fn function(msg, next)
-- @treturn worker itself
function Worker:use(fn)
   options.argument(1, "fn", fn, "function")
   table.insert(self.middleware, fn)
   self:_rebuild()
   return self
end

--- Waits until it consumes.
-- @tparam[opt] number timeout seconds; nil: no limit
-- @treturn[1] true
-- @treturn[2] nil, error why it does not consume, or of kind timeout or cancelled
function Worker:wait(timeout)
   options.seconds("timeout", timeout)
   local ok, err = setup.wait(self, timeout)
   return ok, err
end

--- Cancels it. Messages that no handler has seen go back to the queue; running handlers finish, then the channel closes.
-- With manual_ack, messages that are unsettled then go back, too.
-- @treturn[1] true
-- @treturn[2] nil, error
function Worker:cancel()
   loop.begin()
   if self.err and self.err.kind == "forked" then return nil, self.err end
   if lifecycle.has_ended(self) then return true end
   task.check()
   lifecycle.finish(self, "cancelled")
   local ok, err = true, nil
   if self.inner then ok, err = self.inner:cancel() end
   lifecycle.retire(self)
   return ok, err
end

-- Calls fn for each worker that has not ended.
function consumer.each(fn)
   for _, self in ipairs { unpack(lifecycle.list()) } do fn(self) end
end

return consumer

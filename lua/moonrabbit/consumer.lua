--- consumer: mr.consumer: a queue and what the program does with its messages, kept going whatever happens.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.ffi").C
local chain = require "moonrabbit.chain"
local drain = require "moonrabbit.drain"
local edition = require "moonrabbit.edition"
local home = require "moonrabbit.home"
local log = require "moonrabbit.log"
local loop = require "moonrabbit.loop"
local options = require "moonrabbit.options"
local overdue = require "moonrabbit.overdue"
local progress = require "moonrabbit.progress"
local retry = require "moonrabbit.retry"
local setup = require "moonrabbit.setup"
local task = require "moonrabbit.task"
local verdict = require "moonrabbit.verdict"

local consumer = {}

--- A worker. Fields: `name`, `queue`, `state` ("starting", "consuming", "recovering", "failed", "cancelled"),
-- `err` (why it is not consuming), `next_try` (when it is tried again, by mr.now()), `connection`, `channel`,
-- `running` (handlers at work), `dead_letter` (the queue of dead letters, or false).
local Worker = { __name = "moonrabbit.worker" }
local getters = {}
function Worker.__index(self, key)
   local getter = getters[key]
   if getter then return getter(self) end
   return Worker[key]
end
function Worker.__tostring(w) return ("consumer %s of %q (%s)"):format(w.name, w.queue, w.state) end

function getters.running(self) return self.inner and self.inner.running or 0 end
function getters.tag(self) return self.inner and self.inner.tag end

local workers = {}             -- in the order of their making
local builtin = retry.exponential { first = 0.5, max = 30 }

-- What the program may change while the consumer runs.
local function adopt(self, opts)
   self.options = opts
   self.retry = opts.retry == nil and verdict.policy or opts.retry
   self.middleware = {}
   for i, fn in ipairs(opts.middleware or {}) do self.middleware[i] = fn end
   self:_rebuild()
end

function Worker:_rebuild()
   local run = chain.build(self.options.handler, self.middleware, self.options.decode)
   self.handler = self.overdue and self.overdue:watching(run) or run
   if self.inner then self.inner.handler = self.handler end
end

-- ---- its life ----

local function wake(self)
   local waiting = self.waiting
   self.waiting = {}
   for _, token in ipairs(waiting) do task.wake(token, true) end
end

local function enter(self, state, err)
   self.state, self.err, self.next_try = state, err, nil
   wake(self)
end

local function end_for_good(self, state, err)
   enter(self, state, err)
   if self.overdue then self.overdue:stop() end
   for i, other in ipairs(workers) do
      if other == self then table.remove(workers, i) break end
   end
end

local function give_up(self, err)
   log.error("consumer failed", { queue = self.queue, kind = err.kind, error = err.text, hint = err.hint })
   end_for_good(self, "failed", err)
   drain.note_loss(err)
end

-- Is trying again of no use, or not wanted?
local function is_final(self, err, scope)
   local o = self.connection.options
   if self.connection.released then return true end
   if scope == "connect" and (o.transport_options or o.connection_attempts) then return true end -- it has tried itself
   return not err.recoverable and not self.was_consuming
end

local function nap(self, seconds)
   self.next_try = C.mr_now() + seconds
   local token = task.token()
   table.insert(self.waiting, token)
   loop.wait(token, seconds)
end

-- One try. True, or nil, error and the scope of what failed.
local function try(self)
   if self.channel then self.channel:close() end
   self.channel = nil
   local ch, err = self.connection:channel()
   if not ch then return nil, err, "connect" end
   self.channel = ch
   local ok, scope
   ok, err, scope = setup.run(self, ch)
   if not ok then return nil, err, scope end
   local inner
   inner, err = ch:_consume(self.queue, self.handler, { consumer_tag = self.options.consumer_tag,
      exclusive = self.options.exclusive, priority = self.options.priority, arguments = self.options.arguments,
      concurrency = self.options.concurrency, stall = self.options.stall, time_limit = self.options.time_limit },
      { owner = self, judge = verdict.judge, trace = verdict.trace, is_manual = self.options.manual_ack,
      origin = progress.origin(self.options.handler), listener = function(what, why) self:_hear(what, why) end })
   if not inner then return nil, err, "channel" end
   self.inner = inner
   return true
end

local function ask_policy(self, attempt, err, scope, began)
   local word = retry.decide(self.connection.options.retry, { scope = scope, attempt = attempt, err = err,
      elapsed = C.mr_now() - began }, builtin)
   if type(word) == "number" and not err.recoverable then return math.max(word, 30) end -- as recovery does: at the cap
   return word == "next_host" and 0 or word
end

local function is_over(self) return self.state == "cancelled" or drain.is_asked() end

-- Tries until it consumes, or there is no point in it.
local function run(self)
   local attempt, began = 0, C.mr_now()
   while not is_over(self) do
      local ok, err, scope = try(self)
      if ok and is_over(self) then return self.channel:close() end -- meanwhile
      if ok then
         self.was_consuming = true
         log.info("consuming", { queue = self.queue, tag = self.inner.tag })
         return enter(self, "consuming")
      end
      if is_over(self) then return end
      attempt = attempt + 1
      local word = is_final(self, err, scope) and "stop" or ask_policy(self, attempt, err, scope, began)
      if word == "stop" then return give_up(self, err) end
      log.warn("consumer not started; trying again", { queue = self.queue, attempt = attempt, delay = word, kind = err.kind,
         error = err.text })
      enter(self, "recovering", err)
      nap(self, word)
   end
end

-- The I/O thread or the broker says what has become of it. Called by the dispatcher: nothing here may wait.
function Worker:_hear(what, err)
   if self.state == "cancelled" then return end
   if what == "resumed" then return enter(self, "consuming") end
   if what == "ended" and not err then return end_for_good(self, "cancelled") end
   local fn = self.options.on_lost
   if err and err.kind == "cancelled" then fn = self.options.on_cancel end
   if type(fn) == "function" and self.state == "consuming" then task.later(fn, err) end
   enter(self, "recovering", err)
   if what == "suspended" then return end
   -- It is not brought back by the connection: by us, unless nothing is to be.
   if self.connection.options.recover == false then return end_for_good(self, "failed", err) end
   task.later(run, self)
end

--- Consumes a queue with a handler, and sees to it that this goes on: it waits for a broker that is not there
-- yet, comes back after every loss, and gives failed messages another try later.
-- What the handler returns decides: nothing or true acks; nil (or false) and an error, or an error raised, asks
-- the retry policy; "requeue", "reject", "dead_letter" (with a reason) and {retry = seconds} say it outright.
-- @tparam table opts queue (a name, or the options of queue_declare; durable unless they say otherwise),
-- handler(msg [, decoded]); name (default: the queue's), connection (default: one for all consumers, to the usual
-- place), prefetch=100, concurrency (handlers at once; default: prefetch), retry (a policy of the scope message;
-- default: exponential from 0.5 to 60 s, 8 attempts; false: none), dead_letter=true (QUEUE.dead; a name; false: the
-- queue's own dead letter exchange, if any), declare=true, bindings (list of {exchange, routing_key, arguments; with
-- type, durable=true...: the exchange is declared, too}), decode (true: msg:decode(); or a function(msg): its result is
-- the handler's second argument, what fails goes to the dead letters), middleware (list of functions(msg, next)),
-- manual_ack=false (the handler's return acks nothing), settle_timeout (seconds after which an unsettled message is
-- reported with its handler), stall (seconds after which a handler that does not wait is reported; default: of
-- mr.watchdog), time_limit (seconds after which a handler is aborted: docs/watchdog.md), on_lost="continue" (or a
-- function(err)), on_cancel (function(err)), consumer_tag, exclusive, priority, arguments
-- @treturn worker methods cancel, use, wait
function consumer.new(opts)
   setup.check(opts, 2)
   if edition.is_staging() then return edition.consumer(opts, consumer.make) end
   return consumer.start(consumer.make(opts))
end

-- Not started yet.
function consumer.make(opts)
   local self = setmetatable({ state = "starting", waiting = {}, was_consuming = false }, Worker)
   self.connection = home.connection(opts.connection)
   setup.prepare(self, opts)
   self.name = opts.name or self.queue
   if opts.settle_timeout then self.overdue = overdue.new(self, opts.settle_timeout) end
   adopt(self, opts)
   return self
end

function consumer.start(self)
   table.insert(workers, self)
   task.spawn(run, self)
   return self
end

--- Puts a function around the handler, within those that are there: fn(msg, next) calls next(msg) and may return
-- another word than the handler's. It holds for messages to come.
-- @tparam function fn
-- @treturn worker itself
function Worker:use(fn)
   options.argument(1, "fn", fn, "function")
   table.insert(self.middleware, fn)
   self:_rebuild()
   return self
end

--- Waits until it consumes.
-- @tparam[opt] number timeout seconds
-- @treturn[1] true
-- @treturn[2] nil, error why it does not, or of kind timeout or cancelled
function Worker:wait(timeout)
   options.seconds("timeout", timeout)
   local ok, err = setup.wait(self, timeout)
   return ok, err
end

-- A channel is closed once no handler needs it for settling.
local function close_later(self)
   local inner, ch = self.inner, self.channel
   while inner and inner.running > 0 and ch.handle do loop.sleep(0.05) end
   ch:close()
end

--- Ends it. What no handler has seen goes back to the queue; handlers at work finish.
-- @treturn[1] true
-- @treturn[2] nil, error
function Worker:cancel()
   if self.state == "cancelled" or self.state == "failed" then return true end
   end_for_good(self, "cancelled")
   local ok, err = true, nil
   if self.inner then ok, err = self.inner:cancel() end
   if self.channel then task.background(close_later, self) end
   return ok, err
end

consumer.end_for_good, consumer.close_later, consumer.list = end_for_good, close_later, function() return workers end

-- Calls fn for each worker that has not ended.
function consumer.each(fn)
   for _, self in ipairs { unpack(workers) } do fn(self) end
end

loop.on_close(function() workers = {} end)

return consumer

--- streams: mr.consumer of a stream: where it begins, which messages are handled, and where that is kept.
-- SPDX-License-Identifier: MIT
-- A stream's messages can only be acked. So a failed message is tried again in this process, unacked, and then goes to the dead
-- letters; and this program itself knows what it has handled: see progress.
local C = require("moonrabbit.base.ffi").C
local arguments_of = require "moonrabbit.channel.streams"
local errors = require "moonrabbit.base.errors"
local files = require "moonrabbit.consumer.offset_file"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local message = require "moonrabbit.channel.message"
local options = require "moonrabbit.base.options"
local outcome = require "moonrabbit.consumer.outcome"
local progress = require "moonrabbit.consumer.progress"
local stop = require "moonrabbit.loop.stop"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"
local value = require "moonrabbit.base.value"

local streams = {}

local ACK = C.MR_ACK
local EVERY = 1 -- seconds between two writes of an offset
local LOOK = 0.05
local OTHER = 30 -- seconds for the last handlers of another consumer of the same name

local SPEC = { offset = "string|number|table|cdata", name = "string", store = "table", save_every = "number" }
local STORE = { load = "function", save = "function" }

local keeping = {} -- the workers whose offset is to be kept once more

-- Results of a stream's handler, for its judge.
local DONE, SKIPPED = outcome.DONE, {}

-- ---- options ----

-- { timestamp = seconds }, beside mr.timestamp(seconds)
local function is_timestamp(offset) return type(offset) == "table" and not value.type_of(offset) and offset.timestamp ~= nil end

local function check_stream(stream)
   options.check(stream, SPEC)
   if is_timestamp(stream.offset) then options.check(stream.offset, { timestamp = "number" })
   elseif stream.offset ~= nil then arguments_of.check_offset('option "stream.offset"', stream.offset) end
   if stream.name == "" then options.blame 'option "stream.name" is empty' end
   if stream.store then options.check(stream.store, STORE, { "load", "save" }) end
   if stream.store and not stream.name then options.blame 'option "stream.store" needs "stream.name", under which it keeps the offset' end
   if stream.save_every and not stream.name then options.blame 'option "stream.save_every" needs "stream.name"' end
   if stream.save_every and stream.save_every <= 0 then options.blame 'option "stream.save_every" must be more than 0 seconds' end
end

--- Checks the options of mr.consumer that are about streams.
-- @tparam table opts
-- @tparam string kind of the queue, by its declaration
function streams.check(opts, kind)
   local stream, arguments = opts.stream, opts.arguments or {}
   if stream then check_stream(stream) end
   if stream and stream.offset ~= nil and arguments[arguments_of.OFFSET] ~= nil then
      options.blame 'option "stream.offset" and the argument "x-stream-offset": say it once'
   end
   if stream and kind ~= "stream" and opts.declare ~= false then
      options.blame(('option "stream": the queue is declared as a %s queue'):format(kind))
   end
   arguments_of.check { arguments = arguments }
   if not stream and kind ~= "stream" then return end
   if opts.priority then options.blame 'option "priority": the consumers of a stream have none; each of them gets all messages' end
   if opts.exclusive then options.blame 'option "exclusive": a stream ignores it; each of its consumers gets all messages' end
end

--- Prepares a worker whose queue is a stream, or may be one.
function streams.prepare(self, opts)
   local stream = opts.stream
   self.is_stream = stream ~= nil or self.queue_type == "stream"
   self.stream = merged(stream)
   local offset = self.stream.offset
   if is_timestamp(offset) then self.stream.offset = value.timestamp(offset.timestamp) end
   self.progress = false
   if self.stream.name then self.store = self.stream.store or files.store(self.queue) end
end

-- ---- where it begins ----

-- The offset that was kept; nil: none.
local function load(self)
   local done, offset, err = pcall(self.store.load, self.stream.name)
   if not done then offset, err = nil, offset end
   if offset == nil and err == nil then return nil end
   if type(offset) == "cdata" then offset = tonumber(offset) end
   if type(offset) == "number" and offset >= 0 and offset == math.floor(offset) then return offset end
   local why = err ~= nil and errors.words(err) or ("it gave %s instead of a whole number"):format(errors.words(offset))
   local failure = errors.new("handler_failed", "config", ("the offset %q cannot be loaded: %s"):format(self.stream.name, why))
   if errors.is(err) then failure.recoverable, failure.hint = err.recoverable, err.hint end
   return nil, failure
end

local function save(self)
   local position = self.progress and self.progress:position()
   if not position or position == 0 or position == self.kept_position or self.is_saving then return end
   self.is_saving = true
   local done, ok, err = pcall(self.store.save, self.stream.name, position - 1)
   self.is_saving = false
   if done and (ok or err == nil) then
      self.kept_position, self.save_failed = position, nil
      return
   end
   local why = errors.words(done and err or ok)
   local fields = { queue = self.queue, name = self.stream.name, offset = position - 1, error = why }
   if self.save_failed == why then log.debug("the offset of a stream cannot be kept", fields)
   else log.error("the offset of a stream cannot be kept", fields) end
   self.save_failed = why
end

local function leave(self)
   for i, other in ipairs(keeping) do
      if other == self then table.remove(keeping, i) break end
   end
end

local function save_last(self)
   while self.is_saving do loop.sleep(LOOK) end
   save(self)
   leave(self)
end

-- True if one before it, which has ended, is about to keep its last offset under the same name.
local function is_another_ending(self)
   for _, other in ipairs(keeping) do
      if not other.saver and other.queue == self.queue and other.stream.name == self.stream.name then return true end
   end
   return false
end

-- Of two consumers, one after the other, the second one must begin where the first one ended.
local function wait_for_other(self)
   local deadline = C.mr_now() + OTHER
   while is_another_ending(self) and C.mr_now() < deadline do loop.sleep(LOOK) end
end

local function begin_saving(self)
   self.saver = loop.every(self.stream.save_every or EVERY, function() save(self) end)
   keeping[#keeping + 1] = self
end

--- Loads the offset that is kept, at the first start. It may wait.
-- @treturn[1] true
-- @treturn[2] nil, error: it must not begin anywhere else
function streams.begin(self)
   if not self.is_stream or self.progress then return true end
   local offset, err
   if self.store then
      wait_for_other(self)
      offset, err = load(self)
      if err then return nil, err end
   end
   self.progress = progress.new(offset and offset + 1)
   self.kept_position = offset and offset + 1
   if self.store and not self.saver then begin_saving(self) end
   return true
end

--- One takes over the consumer of another, with all that it has handled: of the script before a reload.
function streams.take_over(self, other)
   self.is_stream, self.progress, self.kept_position, self.began = other.is_stream, other.progress, other.kept_position, other.began
   if not other.saver then return end
   loop.cancel(other.saver)
   other.saver = nil
   leave(other)
   begin_saving(self)
end

-- One that begins at what comes from now on, and has got nothing yet, would miss what came since its first start: so it begins
-- again at that time. (A consumer that the runtime restores does, too.)
local function where_it_began(self)
   local offset = self.stream.offset
   local given = offset
   if given == nil then given = (self.options.arguments or {})[arguments_of.OFFSET] end
   if not self.is_stream or given ~= nil and given ~= "next" then return offset end
   if self.was_consuming and self.began then return value.timestamp(self.began) end
   self.began = os.time()
   return offset
end

--- The arguments of its next basic.consume.
function streams.arguments(self)
   local arguments = self.options.arguments
   local offset = self.progress and self.progress:position() or where_it_began(self)
   if offset == nil then return arguments end
   return merged(arguments, { [arguments_of.OFFSET] = offset })
end

--- The offset of the last handled message; nil: there is none yet, or its queue is no stream.
function streams.offset(self)
   local position = self.progress and self.progress:position()
   return position and position > 0 and position - 1 or nil
end

--- Its queue is gone: another stream with its name has other messages.
function streams.forget(self)
   if self.progress then self.progress, self.kept_position = progress.new(0), nil end
end

--- The broker has cancelled it, perhaps because its queue is gone.
function streams.suspect(self)
   if self.progress then self.progress.is_suspect = true end
end

--- It has ended: its offset is kept once more when its last handler has ended.
function streams.finish(self)
   if not self.saver then return end
   loop.cancel(self.saver)
   self.saver = nil
   task.background(function()
      while self.inner and self.inner.running > 0 do loop.sleep(LOOK) end
      save_last(self)
   end)
end

-- At the end of the program the handlers have ended.
stop.at_end(function()
   for _, self in ipairs { unpack(keeping) } do save_last(self) end
end)

-- ---- its messages ----

-- (A function of its own: LuaJIT does not compile one that makes a closure.)
local function wait_for(now, offset)
   local token = task.token()
   now:wait(offset, function() task.wake(token, true) end)
   task.wait(token)
end

-- A message that a handler has already, from before its connection was lost: waits for it.
local function await(now, offset)
   local what, failed = now:begin(offset)
   while what == "running" do
      wait_for(now, offset)
      what, failed = now:begin(offset)
   end
   return what, failed
end

local function result_of(msg, a, b)
   if b ~= nil or a ~= nil and a ~= true then return a, b end
   b = rawget(msg, message.FAILED)
   if b ~= nil and a == nil then return nil, b end
   return DONE
end

--- Wraps the handler of a worker: only messages that are not handled yet reach it. The first message shows whether the queue is
-- a stream.
-- @tparam worker self
-- @tparam function run
-- @tparam function on_plain called once if it is none: then the handler needs no wrap
function streams.wrap(self, run, on_plain)
   if self.is_plain then return run end
   return function(msg)
      local offset = msg.offset
      if not offset then
         if not self.is_stream then
            self.is_plain = true
            on_plain()
         end
         return run(msg)
      end
      if not self.progress then
         self.is_stream, self.progress = true, progress.new()
      end
      if self.progress.is_suspect then self.progress:look(offset) end
      if not rawget(msg, outcome.AGAIN) then
         local what, failed = await(self.progress, offset)
         if what == "handled" then return SKIPPED end
         if failed > 0 then rawset(msg, "attempt", failed + 1) end
      end
      return result_of(msg, run(msg))
   end
end

-- Decides about a message of a stream, and notes what it is now.
local function judge(self, consumer, msg, ok, a, b)
   local offset, now = msg.offset, self.progress
   if a == DONE and consumer.is_manual then
      now:left(offset, 0) -- unless it is acked by now: if it is lost, it is handled again
      return nil
   end
   if a == DONE then
      now:handled(offset)
      return ACK, 0
   end
   local how, flags = outcome.judge(consumer, msg, ok, a, b)
   if how == ACK and (msg.is_live or rawget(msg, outcome.BURIED)) then now:handled(offset)
   else now:left(offset, msg.attempt) end
   return how, flags
end

--- The judge of a worker's consumer; see outcome.judge.
function streams.judge(consumer, msg, ok, a, b)
   if a == SKIPPED then return ACK, 0 end
   local self = consumer.owner
   if not self.progress or not msg.offset then return outcome.judge(consumer, msg, ok, a, b) end
   return judge(self, consumer, msg, ok, a, b)
end

-- The program acked it itself.
message.hear_stream_acks(function(number, offset, is_multiple)
   local consumer = subscription.known(number)
   local now = consumer and consumer.owner and consumer.owner.progress
   if not now then return end
   if is_multiple then now:handled_up_to(offset) else now:handled(offset) end
end)

loop.on_close(function() keeping = {} end)

return streams

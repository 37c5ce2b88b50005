--- handover: a new connection takes over from one that still works, without a gap.
-- SPDX-License-Identifier: MIT
-- Consumers start on the new connection, then stop on the old one; deliveries of the old connection are settled there.
-- Nothing is redelivered. The program keeps its objects.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local channel = require "moonrabbit.channel.channel"
local connection = require "moonrabbit.connection.connection"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local handling = require "moonrabbit.channel.delivery"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local recovery = require "moonrabbit.connection.recovery"
local streams = require "moonrabbit.channel.streams"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local time_limit = require "moonrabbit.loop.time_limit"

local handover = {} -- what init installs

local PATIENCE = 30 -- seconds for handlers that have a message of the old connection

-- A channel on the new connection, in the modes of the old one, with its consumers.
local function twin_of(ch, twin_conn)
   local twin, err = twin_conn:channel()
   if not twin then return nil, err end
   local ok = true
   for _, mode in each(ch.modes) do
      if ok then ok, err = twin[mode[1]](twin, mode[2]) end
   end
   for _, consumer in each(ch.consumers) do
      if ok and consumer.state ~= "resting" then
         local flags = consumer.next_offset and streams.at(consumer.flags, consumer.next_offset) or consumer.flags
         ok, err = asking.ask(twin, C.MR_BASIC_CONSUME, flags, consumer.queue, consumer.tag, nil, consumer.number)
      end
   end
   if not ok then return nil, err end
   return twin
end

local function without_twin(self, twins)
   for _, ch in each(self.channels) do
      if ch.handle and not twins[ch] then return ch end
   end
end

-- Other tasks run in the meantime: they may open channels, or release the connection.
local function twins_of(self, twin_conn)
   local twins = {}
   local ch = without_twin(self, twins)
   while ch do
      local twin, err = twin_of(ch, twin_conn)
      if not twin then return nil, err end
      twins[ch] = twin
      ch = without_twin(self, twins)
   end
   if self.released then return nil, self.gone end
   return twins
end

-- The program's object now stands for the new channel; the old channel gets another object.
local function swap_channel(ch, twin)
   local old = { handle = ch.handle, epoch = ch.epoch, tags = {}, has_answers = ch.pending and ch.pending() }
   for _, consumer in each(ch.consumers) do
      old.tags[#old.tags + 1] = consumer.tag
      consumer.is_missing = false
   end
   if ch.book then
      if ch.book.outstanding > 0 then channel.books[ch.epoch] = ch.book end
      ch.book = ticket.book(ch.book)
   end
   ch.handle, ch.number, ch.epoch, ch.settled_below = twin.handle, twin.number, twin.epoch, false
   twin.handle = nil
   if ch.tx and ch.tx.is_open then ch.tx.is_left = "handed over" end -- it is rolled back when the old connection closes
   return old
end

local function swap(self, twin_conn, twins)
   local old = { handle = self.handle, number = self.number, channels = {} }
   self.channels = {}
   for ch, twin in each(twins) do
      if ch.handle then
         table.insert(old.channels, swap_channel(ch, twin))
         self.channels[ch.number] = ch
      else -- closed meanwhile
         channel.gone(twin, ch.err)
      end
   end
   connection.take_handle(self, twin_conn)
   C.mr_connection_inherit(self.handle, old.handle)
   for _, ch in each(self.channels) do recovery.ready(ch) end -- the old one may still have been on its way back
   return old
end

local function ask(handle, operation, tag)
   local request = ffi.new "mr_request"
   request.operation = operation
   request.extra.data, request.extra.size = tag, #tag
   local token = task.token()
   if C.mr_channel_request(handle, token, request) == 0 then task.wait(token) end
end

local function cancel(ch)
   for _, tag in ipairs(ch.tags) do ask(ch.handle, C.MR_BASIC_CANCEL, tag) end
end

-- Ends deliveries on the old connection; those that have arrived are handled and settled there.
local function drain(old, patience)
   local deadline = C.mr_now() + patience
   for _, ch in ipairs(old.channels) do
      if not ch.has_answers then cancel(ch) end
   end
   for _, ch in ipairs(old.channels) do
      if ch.has_answers then -- answers to open calls arrive on the old channel
         while not ch.has_answers() and C.mr_now() < deadline do loop.sleep(0.005) end
         cancel(ch)
      end
   end
   local has_ended = handling.watch()
   local function is_busy()
      for _, ch in ipairs(old.channels) do
         if channel.books[ch.epoch] then return true end
      end
      return not has_ended() or subscription.is_holding(old.number)
   end
   while is_busy() and C.mr_now() < deadline do loop.sleep(0.005) end
end

local function close(old)
   local token = task.token()
   if C.mr_connection_close(old.handle, token, 0) == 0 then task.wait(token) end
   for _, ch in ipairs(old.channels) do C.mr_channel_free(ch.handle) end
   C.mr_connection_free(old.handle)
end

local function move(self, patience)
   local twin_conn = self:clone { on_event = function() end }
   local ok, err = twin_conn:connect()
   local twins
   if ok then twins, err = twins_of(self, twin_conn) end
   if not twins then
      twin_conn:release()
      return nil, err
   end
   local old = swap(self, twin_conn, twins)
   drain(old, patience)
   close(old)
   return true
end

--- Moves to a new connection without a gap: to another node, to renewed certificates or credentials. Queues that are
-- exclusive to this connection cannot move.
-- @tparam[opt] table opts drain=30: seconds for handlers that handle a message of the old connection
-- @treturn[1] true
-- @treturn[2] nil, error; then everything is as it was
function handover:handover(opts)
   opts = options.check(opts, { drain = "number" })
   options.seconds("drain", opts.drain)
   task.check()
   if not self.is_open then
      return nil, self.last_error or errors.new("closed", "connection", "the connection is not open")
   end
   return time_limit.apart(move, self, opts.drain or PATIENCE)
end

return handover

--- cli.confirming: publishes with confirm, many at a time, and says how each ended.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local publishing = require "moonrabbit.channel.publish"
local ticket = require "moonrabbit.channel.confirm"

local confirming = {}

local WINDOW = 256  -- publishes without a confirm
local PATIENCE = 60 -- seconds for a confirm, and for a broker that blocks publishers
local ROUND = 0.5   -- seconds between two looks whether the tool is interrupted
local GRACE = 2     -- seconds for confirms after that

local Confirming = {}
Confirming.__index = Confirming

--- Publishes on a channel in confirm mode.
-- @tparam table session of cli.session: once it is interrupted nothing is waited for any more but confirms, and these shortly
-- @tparam channel channel
-- @tparam[opt] boolean is_optional a message that no queue gets counts as published
-- @tparam[opt] number rate publishes a second
-- @treturn table fields done (confirmed), err (the first error), failed (the label of the publish that it is about)
function confirming.new(session, channel, is_optional, rate)
   local mr = session.mr
   return setmetatable({ mr = mr, session = session, channel = channel, room = mr.semaphore(WINDOW), how = { mandatory = not is_optional,
      timeout = PATIENCE }, rate = rate, began = mr.now(), sent = 0, done = 0 }, Confirming)
end

-- Waits for the moment of the next publish.
local function pace(self)
   if not self.rate then return end
   local at = self.began + self.sent / self.rate
   while not self.session.interrupted do
      local left = at - self.mr.now()
      if left <= 0 then return end
      self.mr.sleep(math.min(left, ROUND))
   end
end

-- Takes a place among the publishes that wait for their confirm; false: the tool is interrupted.
local function enter(self)
   repeat
      if self.room:acquire { timeout = ROUND } then return true end
   until self.session.interrupted
   return false
end

-- Keeps the first error, and what it is about. Confirms and returns may come in another order than the publishes.
local function fail(self, err, label)
   if not err or self.err and not (label and self.failed and label < self.failed) then return end
   self.err, self.failed = err, label
end

local function post(self, t, exchange, key, body, raw)
   local deadline = C.mr_now() + PATIENCE
   local ok, err, wait = publishing.post(self.channel, t, exchange, key, body, self.how, raw)
   while not ok and wait and C.mr_now() < deadline and not self.session.interrupted do
      local round = math.min(deadline - C.mr_now(), ROUND)
      local till = C.mr_now() + round
      if not wait(round) and C.mr_now() < till then break end -- it will not open again
      ok, err, wait = publishing.post(self.channel, t, exchange, key, body, self.how, raw)
   end
   if not ok and wait and self.session.interrupted then err = nil end -- what ends it is the signal
   return ok, err
end

--- Publishes one; waits only for room.
-- @tparam string exchange
-- @tparam string key
-- @tparam string body
-- @tparam string raw encoded properties
-- @tparam[opt] function on_ack called when the broker has it; must not wait
-- @tparam[opt] number label what the caller calls it; `failed` is that of the first one that failed
-- @treturn boolean false: one has failed, see `err`, or the tool is interrupted
function Confirming:publish(exchange, key, body, raw, on_ack, label)
   pace(self)
   if not enter(self) then return false end
   if self.err or self.session.interrupted then
      self.room:release()
      return false
   end
   local t = ticket.new(0, exchange, key)
   function t.on_end(_, state, reason, cause)
      if state == "acked" then
         self.done = self.done + 1
         if on_ack then on_ack() end
      else
         fail(self, cause or ticket.error(t, state, reason), label)
      end
      self.room:release()
      return false
   end
   local ok, err = post(self, t, exchange, key, body, raw)
   if ok then
      self.sent = self.sent + 1
      return true
   end
   fail(self, err, label)
   if t.state == "waiting" then self.room:release() end
   return false
end

-- Waits for the end of one more publish; false: it takes too long.
local function await(self)
   local deadline = self.mr.now() + PATIENCE
   repeat
      if self.room:acquire { timeout = ROUND } then return true end
      if self.session.interrupted then
         self.last = self.last or self.mr.now() + GRACE
         deadline = math.min(deadline, self.last)
      end
   until self.mr.now() >= deadline
   return false
end

--- Waits until each publish has ended, each for a minute at most; two seconds for all when the tool is interrupted.
-- @treturn[1] true all are confirmed
-- @treturn[2] nil, error
function Confirming:finish()
   for _ = 1, WINDOW do
      if not await(self) then
         self.err = self.err or errors.new("timeout", "publish", "the broker did not confirm in time")
         break
      end
   end
   if self.err then return nil, self.err end
   return true
end

return confirming

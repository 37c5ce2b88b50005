--- cli.transfer: takes messages from a queue and publishes each elsewhere, before it acks it.
-- SPDX-License-Identifier: MIT
-- Killed at any moment, nothing is lost: a message is acked when the broker has confirmed its copy, so both may exist for a
-- moment, and stay if the program ends in it.
-- Messages are taken by basic.get, a few requests ahead: no more than wanted, in the order of the queue. Those that stay (copy, no match)
-- are held, unacked, until the end: they return to their places, marked as redelivered.
local confirming = require "moonrabbit.cli.confirming"
local message = require "moonrabbit.channel.message"
local progress = require "moonrabbit.cli.progress"
local task = require "moonrabbit.loop.task"

local transfer = {}

local AHEAD = 32 -- requests for messages that are under way
local TOGETHER, TOGETHER_BYTES = 256, 2 ^ 23 -- messages, and bytes of them, that are made safe at a time

--- The number of messages of a queue that are ready.
-- @treturn[1] number
-- @treturn[2] nil, error
function transfer.size(ch, queue)
   local ok, err = ch:queue_declare { queue = queue, passive = true }
   if not ok then return nil, err end
   return ok.message_count
end

-- Sends requests ahead, as many as may be needed if all messages match.
local function ask_ahead(self, job)
   while #self.answers < AHEAD and self.taken + #self.answers < self.total and self.chosen + #self.answers < self.limit do
      local answer = job.session.mr.event()
      self.answers[#self.answers + 1] = answer
      task.background(function() answer:set(job.from:get(job.queue)) end)
   end
end

-- The next message within the bounds: of what was there at the start, at most `limit` that match.
local function take(self, job)
   while self.taken < self.total and self.chosen < self.limit and not job.session.interrupted do
      ask_ahead(self, job)
      local msg, err = table.remove(self.answers, 1):wait()
      if not msg then return nil, err.kind ~= "empty" and err or nil end
      self.taken = self.taken + 1
      if not job.matches or job.matches(msg) then
         self.chosen = self.chosen + 1
         return msg
      end
      message.detach(msg)
   end
end

-- Ends a message at its queue; its body is not needed any more.
local function settle(self, job, msg)
   if job.keeps then return message.detach(msg) end
   local ok, err = msg:ack()
   if ok then
      self.acked = self.acked + 1
   else
      self.doubled, self.err = self.doubled + 1, self.err or err
   end
end

local function begin(job)
   local total, err = transfer.size(job.from, job.queue)
   if not total then return nil, err end
   job.session:begin()
   return { total = total, limit = job.limit or total, taken = 0, chosen = 0, acked = 0, answers = {}, doubled = 0, count = 0, err = nil,
      bar = progress.new(job.session.mr.now, math.min(total, job.limit or total)), began = job.session.mr.now() }
end

local function finish(self, job, out)
   self.bar.clear()
   self.seconds = job.session.mr.now() - self.began
   if out then
      local _, err = out:finish()
      self.count, self.err = out.done, self.err or err
   end
   return self
end

--- Publishes messages elsewhere.
-- @tparam table job session, from (channel), to (channel in confirm mode), queue, shape = fn(msg) -> exchange, key, encoded
-- properties, or nil and an error; matches = fn(msg) or nil; keeps (they stay in their queue), limit, rate
-- @treturn[1] table count (published), taken (looked at), doubled (published, and perhaps still in the queue), seconds, err
-- @treturn[2] nil, error it could not begin
function transfer.run(job)
   local self, err = begin(job)
   if not self then return nil, err end
   local out = confirming.new(job.session, job.to, false, job.rate)
   while not self.err and not out.err do
      local msg
      msg, self.err = take(self, job)
      if not msg then break end
      local exchange, key, raw = job.shape(msg)
      if not exchange then
         self.err = key
         break
      end
      out:publish(exchange, key, msg.body, raw, function() settle(self, job, msg) end)
      self.bar.show(out.done)
   end
   return finish(self, job, out)
end

-- What was visited is made safe, then it ends at its queue.
local function settle_visited(self, job)
   local ok, err = true, nil
   if job.save and self.visited[1] then ok, err = job.save() end
   if not ok then
      self.err = err
      return
   end
   for _, msg in ipairs(self.visited) do settle(self, job, msg) end
   self.count = self.count + #self.visited
   self.visited, self.bytes = {}, 0
   self.bar.show(self.count)
end

--- Gives messages to a function.
-- @tparam table job session, from, queue, matches, limit; visit = fn(msg), which returns true, or nil and an error; keeps: they stay in
-- their queue, otherwise each is acked after its visit; with save = fn() -> true, or nil and an error, only after that was called, for many
-- messages at a time
-- @treturn[1] table count (visited, and made safe), taken, seconds, err
-- @treturn[2] nil, error it could not begin
function transfer.each(job)
   local self, err = begin(job)
   if not self then return nil, err end
   self.visited, self.bytes = {}, 0
   while not self.err do
      local msg, ok
      msg, self.err = take(self, job)
      if not msg then break end
      ok, self.err = job.visit(msg)
      if not ok then break end
      self.visited[#self.visited + 1], self.bytes = msg, self.bytes + #msg.body
      if not job.save or #self.visited >= TOGETHER or self.bytes >= TOGETHER_BYTES then settle_visited(self, job) end
   end
   if self.visited[1] then
      local why = self.err
      settle_visited(self, job)
      self.err = why or self.err
   end
   return finish(self, job)
end

return transfer

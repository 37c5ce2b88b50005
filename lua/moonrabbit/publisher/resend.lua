--- resend: decides whether and when a failed publish is sent again.
-- SPDX-License-Identifier: MIT
local backlog = require "moonrabbit.publisher.backlog"
local C = require("moonrabbit.base.ffi").C
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local retry = require "moonrabbit.loop.retry"
local sender = require "moonrabbit.publisher.sender"
local suspicion = require "moonrabbit.channel.suspicion"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"

local resend = {}

local PAUSE_FIRST, PAUSE_MAX = 0.1, 5 -- seconds between two tries
local CALM = 10                       -- seconds without a redeclaration, after which the next one does not wait
local SOON = 30                       -- seconds after a connection was lost in which nacks are repeated
local ROW = 3                         -- so many nacks without an ack between them are several in a row

-- The default policy: publishes of a lost connection are sent again, others have failed.
local function builtin(ctx)
   local cause = ctx.err.kind == "lost" and ctx.err.cause
   return cause and cause.scope == "connection" and cause.kind ~= "closed" and 0 or "stop"
end

-- Ends it with its failure.
local function let_go(t, state, reason)
   if t.state == "waiting" then ticket.finish(t, state, t.reason or reason) end
end

local function obey(self, t, verdict, state, reason)
   local job = t.job
   if t.state ~= "waiting" then return end -- it ended while the policy ran
   if verdict == "stop" or self.has_stopped or job.deadline and C.mr_now() + verdict >= job.deadline then
      return let_go(t, state, reason)
   end
   if verdict == 0 then return sender.put_back(self, t) end
   job.timer = loop.after(verdict, function()
      job.timer = nil
      sender.put_back(self, t)
   end)
end

-- Seconds to wait before the topology is declared again: doubled while declaring it has not helped.
local function redeclare_pause(self)
   local now = C.mr_now()
   if not self.redeclared_at or now - self.redeclared_at > CALM then self.redeclare_pause = 0 end
   local pause = self.redeclare_pause
   self.redeclare_pause = sender.longer(pause)
   return pause
end

-- The queue may have been deleted: declares the topology again, once for all publishes that came back in the meantime, and
-- repeats each of them once.
local function redeclare(self, t, state, reason)
   if self.came_back then return table.insert(self.came_back, { t, state, reason }) end
   self.came_back = { { t, state, reason } }
   loop.sleep(redeclare_pause(self))
   local ok, err = self.options.topology:apply(self.connection)
   self.redeclared_at = C.mr_now()
   local list = self.came_back
   self.came_back = nil
   if not ok then log.warn("the topology could not be declared again", { error = tostring(err), publishes = #list }) end
   for _, publish in ipairs(list) do
      if ok then sender.put_back(self, publish[1]) else let_go(unpack(publish, 1, 3)) end
   end
end

-- A channel that was opened before a quorum queue elected its new leader may get every publish nacked for as long as it is
-- open; on a new channel they are confirmed. A full queue nacks, too. So a nack is repeated for a while after the connection
-- was lost; at other times only once, and only if several came in a row.
-- @treturn ?number seconds to wait; nil: the publish has failed
local function pause_of_nack(self, job)
   local lost_at = self.connection.lost_at
   local is_soon = lost_at and C.mr_now() - lost_at < SOON
   self.nacks, job.nacks = self.nacks + 1, (job.nacks or 0) + 1
   if not is_soon and (self.nacks < ROW or job.nacks > 1) then return nil end
   return math.min(PAUSE_FIRST * 2 ^ (job.nacks - 1), PAUSE_MAX)
end

--- Handles a publish that failed after it was sent: sends it again, or asks the policy.
-- @treturn boolean false: it ends with its failure
function resend.takes_back(self, t, state, reason, cause)
   local job = t.job
   if self.has_stopped then return false end
   if state == "lost" and cause and cause.scope == "connection" and suspicion.falls_on(self.connection, t, cause) then
      return false
   end
   local again
   local pause = state == "nacked" and pause_of_nack(self, job)
   if pause then sender.renew(self, job.channel) end
   if pause and not self.options.retry then
      again = function() obey(self, t, pause, state, reason) end
   elseif state == "returned" and job.plan and not job.has_redeclared then
      job.has_redeclared = true
      again = function() obey(self, t, 0, state, reason) end -- what it needs is declared again
   elseif state == "returned" and self.options.topology and not job.has_redeclared then
      job.has_redeclared = true
      again = function() redeclare(self, t, state, reason) end
   else
      local ctx = { scope = "publish", attempt = job.attempt, err = ticket.error(t, state, reason, cause),
         elapsed = C.mr_now() - job.born, message = { exchange = (job.plan or job).exchange, routing_key = job.routing_key, body = job.body,
            properties = job.props } }
      local policy = self.options.retry
      if policy then
         again = function() obey(self, t, retry.decide(policy, ctx, builtin), state, reason) end
      elseif builtin(ctx) == "stop" or job.deadline and C.mr_now() >= job.deadline then
         return false
      end
   end
   if t.suspect and (state == "nacked" or state == "returned") then suspicion.over(t) -- the broker has answered: it is none
   elseif t.suspect and again then suspicion.rest(t) end
   job.place = "aside"
   self.thinking[t] = true
   backlog.add(self, "aside", 1)
   if again then task.later(again) else sender.put_back(self, t) end
   return true
end

return resend

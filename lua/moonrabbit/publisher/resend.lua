--- resend: a publish that did not end well: whether it is sent again, and when.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local retry = require "moonrabbit.loop.retry"
local sender = require "moonrabbit.publisher.sender"
local suspicion = require "moonrabbit.channel.suspicion"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"

local resend = {}

-- Without a policy of the program's: what a lost connection took goes out again, the rest has ended.
local function builtin(ctx)
   local cause = ctx.err.kind == "lost" and ctx.err.cause
   return cause and cause.scope == "connection" and cause.kind ~= "closed" and 0 or "stop"
end

-- Its failure stands.
local function let_go(t, state, reason)
   if t.state == "waiting" then ticket.finish(t, state, t.reason or reason) end
end

local function obey(self, t, verdict, state, reason)
   local job = t.job
   if t.state ~= "waiting" then return end -- it ended while the policy thought
   if verdict == "stop" or self.has_stopped or job.deadline and C.mr_now() + verdict >= job.deadline then
      return let_go(t, state, reason)
   end
   if verdict == 0 then return sender.put_back(self, t) end
   job.timer = loop.after(verdict, function()
      job.timer = nil
      sender.put_back(self, t)
   end)
end

-- The queue may have gone: declares the topology again, and repeats the publish once.
local function redeclare(self, t, state, reason)
   local ok, err = self.options.topology:apply(self.connection)
   if ok then return sender.put_back(self, t) end
   log.warn("the topology could not be declared again", { error = tostring(err) })
   let_go(t, state, reason)
end

--- A publish that was sent did not end well: is it sent again, or at least thought about?
-- @treturn boolean false: its failure stands
function resend.takes_back(self, t, state, reason, cause)
   local job = t.job
   if self.has_stopped then return false end
   if state == "lost" and cause and cause.scope == "connection" and suspicion.falls_on(self.connection, t, cause) then
      return false
   end
   local again
   if state == "returned" and self.options.topology and not job.has_redeclared then
      job.has_redeclared = true
      again = function() redeclare(self, t, state, reason) end
   else
      local ctx = { scope = "publish", attempt = job.attempt, err = ticket.error(t, state, reason, cause),
         elapsed = C.mr_now() - job.born, message = { exchange = job.exchange, routing_key = job.routing_key, body = job.body,
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
   self.aside, self.thinking[t] = self.aside + 1, true
   if again then task.later(again) else sender.put_back(self, t) end
   return true
end

return resend

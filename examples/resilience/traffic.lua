-- traffic: shared by the scripts of this folder: a flow of messages during a failure, and its report.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local traffic = {}

local began = mr.now()

--- Prints a line with the seconds since the program began.
function traffic.say(form, ...)
   print(("%6.1f s  "):format(mr.now() - began) .. form:format(...))
   io.stdout:flush()
end

local say = traffic.say

--- For on_event: prints the events of a connection.
function traffic.tell(ev)
   if ev.type == "lost" then
      say("lost: %s: %s", ev.err.kind, ev.err.text)
   elseif ev.type == "retrying" then
      say("try %d in %.1f s (%s)", ev.attempt, ev.delay, ev.err.kind)
   elseif ev.type == "connected" then
      say("connected to %s", ev.host)
   elseif ev.type == "recovered" then
      say("recovered: away for %.1f s, brought back: %d", ev.gap, ev.entities)
   end
end

--- Publishes and consumes twenty messages a second on one connection until finish() is called.
-- @treturn table confirmed (so far), lost and recovered (how often), finish(): prints the sums; true when none is missing
function traffic.start(options)
   local self = { sent = 0, confirmed = 0, again = 0, received = 0, twice = 0, lost = 0, recovered = 0 }
   local stopping, seen = false, {}
   options.on_event = function(ev)
      if self[ev.type] then self[ev.type] = self[ev.type] + 1 end
      traffic.tell(ev)
   end
   local conn = mr.connect(options)
   local out, inn = assert(conn:channel()), assert(conn:channel())
   local queue = assert(inn:queue_declare { queue = ("resilience-%d"):format(os.time()), auto_delete = true }).queue
   assert(out:confirm_select())
   assert(inn:consume(queue, function(msg)
      if seen[msg.body] then self.twice = self.twice + 1 else self.received = self.received + 1 end
      seen[msg.body] = true
   end))
   mr.spawn(function()
      while not stopping do
         local body = tostring(self.sent + 1)
         self.sent = self.sent + 1
         local ok, err = out:publish("", queue, body)  -- waits for the confirm, and for the connection
         while not ok do
            say("message %s: %s; sent again", body, err.kind) -- it may or may not have arrived
            self.again = self.again + 1
            mr.sleep(0.1)
            ok, err = out:publish("", queue, body)
         end
         self.confirmed = self.confirmed + 1
         mr.sleep(0.05)
      end
      self.is_done = true
   end)

   function self.finish()
      stopping = true
      local deadline = mr.now() + 40
      while not (self.is_done and self.received >= self.sent) and mr.now() < deadline do
         mr.sleep(0.05)
         if self.is_done and self.may_lose then deadline = math.min(deadline, mr.now() + 1) end
      end
      say("sent %d, confirmed %d, received %d, missing %d, sent again %d, came twice %d, lost the connection %d times",
         self.sent, self.confirmed, self.received, self.sent - self.received, self.again, self.twice, self.lost)
      conn:release()
      return self.is_done and self.received == self.sent
   end
   return self
end

--- Waits until the connection has recovered, for at most some seconds.
function traffic.wait_for_recovery(self, seconds)
   local deadline = mr.now() + seconds
   while self.recovered == 0 and mr.now() < deadline do mr.sleep(0.05) end
   return self.recovered > 0
end

return traffic

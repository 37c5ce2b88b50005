--- suspicion: finds the publish that makes the broker close the connection, by sending suspects one at a time.
-- SPDX-License-Identifier: MIT
-- A broker that closes a connection because of a client's frame (501, 541...) does not name the publish. All publishes that
-- were in flight are suspects; each is sent alone, while the others wait. A suspect that ends the connection again is given
-- up, with the broker's reason; a suspect that is confirmed is cleared. A network failure makes no suspects.
local each = require "moonrabbit.base.each"
local log = require "moonrabbit.loop.log"
local way = require "moonrabbit.channel.way"

local suspicion = {}

local MOST_TRIALS = 5          -- lost trials after which it counts as guilty, although other publishes were out, too

-- True if something that was sent may have caused this end of a connection.
local function accuses(err)
   local code = err and err.scope == "connection" and err.code or 0
   return code >= 500 and code < 600 and code ~= 530 or code == 311
end

-- A suspect has ended, or was cleared.
local function over(t)
   local conn, s = t.suspect, t.suspect.suspects
   t.suspect = nil
   if not s then return end
   s.count = s.count - 1
   if s.trial == t then s.trial = nil end
   if s.count == 0 then conn.suspects = nil end
   way.wake(conn)
end
suspicion.over = over

--- A suspect waits for something else, a policy say: others go meanwhile.
function suspicion.rest(t)
   t.rests_of = t.suspect
   over(t)
end

--- One that rested, if it did, is a suspect again.
function suspicion.rise(t)
   local conn = t.rests_of
   if not conn then return end
   local s = conn.suspects or { count = 0 }
   conn.suspects, s.count = s, s.count + 1
   t.suspect, t.rests_of = conn, nil
end

--- A connection has ended: who was on trial, alone, when it did? Before its channels hear of it; once for each end.
function suspicion.judge(conn, err)
   if conn.judged == conn.epoch then return end
   conn.judged, conn.is_accusing = conn.epoch, accuses(err)
   local s = conn.suspects
   if not s then return end
   local out = 0
   for _, ch in each(conn.channels) do out = out + (ch.book and ch.book.outstanding or 0) end
   local t = s.trial
   s.trial, s.guilty = nil, nil
   if not t or not conn.is_accusing then return end
   t.trials = (t.trials or 0) + 1
   if out <= 1 or t.trials >= MOST_TRIALS then s.guilty = t end
end

--- A publish was lost with its connection, and is about to be sent again: decides whether it is given up.
-- @treturn boolean true: give it up, it has ended the connection twice in a row
function suspicion.falls_on(conn, t, err)
   local s = conn.suspects
   if s and s.guilty == t then
      t.kind, t.code = err.kind, err.code
      t.reason = ("it has ended the connection twice in a row: %s"):format(err.text)
      log.error("publish given up", { connection = conn.host, kind = err.kind, code = err.code, text = t.reason })
      return true
   end
   if not conn.is_accusing or t.suspect then return false end
   s = s or { count = 0 }
   conn.suspects = s
   s.count, t.suspect = s.count + 1, conn
   return false
end

--- True if this publish may be sent now: suspects one at a time, the others when there are no suspects left.
function suspicion.may_go(conn, t)
   local s = conn.suspects
   return not s or t.suspect ~= nil and (s.trial == nil or s.trial == t)
end

--- It was sent.
function suspicion.sent(conn, t)
   if t.suspect then conn.suspects.trial = t end
end

return suspicion

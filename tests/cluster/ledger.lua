--- ledger: what becomes of each message of the chaos run: one entry from its publish until some minutes after its end.
-- SPDX-License-Identifier: MIT
-- A message carries its plan: how many of its tries fail. With as many as there are tries it ends among the dead letters.
-- Nothing confirmed may be missing; whatever was handled more than once needs a reason.
local mr = require "moonrabbit"

local ledger = { ATTEMPTS = 4, problems = {}, open = 0 }

local KEPT = 300 -- seconds for which an entry is kept after its end
local LATE = 420 -- seconds without an end, after which a confirmed message is told of

local entries, ended, first_ended, last_ended = {}, {}, 1, 0
local sends = {}                 -- number -> how often it was sent, for those whose entries are gone
local count = setmetatable({}, { __index = function() return 0 end })
local is_faulty                  -- (since): was there a fault since then?

local function add(what, n) count[what] = count[what] + (n or 1) end

local function problem(form, ...)
   local text = form:format(...)
   table.insert(ledger.problems, text)
   print(os.date "!%H:%M:%S" .. " PROBLEM: " .. text)
end
ledger.add, ledger.problem, ledger.count = add, problem, count

--- Sets the function that tells whether there was a fault since a time. Without one nothing may come again.
function ledger.set_faults(fn) is_faulty = fn end

--- A body for a new message.
function ledger.new(number, queue, plan)
   entries[number] = { number = number, queue = queue, plan = plan, born = mr.now(), calls = {}, trail = {} }
   ledger.open = ledger.open + 1
   add("published to " .. queue)
   return ("%d %d"):format(number, plan)
end

local function note(e, what) e.trail[#e.trail + 1] = ("%s at %.1f"):format(what, mr.now() - e.born) end

-- A confirmed message has ended when it was handled or buried; one that failed when nothing more is to be expected.
local function look(e)
   if e.at or not e.told or not e.is_done and e.told == "confirmed" then return end
   e.at = mr.now()
   ledger.open = ledger.open - 1
   last_ended = last_ended + 1
   ended[last_ended] = e
end

--- The end of a publish.
function ledger.told(number, err, times)
   local e = entries[number]
   e.told, e.sends = err and err.kind or "confirmed", times
   note(e, e.told)
   add(e.told .. " of " .. e.queue)
   if times > 1 then add "publishes repeated" end
   look(e)
end

-- Why a call of a handler that was not the first of its attempt was made.
local function reason(e, number, attempt, msg)
   if e and not is_faulty(e.born) then return nil end
   if msg.redelivered then return "redelivered" end
   if attempt > 1 then
      local before = e and e.calls[attempt - 1] or 1
      return before > 1 and "its try before was made again, too" or "a copy for a retry published again"
   end
   local sent = e and (e.sends or 2) or sends[number] or 1 -- one that has not ended is being repeated
   if sent > 1 then return "a publish repeated" end
end

local function is_again(e, attempt)
   if not e then return true end
   e.calls[attempt] = (e.calls[attempt] or 0) + 1
   return e.calls[attempt] > 1
end

local function explain(e, number, attempt, msg, what)
   local why = reason(e, number, attempt, msg)
   add(("again: %s"):format(why or "unexplained"))
   if not why then
      problem("%s %d of %s came again, attempt %d, without a reason: %s", what, number, msg.queue, attempt,
         e and table.concat(e.trail, ", ") or "its end was long ago")
   end
end

--- A handler got a message. Returns the tries that are to fail.
function ledger.tried(msg)
   local number, plan = msg.body:match "^(%d+) (%d)$"
   number, plan = tonumber(number), tonumber(plan)
   local e, attempt = entries[number], msg.attempt
   add "handled"
   if not e and not sends[number] then problem("nobody sent %q", msg.body) end
   if e then note(e, ("try %d%s"):format(attempt, msg.redelivered and " (redelivered)" or "")) end
   if attempt > plan + 1 then problem("try %d of %d, which fails %d times", attempt, number, plan) end
   if is_again(e, attempt) then explain(e, number, attempt, msg, "message") end
   return plan, number
end

--- Its handler succeeded.
function ledger.done(number)
   local e = entries[number]
   if not e then return end
   note(e, "done")
   e.is_done = true
   look(e)
end

--- A dead letter.
function ledger.buried(msg)
   local number, plan = msg.body:match "^(%d+) (%d)$"
   local e, failed = entries[tonumber(number)], tonumber(msg.headers["x-mr-attempt"])
   add "dead letters"
   if tonumber(plan) < ledger.ATTEMPTS then problem("%s is a dead letter, though it fails only %s times", number, plan) end
   if failed ~= ledger.ATTEMPTS then problem("%s is a dead letter after %s tries", number, tostring(failed)) end
   if e then note(e, "buried") end
   if is_again(e, ledger.ATTEMPTS + 1) then explain(e, tonumber(number), ledger.ATTEMPTS + 1, msg, "dead letter") end
   if not e then return end
   e.is_done = true
   look(e)
end

local function tell(e)
   problem("%d of %s, which fails %d times, was confirmed and has not ended after %.0f s: %s", e.number, e.queue, e.plan,
      mr.now() - e.born, table.concat(e.trail, ", "))
end

--- Forgets what has ended long ago; tells once of what has not ended for long.
function ledger.sweep()
   local now = mr.now()
   while first_ended <= last_ended and now - ended[first_ended].at > KEPT do
      local e = ended[first_ended]
      ended[first_ended] = nil
      first_ended = first_ended + 1
      entries[e.number], sends[e.number] = nil, e.sends
   end
   for _, e in pairs(entries) do
      if not e.at and not e.is_told_of and e.told and now - e.born > LATE then
         e.is_told_of = true
         print(("late: %d of %s, which fails %d times: %s"):format(e.number, e.queue, e.plan, table.concat(e.trail, ", ")))
         add "late"
      end
   end
end

--- At the end of the run: what was confirmed and never came is lost.
function ledger.close()
   for _, e in pairs(entries) do
      if not e.at then
         if e.told then tell(e) else problem("publish %d has not ended", e.number) end
         add "lost"
      end
   end
end

--- Prints all counts.
function ledger.print()
   local names = {}
   for what in pairs(count) do names[#names + 1] = what end
   table.sort(names)
   for _, what in ipairs(names) do print(("%-36s %9d"):format(what, count[what])) end
end

return ledger

-- redis_book: the books of all processes of redis_ledger, read as they grow: what was confirmed, handled, and why twice.
-- SPDX-License-Identifier: MIT
local book = { messages = {}, faults = {}, idle = {}, count = {}, problems = {}, last_end = 0, longest_gap = 0 }

local BEFORE = 12 -- seconds: a process that stops holds messages that it took before, for as long as the longest stop, and some
local AFTER = 3   -- seconds: an ack may not have arrived
local SLOW = 8    -- seconds that the slowest handler takes

local files = {} -- by name: a file that is open, and what is left of its last line

function book.add(what, n) book.count[what] = (book.count[what] or 0) + (n or 1) end
function book.problem(form, ...)
   local text = form:format(...)
   print("problem: " .. text)
   table.insert(book.problems, text)
end

--- From now on the books of a process are read.
function book.open(folder, name)
   local path = folder .. "/ledger." .. name
   io.open(path, "a"):close()
   files[name] = { file = assert(io.open(path)), rest = "" }
end

--- Something bad happens to a process, or to "redis", from then until then.
function book.fault(who, from, to) table.insert(book.faults, { who = who, from = from, to = to }) end

local function message(id)
   local m = book.messages[id]
   if not m then
      m = { events = {}, ends = 0, copies = 0, published = 0, confirmed = false }
      book.messages[id] = m
   end
   return m
end

local function enter(name, at, kind, id, more)
   if kind == "idle" then book.idle[name] = at return end
   book.add(kind)
   if kind == "lost" then return end
   local m = message(id)
   if kind ~= "published" then table.insert(m.events, { at = at, who = name, kind = kind, more = more }) end
   if kind == "published" then m.published = m.published + 1
   elseif kind == "confirmed" then
      m.confirmed, m.copies = true, tonumber(more)
   elseif kind == "failed" then m.copies = 2 -- it may be there; and it may have been sent again
   elseif kind == "handled" or kind == "dead" then
      m.ends = m.ends + 1
      if book.last_end > 0 then book.longest_gap = math.max(book.longest_gap, at - book.last_end) end
      book.last_end = math.max(book.last_end, at)
   end
end

--- Reads what is new.
function book.read()
   for name, f in pairs(files) do
      local text = f.rest .. (f.file:read "*a" or "")
      local done = 1
      for at, kind, id, more, e in text:gmatch "([%d.]+) (%S+) (%S+) ([^\n]*)\n()" do
         enter(name, tonumber(at), kind, id, more)
         done = e
      end
      f.rest = text:sub(done)
      f.file:seek("cur", 0) -- the end of a file is not the end for ever
   end
end

-- Could a fault have made what happened to a message then happen again?
local function is_hurt(event)
   local slow = event.more == "slow" and SLOW or 0
   for _, f in ipairs(book.faults) do
      local before = f.who == "redis" and 1 or f.who == event.who and BEFORE
      if before and f.from < event.at + slow + AFTER and f.to > event.at - before then return true end
   end
   return false
end

local function explain(id, m)
   book.add("handled again", m.ends - 1)
   if m.copies > 1 then return book.add "again: was sent again" end
   for _, event in ipairs(m.events) do
      if is_hurt(event) then return book.add "again: a fault was near" end
   end
   local said = {}
   for _, e in ipairs(m.events) do said[#said + 1] = ("%.3f %s %s %s"):format(e.at, e.who, e.kind, e.more) end
   book.problem("%s ended %d times without a fault: %s", id, m.ends, table.concat(said, "; "))
end

--- The ids of what was confirmed, and has not ended.
function book.missing()
   local list = {}
   for id, m in pairs(book.messages) do
      if m.confirmed and m.ends == 0 then list[#list + 1] = id end
   end
   return list
end

--- Compares all, and forgets it.
-- @tparam function why(ids) a table of those that are lost by no fault of ours, id -> true, and one of texts
function book.close(why)
   local missing = book.missing()
   if #missing > 0 then
      local by_kombu, texts = why(missing)
      for _, id in ipairs(missing) do
         if by_kombu[id] then book.add "lost between two steps of kombu"
         else book.problem("%s was confirmed, and is lost: %s", id, texts[id]) end
      end
   end
   for id, m in pairs(book.messages) do
      if m.published ~= 1 then book.problem("%s was published %d times", id, m.published) end
      if m.ends > 1 then explain(id, m) end
   end
   book.messages, book.faults = {}, {}
end

return book

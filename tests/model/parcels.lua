--- parcels: messages of all sizes that are known one by one: whether each came, whole, to its queue, and once.
-- SPDX-License-Identifier: MIT
local model = require "model"
local add, problem, random = model.add, model.problem, math.random

local LARGEST = 20 * 2 ^ 20
local LARGE = 2 * 2 ^ 20
local IN_FLIGHT = 128 * 2 ^ 20     -- bytes that may be under way in all: a link pauses at 64 MiB, and curbs at 96
local MANY = 3000                  -- and so many of them
local PERIOD = 251                 -- of the bytes: a body's place in them goes by its number
local ENDS = 16                    -- so many bytes are compared at both ends

collectgarbage("setpause", 105)    -- most of the heap is bodies: few objects, and all of them soon garbage

local parcels = { open = 0, flying = 0, most = 0 }
local all = {}                     -- number -> parcel, "done" when it was handled
local owed = {}                    -- queue -> how many of it are not done with
local last = 0

local pattern = {}
for i = 1, PERIOD do pattern[i] = string.char(i) end
local chunk = table.concat(pattern):rep(math.ceil(LARGEST / PERIOD) + 2)

local function first_of(number) return number % PERIOD + 1 end

local function size_of()
   local draw = random()
   if draw < 0.8 or parcels.flying > IN_FLIGHT - LARGEST then return random(0, 2000) end
   if draw < 0.98 then return random(0, LARGE) end
   add "bodies of up to 20 MiB"
   return random(LARGE, LARGEST)
end

--- A new parcel: number, queue, size; and its body. Nil while enough are under way.
-- @tparam string queue
-- @tparam string way how it is sent, for a report
-- @tparam boolean may_vanish it may be lost on its way
-- @tparam[opt] number size (default: any)
function parcels.new(queue, way, may_vanish, size)
   if parcels.open >= MANY or size and parcels.flying + size > IN_FLIGHT then return nil end
   size = size or size_of()
   last = last + 1
   local p = { number = last, queue = queue, size = size, way = way, may_vanish = may_vanish, state = "sent" }
   all[last] = p
   if not may_vanish then parcels.open, parcels.flying = parcels.open + 1, parcels.flying + size end
   owed[queue] = (owed[queue] or 0) + 1
   parcels.most = math.max(parcels.most, parcels.flying)
   add "parcels"
   return p, chunk:sub(first_of(last), first_of(last) + size - 1)
end

function parcels.name(p) return ("parcel %d (%d bytes to %s, %s)"):format(p.number, p.size, p.queue, p.way) end

local function is_whole(p, body)
   local first = first_of(p.number)
   local ends = math.min(ENDS, p.size)
   local last_of = first + p.size - 1
   return #body == p.size and body:sub(1, ends) == chunk:sub(first, first + ends - 1)
      and body:sub(p.size - ends + 1) == chunk:sub(last_of - ends + 1, last_of)
end

--- A message came: its parcel, which must be one of that queue, whole, and not seen before: no connection is lost here,
-- so even what is marked as redelivered was in nobody's hands.
function parcels.came(msg, queue)
   local number = tonumber(msg.properties.message_id)
   local p = number and all[number]
   if not p then return problem("%s gave a message that nobody sent: %s", queue, tostring(msg.properties.message_id)) end
   if p == "done" then
      return problem("parcel %d came again after it was handled, redelivered: %s", number, tostring(msg.redelivered))
   end
   if p.state ~= "sent" then problem("%s came again while it was handled", parcels.name(p)) end
   if p.queue ~= queue then problem("%s came from %s", parcels.name(p), queue) end
   if not is_whole(p, msg.body) then problem("%s is not whole", parcels.name(p)) end
   p.state = "at work"
   return p
end

--- It is handled, or was never sent.
function parcels.done(p)
   if not p or all[p.number] == "done" then return end
   all[p.number] = "done"
   owed[p.queue] = owed[p.queue] - 1
   if not p.may_vanish then parcels.open, parcels.flying = parcels.open - 1, parcels.flying - p.size end
end

--- Is there anything for one of the queues that has not come, or is not done with?
function parcels.owes(...)
   for _, queue in ipairs { ... } do if owed[queue] and owed[queue] > 0 then return true end end
   return false
end

--- Tells what never came, and what came but was never done with.
function parcels.finish()
   for number = 1, last do
      local p = all[number]
      if p ~= "done" and not p.may_vanish then problem("%s: %s, not handled", parcels.name(p), p.state) end
   end
   add("most MiB under way", math.ceil(parcels.most / 2 ^ 20))
end

return parcels

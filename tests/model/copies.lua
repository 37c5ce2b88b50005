-- copies: any message that a broker relays survives its retries and its burial byte for byte.
-- Run it with: moonrabbit run tests/model/copies.lua SECONDS [SEED]        (MODEL_URL: see model.lua)
-- Messages of chance (every property, every type of header, deep, long, doubled, empty, at the edges of numbers), built
-- as bytes where the encoder refuses to, fail some times in mr.consumer, then succeed or are buried. What comes is compared
-- with what was sent: the encoded properties, less our own headers, and the body.
-- SPDX-License-Identifier: MIT
package.path = "tests/model/?.lua;tests/support/?.lua;" .. package.path
local mr = require "moonrabbit"
local message = require "moonrabbit.channel.message"
local model = require "model"
local properties = require "moonrabbit.base.properties"
local raw = require "raw"
local add, problem, random = model.add, model.problem, math.random

local tag = ("copies-%d-%d"):format(os.time(), model.seed)
local DEAD = tag .. ".dead"
local PUBLISHERS, ATTEMPTS = 4, 3
local FRAME = 131072 - 2000 -- what an encoded header may take, and leave room for what brokers add

-- ---- messages of chance ----

local function bytes(n)
   local out = {}
   for i = 1, n do out[i] = string.char(random(0, 255)) end
   return table.concat(out)
end

-- Mostly short, now and then as long as may be.
local function size(most)
   local chance = random()
   if chance < 0.1 then return 0 elseif chance < 0.15 then return most end
   return random(0, math.min(most, 20))
end

local EDGES = { "\0", "\1", "\127", "\128", "\255" }
local function number(n)
   if n == 0 or random() < 0.5 then return bytes(n) end
   return EDGES[random(#EDGES)] .. EDGES[random(#EDGES)]:rep(n - 1)
end

-- No infinity and no NaN: RabbitMQ drops the connection at them.
local function real(n) return string.char(random(0, 1) * 128 + random(0, 126)) .. bytes(n - 1) end

local FIXED = { V = 0, t = 1, b = 1, B = 1, s = 2, u = 2, I = 4, i = 4, D = 5, l = 8, L = 8, T = 8 }
local TYPES = {}
for c in ("VtbBsuIiDlLTfdSxFA"):gmatch "." do TYPES[#TYPES + 1] = c end

local fields -- (count, depth, is_array)

local function value_of(type_, depth)
   if FIXED[type_] then return number(FIXED[type_]) end
   if type_ == "f" then return real(4) elseif type_ == "d" then return real(8) end
   if type_ == "S" or type_ == "x" then return raw.long(bytes(size(3000))) end
   if depth == 0 then return raw.long "" end
   return raw.table(fields(random(0, 3), depth - 1, type_ == "A"))
end

local KEYS = { "", "a", "a", "name", ("k"):rep(128), ("k"):rep(129), ("k"):rep(255) }
local function key()
   if random() < 0.5 then return KEYS[random(#KEYS)] end
   return "h" .. bytes(random(0, 30)) -- no name that means something to a broker
end

function fields(count, depth, is_array)
   local list = {}
   for i = 1, count do
      local type_ = TYPES[random(#TYPES)]
      add("type " .. type_)
      local value = value_of(type_, depth)
      list[i] = is_array and type_ .. value or raw.field(key(), type_, value)
   end
   return list
end

local function tower(levels)
   local inner = raw.table {}
   for _ = 1, levels do inner = raw.table { raw.field("", "F", inner) } end
   return inner
end

local function headers()
   local chance = random()
   if chance < 0.05 then
      add "deep ones"
      return raw.table { raw.field("deep", "F", tower(random(33, 2000))) }
   elseif chance < 0.07 then
      add "large ones"
      return raw.table { raw.field("big", "S", raw.long(("h"):rep(random(60000, FRAME)))) }
   end
   return raw.table(fields(random(0, 8), random(0, 4)))
end

local STRINGS = { "content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id",
   "cluster_id" }
local function draw()
   local p = {}
   for _, name in ipairs(STRINGS) do
      if random() < 0.3 then p[name] = bytes(size(255)) end
   end
   if random() < 0.8 then p.headers = headers() end
   if random() < 0.6 then p.delivery_mode = string.char(random(1, 2)) end
   if random() < 0.3 then p.priority = number(1) end
   if random() < 0.4 then p.timestamp = number(8) end
   if random() < 0.1 then p.expiration = "86400000" end
   if random() < 0.1 then p.user_id = "guest" end
   return raw.properties(p)
end

-- ---- what is compared ----

-- Less what a copy leaves out, and what is ours.
local function normal(encoded)
   return raw.less_ours(assert(properties.splice(encoded, { headers = {} }, { expiration = true, user_id = true }, {})))
end

local entries, open, last_id = {}, 0, 0 -- id -> its entry, and how it ended afterwards: an hour's bodies are too many to keep

local function hex(text) return (text:sub(1, 120):gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

local function compare(e, msg, where)
   if msg.body ~= e.body then problem("%s of %s: another body of %d bytes", where, e.id, #msg.body) end
   local got = normal(message.raw(msg))
   if got == e.properties then return end
   problem("%s of %s: properties are %d bytes and not %d: %s, not %s", where, e.id, #got, #e.properties, hex(got), hex(e.properties))
end

local function entry_of(msg)
   local e = entries[msg.body:sub(1, 12)]
   if not e then problem("a message that nobody sent: %d bytes", #msg.body)
   elseif type(e) == "string" then return problem("%s came again, though it was %s", msg.body:sub(1, 12), e) end
   return e
end

local function finished(e, how)
   entries[e.id] = how
   open = open - 1
   add(how)
end

-- ---- who sends, and who fails ----

local conn = model.connect("copies", false)
local worker = mr.consumer { queue = tag, connection = conn, prefetch = 50, dead_letter = DEAD,
   retry = mr.retry.fixed { delay = 0.05, attempts = ATTEMPTS }, handler = function(msg)
      local e = entry_of(msg)
      if not e then return end
      e.tries = e.tries + 1
      add "tries"
      if msg.attempt ~= e.tries then problem("%s: attempt %d at its try %d", e.id, msg.attempt, e.tries) end
      if e.tries == 1 then
         if normal(message.raw(msg)) ~= e.properties then add "changed by the broker" end
         e.properties = normal(message.raw(msg)) -- what the broker relays
      end
      compare(e, msg, "try " .. e.tries)
      local ok, why = pcall(function() return msg.headers end)
      if not ok then problem("%s cannot be read: %s", e.id, why) end
      if e.tries > e.failures then return finished(e, "handled") end
      error "not yet"
   end }
assert(worker:wait(20))

local dead = assert(conn:channel())
assert(dead:qos { prefetch_count = 50 })
assert(dead:consume(DEAD, function(msg)
   local e = entry_of(msg)
   if not e then return end
   compare(e, msg, "burial")
   if e.tries ~= ATTEMPTS then problem("%s buried after %d tries", e.id, e.tries) end
   finished(e, "buried")
end))

local began, writers = mr.now(), 0
for _ = 1, PUBLISHERS do
   writers = writers + 1
   model.spawn(function()
      local ch = assert(model.connect("copies out", false):channel())
      assert(ch:confirm_select())
      while mr.now() - began < model.seconds do
         last_id = last_id + 1
         local id = ("%012d"):format(last_id)
         local encoded = draw()
         local e = { id = id, body = id .. bytes(size(5000)), properties = normal(encoded), tries = 0,
            failures = random(0, ATTEMPTS) }
         entries[id], open = e, open + 1
         local ok, err = raw.publish(ch, tag, e.body, encoded)
         if not ok then
            problem("%s was not published: %s (%s)", id, tostring(err), hex(encoded))
            return
         end
         add "published"
         while open > 200 do mr.sleep(0.01) end
      end
      writers = writers - 1
   end)
end

mr.log.configure "off" -- that handlers fail is known
model.wait_until("the end of who sends", model.seconds + 30, function() return writers == 0 end)
model.wait_until("the end of all messages", 60, function() return open == 0 end)
assert(worker:cancel())
for _, queue in ipairs { tag, DEAD, tag .. ".retry-exit" } do assert(conn:channel()):queue_delete { queue = queue } end
model.finish "every copy"
mr.stop()

-- ledger: each publish ends as exactly what the broker did with it.
-- Run it with: moonrabbit run tests/model/ledger.lua SECONDS [SEED]        (MODEL_URL: see model.lua)
-- Publishers and channels send messages of equal bodies: routed, into a full queue, unroutable, to a binding that comes and
-- goes; mandatory and not; some alike in every byte. What was told of them is compared with what the queues held.
-- SPDX-License-Identifier: MIT
package.path = "tests/model/?.lua;" .. package.path
local mr = require "moonrabbit"
local model = require "model"
local add, problem, random = model.add, model.problem, math.random

local tag = ("ledger-%d-%d"):format(os.time(), model.seed)
local EXCHANGE = tag
local BODY = ("equal"):rep(20)
local stopping, writers, helpers = false, 0, 0

-- ---- what may become of a message of a kind ----

local MAY = {
   good = { acked = true }, tight = { acked = true, nacked = true }, none = { returned = true },
   flip = { acked = true, returned = true },
}
local UNKNOWN = { lost = true, timeout = true }

-- ---- the ledger: an entry for each message that can be told from others ----

local entries, last_id = {}, 0

local function entry_of(name, kind, mandatory)
   local e = entries[name]
   if not e then
      e = { name = name, kind = kind, mandatory = mandatory, least = 0, most = 0, there = 0, published = 0, ended = 0, failed = 0 }
      entries[name] = e
   end
   return e
end

-- Properties of a message, and its entry. One in four is like others of its kind in every byte.
local function draw(who, is_confirmed)
   local kinds = { "good", "good", "tight", "none", "flip" }
   local kind, mandatory = kinds[random(#kinds)], random() < 0.7
   local alike = random() < 0.25
   last_id = last_id + 1
   local name = alike and ("%s-%s-%s"):format(who, kind, tostring(mandatory)) or ("%s-%d"):format(who, last_id)
   local e = entry_of(name, kind, mandatory)
   e.is_alike, e.is_confirmed = alike, is_confirmed
   local headers = { kind = kind, name = name }
   if random() < 0.1 then headers.BCC = { "nowhere" } end
   return { mandatory = mandatory, headers = headers, persistent = random() < 0.5, timeout = 20 }, e
end

-- A publish has ended in a state, after so many attempts (those that a publisher repeats after a loss).
local function told(e, state, attempts, err)
   e.ended = e.ended + 1
   add("told " .. state)
   if UNKNOWN[state] then
      e.most = e.most + attempts
      return
   end
   local may = MAY[e.kind][state] or state == "acked" and not e.mandatory
   if state == "returned" and not e.mandatory then may = false end
   if not may then problem("%s (%s%s) was told %s", e.name, e.kind, e.mandatory and ", mandatory" or "", state) end
   local is_in = state == "acked" and (e.kind == "good" or e.kind == "tight" or e.kind == "flip" and e.mandatory)
   if is_in then e.least = e.least + 1 end
   e.most = e.most + attempts - (state == "acked" and 0 or 1)
   if state ~= "returned" then return end
   local back = err.message
   if not back then problem("%s was returned without its message", e.name)
   elseif back.headers.name ~= e.name then problem("%s was returned with the message of %s", e.name, back.headers.name) end
end

-- ---- those who publish ----

local function pause() if random() < 0.02 then mr.sleep(random() / 20) end end

local function write_by_channel(who, conn)
   writers = writers + 1
   local ch
   while not stopping do
      if not ch or not ch.handle then
         ch = conn:channel()
         if ch and not ch:confirm_select() then ch = nil end
      end
      local out = {}
      for _ = 1, ch and random(30) or 0 do
         local props, e = draw(who, true)
         local t = ch:publish_async(EXCHANGE, "key", BODY, props)
         if t then
            e.published = e.published + 1
            out[#out + 1] = { t, e }
         end
      end
      for _, one in ipairs(out) do
         local _, err = one[1]:wait(60)
         told(one[2], one[1].state, 1, err)
      end
      mr.sleep(0.002)
   end
   writers = writers - 1
end

local function write_by_publisher(who, conn, opts)
   writers = writers + 1
   opts.connection, opts.exchange, opts.routing_key = conn, EXCHANGE, "key"
   opts.on_failed = function(err, msg)
      local e = entries[msg.properties.headers.name]
      e.failed = e.failed + 1
      if err.kind == "acked" then problem("%s failed as acked", e.name) end
   end
   local pub, accepted = mr.publisher(opts), 0
   while not stopping do
      local out = {}
      for _ = 1, random(30) do
         local props, e = draw(who, true)
         local t = pub:publish_async(BODY, props)
         if t then
            e.published, accepted = e.published + 1, accepted + 1
            out[#out + 1] = { t, e }
         end
         pause()
      end
      for _, one in ipairs(out) do
         local _, err = one[1]:wait(60)
         local state = one[1].state
         told(one[2], state, one[1].job.attempt, err)
         if state ~= "acked" then one[2].must_fail = (one[2].must_fail or 0) + 1 end
      end
   end
   local s = pub:stats()
   local sum = s.acked + s.nacked + s.returned + s.lost + s.timeout
   if s.accepted ~= accepted or sum ~= accepted then
      problem("%s: %d accepted, %d counted, %d ends", who, accepted, s.accepted, sum)
   end
   add("retried", s.retried)
   pub:close()
   writers = writers - 1
end

-- Without confirms: what comes back was unroutable, and comes back once.
local function write_plain(who, conn)
   writers = writers + 1
   local ch
   while not stopping do
      if not ch or not ch.handle then
         ch = conn:channel()
         if ch then
            ch:on_return(function(msg)
               local e = entries[msg.headers.name]
               if MAY[e.kind].returned == nil or not e.mandatory then problem("%s came back", e.name) end
               e.back = (e.back or 0) + 1
               if e.back > e.published then problem("%s came back %d times of %d", e.name, e.back, e.published) end
               add "came back without confirms"
            end)
         end
      end
      for _ = 1, ch and random(10) or 0 do
         local props, e = draw(who, false)
         if ch:publish_async(EXCHANGE, "key", BODY, props) then e.published, e.most = e.published + 1, e.most + 1 end
      end
      mr.sleep(0.01)
   end
   if ch then ch:close() end
   writers = writers - 1
end

-- In transactions, on a connection that nothing cuts: all of a commit is there, and what is unroutable comes back.
local function write_in_transactions(conn)
   writers = writers + 1
   local ch = assert(conn:channel())
   assert(ch:tx_select())
   local back = 0
   ch:on_return(function(msg)
      if msg.headers.kind ~= "none" then problem("%s came back", msg.headers.name) end
      back = back + 1
   end)
   local due = 0
   while not stopping do
      local sent = {}
      for _ = 1, random(10) do
         last_id = last_id + 1
         local kind = random() < 0.5 and "good" or "none"
         local e = entry_of("tx-" .. last_id, kind, true)
         sent[#sent + 1] = e
         assert(ch:publish(EXCHANGE, "key", BODY, { mandatory = true, headers = { kind = kind, name = e.name } }))
      end
      local commits = random() < 0.7
      local ok = commits and ch:tx_commit { timeout = 30 } or not commits and ch:tx_rollback { timeout = 30 }
      if not ok then problem "a transaction did not end" end
      for _, e in ipairs(sent) do
         if commits and e.kind == "none" then due = due + 1 end
         if commits and e.kind == "good" then e.least, e.most = 1, 1 end
         add(commits and "committed" or "rolled back")
      end
      mr.sleep(0.01)
   end
   model.wait_until(("%d returns of transactions"):format(due), 10, function() return back == due end)
   ch:close()
   writers = writers - 1
end

-- ---- those who read, on a connection that nothing cuts ----

local QUEUES = { good = tag .. "-good", tight = tag .. "-tight", flip = tag .. "-flip" }

local function take(ch, kind)
   local msg, err = ch:get(QUEUES[kind], { no_ack = true, timeout = 30 })
   if not msg then
      if err.kind ~= "empty" then problem("cannot get: %s", tostring(err)) end
      return false
   end
   local e = entries[msg.headers.name]
   if msg.body ~= BODY or not e or e.kind ~= kind then problem("%s is in %s", tostring(msg.headers.name), kind) return true end
   if msg.headers.BCC then problem("%s still has BCC", e.name) end
   e.there = e.there + 1
   add("there, " .. kind)
   return true
end

local function bind(ch, kind)
   assert(ch:queue_bind { queue = QUEUES[kind], exchange = EXCHANGE, arguments = { ["x-match"] = "all", kind = kind } })
end

local function set_up(ch)
   assert(ch:exchange_declare { exchange = EXCHANGE, type = "headers", durable = true })
   for kind, name in pairs(QUEUES) do
      local limits = kind == "tight" and { ["x-max-length"] = 5, ["x-overflow"] = "reject-publish" } or nil
      assert(ch:queue_declare { queue = name, durable = true, arguments = limits })
      bind(ch, kind)
   end
end

local function flip(ch)
   helpers = helpers + 1
   while not stopping do
      mr.sleep(random() / 5)
      assert(ch:queue_unbind { queue = QUEUES.flip, exchange = EXCHANGE, arguments = { ["x-match"] = "all", kind = "flip" } })
      mr.sleep(random() / 5)
      bind(ch, "flip")
   end
   ch:close()
   helpers = helpers - 1
end

-- ---- the run ----

local straight = model.connect("straight", false)
local reader = assert(straight:channel())
set_up(reader)

local function start_writers()
   local conns = {}
   local function connect(name)
      conns[#conns + 1] = model.connect(name, true)
      return conns[#conns]
   end
   for i = 1, 2 do model.spawn(write_by_channel, "channel" .. i, connect("channel" .. i)) end
   local shared = connect "shared"
   model.spawn(write_by_publisher, "pub1", shared, { confirm_timeout = 10 })
   model.spawn(write_by_publisher, "pub2", shared, { confirm_timeout = 10, retry = mr.retry.by_kind {
      nacked = mr.retry.fixed { delay = 0.01, attempts = 3 }, lost = mr.retry.fixed { delay = 0 }, default = mr.retry.never } })
   model.spawn(write_by_publisher, "pub3", connect "pub3", { confirm_timeout = 10, retry = mr.retry.never })
   model.spawn(write_plain, "plain", connect "plain")
   model.spawn(write_in_transactions, straight)
   return conns
end

local function read()
   helpers = helpers + 1
   while not stopping do
      for _ = 1, random(20) do take(reader, "tight") end
      for _ = 1, 50 do take(reader, "good") take(reader, "flip") end
      mr.sleep(0.02)
   end
   helpers = helpers - 1
end

local function compare()
   for name, e in pairs(entries) do
      if e.there < e.least then problem("%s (%s): told acked %d times, there %d times", name, e.kind, e.least, e.there) end
      if e.there > e.most then problem("%s (%s): there %d times, at most %d by what was told", name, e.kind, e.there, e.most) end
      if e.is_confirmed and e.ended ~= e.published then problem("%s: %d published, %d ends", name, e.published, e.ended) end
      if e.failed ~= (e.must_fail or 0) then problem("%s: on_failed %d times of %d", name, e.failed, e.must_fail or 0) end
      add "messages"
   end
   entries = {}
end

-- A minute of writing, and then what it came to: an hour's messages would be too many to keep.
local ROUND = 60
local began = mr.now()
local left = model.seconds
while left > 0 do
   stopping = false
   local conns, at = start_writers(), mr.now()
   model.spawn(flip, assert(straight:channel()))
   model.spawn(read)
   model.strike(at, math.min(ROUND, left))
   stopping = true
   model.wait_until("the writers", 90, function() return writers + helpers == 0 end)
   for _, conn in ipairs(conns) do conn:release() end -- nothing of this round comes in the next
   mr.sleep(0.5) -- what was published without confirms
   for kind in pairs(QUEUES) do while take(reader, kind) do end end
   compare()
   add "rounds"
   left = model.seconds - (mr.now() - began)
end
for _, queue in pairs(QUEUES) do assert(reader:queue_delete { queue = queue }) end
assert(reader:exchange_delete { exchange = EXCHANGE })
model.finish "the ledger"
mr.stop()

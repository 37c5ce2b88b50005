--- idle: consumed queues without messages: what they cost, and that nothing is missed.
-- Feature: idle queues of Redis
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local build = require "build"
local redis = require "redis"
local waits = require "waits"

local eventually = waits.eventually
local QUEUES = 40

local function calls(name)
   return tonumber(redis.cli("INFO", "commandstats"):match("cmdstat_" .. name .. ":calls=(%d+)")) or 0
end

-- Each round of a second asks what delayed message is due.
local function rounds(count)
   redis.cli("CONFIG", "RESETSTAT")
   eventually("the rounds", function() return calls "zrangebyscore" >= count end)
end

describe("Idle queues on Redis", function()
   local conn, ch, got
   redis.around(setup, teardown)
   before_each(function()
      redis.cli "FLUSHALL"
      conn = assert(mr.connect(redis.env.MR_REDIS_URL))
      ch = assert(conn:channel())
      assert(ch:confirm_select())
      got = {}
      for i = 1, QUEUES do
         assert(ch:queue_declare { queue = "q" .. i, durable = true })
         assert(ch:consume("q" .. i, function(msg)
            got[msg.body] = true
            assert(msg:ack())
         end))
      end
      rounds(2) -- all have been found empty
   end)
   after_each(function() conn:close() end)

   -- To all queues, by another client of Redis.
   local function publish(body)
      local another = assert(mr.connect(redis.env.MR_REDIS_URL .. "?health_check_interval=99"))
      local other = assert(another:channel())
      assert(other:confirm_select())
      for i = 1, QUEUES do assert(other:publish("", "q" .. i, body .. i)) end
      another:close()
   end

   local function all_of(body)
      eventually("all of " .. body, function()
         for i = 1, QUEUES do if not got[body .. i] then return false end end
         return true
      end, 10)
   end

   it("are not asked about once a second, as Redis tells of changes", function()
      rounds(3)
      assert.is_true(calls "exists" + calls "rpop" < QUEUES, "asked too often")
      publish "heard"
      all_of "heard"
   end)

   if not build.is_sanitized then -- it waits for 40 s
      it("are asked about now and then, should a notice be lost", function()
         redis.cli("CONFIG", "RESETSTAT")
         eventually("a look at all of them", function() return calls "exists" >= QUEUES end, 60)
         assert.equal(0, calls "rpop")
      end)
   end

   it("are asked about each second when Redis cannot tell, and rarely when it can again", function()
      redis.cli("ACL", "SETUSER", "default", "-subscribe")
      redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
      rounds(3)
      assert.is_true(calls "exists" >= QUEUES, "not asked")
      publish "asked"
      all_of "asked"
      redis.cli("ACL", "SETUSER", "default", "+subscribe")
      redis.cli("CLIENT", "KILL", "TYPE", "normal") -- the one that listens is among them while it does not
      publish "again"
      all_of "again"
      eventually("quiet", function()
         rounds(2)
         return calls "exists" < QUEUES
      end, 60)
      publish "heard"
      all_of "heard"
   end)

   it("miss nothing after all keys were removed", function()
      redis.cli "FLUSHALL"
      publish "flushed"
      all_of "flushed"
   end)
end)

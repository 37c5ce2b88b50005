--- Queues that this process has not declared, but that have messages in Redis: a passive declare finds them.
-- Covers: runtime/broker/client/found.c by declare
-- Feature: a Redis and its queues of other processes
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local build = require "build"
local redis = require "redis"
local shell = require "shell"
local waits = require "waits"

if build.is_tsan then return end -- ASan has it all; what runs in two threads is in redis_spec and trouble_spec

local PUBLISH = [[
import kombu, sys
c = kombu.Connection(sys.argv[1])
for i in range(3): kombu.Producer(c.channel()).publish({'n': i}, routing_key=sys.argv[2])
c.release()
]]

describe("A queue of Redis that was not declared here", function()
   local conn, ch

   redis.around(setup, teardown)

   before_each(function()
      redis.cli "FLUSHALL"
      conn = assert(mr.connect(redis.env.MR_REDIS_URL))
      ch = assert(conn:channel())
   end)
   after_each(function() conn:release() end)

   it("is found by a passive declare while it has messages, and is used as any other", function()
      redis.python(PUBLISH, "theirs")
      assert.equal("not_found", select(2, assert(conn:channel()):get "theirs").kind)
      assert.same({ queue = "theirs", message_count = 3, consumer_count = 0 }, ch:queue_declare { queue = "theirs", passive = true })
      assert.same({ n = 0 }, assert(ch:get("", { no_ack = true })):decode()) -- it is the last one that was declared
      local got = {}
      assert(ch:consume("theirs", function(msg) got[#got + 1] = msg:decode().n end))
      waits.eventually("the others", function() return #got == 2 end)
      assert.same({ 1, 2 }, got)
      assert.equal(0, assert(ch:queue_declare { queue = "theirs", passive = true }).message_count)
   end)

   it("is not there without messages", function()
      for _, name in ipairs { "nobody's", "nul\0" } do
         local other = assert(conn:channel())
         local ok, err = other:queue_declare { queue = name, passive = true }
         assert.same({ nil, "not_found", 404 }, { ok, err.kind, err.code })
         assert.is_false(other.is_open)
      end
      assert.is_true(conn.is_open)
   end)

   it("has the arguments of a declaration that comes after", function()
      assert(ch:queue_declare { queue = "dead" })
      redis.python(PUBLISH, "theirs")
      assert(ch:queue_declare { queue = "theirs", passive = true })
      local ok = assert(ch:queue_declare { queue = "theirs", durable = true,
         arguments = { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "dead" } })
      assert.equal(3, ok.message_count)
      assert.is_true(assert(ch:get "theirs"):reject())
      waits.eventually("the dead letter", function() return assert(ch:queue_declare { queue = "dead" }).message_count == 1 end)
   end)

   it("cannot be declared while it is consumed, as it would have other arguments", function()
      redis.python(PUBLISH, "theirs")
      assert(ch:queue_declare { queue = "theirs", passive = true })
      assert(ch:consume("theirs", function() end))
      local ok, err = assert(conn:channel()):queue_declare { queue = "theirs", durable = true }
      assert.same({ nil, "precondition_failed" }, { ok, err.kind })
      assert.truthy(err.text:find("declare it before", 1, true), err.text)
   end)

   it("cannot be declared while it is bound, as its bindings would end", function()
      redis.python(PUBLISH, "theirs")
      assert(ch:exchange_declare { exchange = "x", type = "fanout" })
      assert(ch:queue_declare { queue = "theirs", passive = true })
      assert(ch:queue_bind { queue = "theirs", exchange = "x" })
      local ok, err = assert(conn:channel()):queue_declare { queue = "theirs", durable = true }
      assert.same({ nil, "precondition_failed" }, { ok, err.kind })
      assert(ch:queue_unbind { queue = "theirs", exchange = "x" })
      assert(ch:queue_declare { queue = "theirs", durable = true })
   end)

   it("is what the tools of the command look at, move and purge", function()
      local command = os.getenv "MOONRABBIT_COMMAND"
      local function run(tool)
         local out, code = shell(("AMQP_URL='%s' %s %s 2>&1"):format(redis.env.MR_REDIS_URL, command, tool))
         assert.equal(0, code, out)
         return out
      end
      redis.python(PUBLISH, "theirs")
      local said = run "peek theirs"
      assert.truthy(said:find('"n": 0', 1, true), said)
      assert.equal("3", redis.cli("LLEN", "theirs"))
      redis.python(PUBLISH, "mine")
      run "move theirs mine"
      assert.same({ "0", "6" }, { redis.cli("LLEN", "theirs"), redis.cli("LLEN", "mine") })
      run "purge mine"
      assert.equal("0", redis.cli("LLEN", "mine"))
   end)
end)

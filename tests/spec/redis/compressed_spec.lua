--- compressed: bodies that kombu has compressed: raw in msg.body, refused by msg:decode(), and kombu's again when they are passed on.
-- Feature: kombu's compression by Redis
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local build = require "build"
local redis = require "redis"
local waits = require "waits"

if build.is_tsan then return end -- ASan has it all; what runs in two threads is in redis_spec and trouble_spec

local PUBLISH = [[
import kombu, sys
with kombu.Connection(sys.argv[1]) as c, c.Producer() as p:
    for name in sys.argv[2:]:
        p.publish({'n': 1, 'name': name}, routing_key='q', compression=name, declare=[kombu.Queue('q')])
]]

local CONSUME = [[
import kombu, sys
with kombu.Connection(sys.argv[1]) as c:
    q = c.SimpleQueue('out')
    m = q.get(timeout=20)
    print(m.payload['name'], m.headers['compression'])
    m.ack()
    q.close()
]]

describe("a body that kombu has compressed", function()
   redis.around(setup, teardown)

   local conn, ch
   before_each(function()
      redis.cli "FLUSHALL"
      conn = assert(mr.connect(redis.env.MR_REDIS_URL))
      ch = assert(conn:channel())
      assert(ch:confirm_select())
      for _, name in ipairs { "q", "out" } do assert(ch:queue_declare { queue = name, durable = true }) end
   end)
   after_each(function() conn:close() end)

   for name, kind in pairs { zlib = "application/x-gzip", bzip2 = "application/x-bz2", xz = "application/x-lzma" } do
      it("by " .. name .. " comes as it is, is not decoded, and kombu reads it when it is published again", function()
         redis.python(PUBLISH, name)
         local msg = assert(ch:get "q")
         local value, err = msg:decode()
         assert.is_nil(value)
         assert.same({ "not_implemented", "message" }, { err.kind, err.scope })
         assert.is_truthy(err.text:find(kind, 1, true), err.text)
         assert.is_truthy(err.hint:find("without compression", 1, true), err.hint)
         assert.equal("application/json", msg.content_type)
         assert.is_true(msg.body:sub(1, 1) ~= "{")
         assert(ch:publish("", "out", msg.body, { content_type = msg.content_type, content_encoding = msg.content_encoding,
            headers = msg.headers }))
         assert(msg:ack())
         assert.equal(name .. " " .. kind, redis.python(CONSUME))
      end)
   end

   it("goes to the dead letters of a consumer that decodes, and to the handler of one that decompresses by itself", function()
      redis.python(PUBLISH, "zlib")
      local handled
      local first = mr.consumer { connection = conn, queue = "q", decode = true, dead_letter = "dead",
         handler = function() handled = true end }
      waits.eventually("the dead letter", function() return redis.cli("LLEN", "dead") == "1" end)
      assert(first:cancel())
      assert.is_nil(handled)
      local dead = assert(ch:get "dead")
      assert.is_truthy(dead.headers["x-mr-reason"]:find("application/x-gzip", 1, true), dead.headers["x-mr-reason"])
      assert(dead:ack())

      redis.python(PUBLISH, "zlib")
      local second = mr.consumer { connection = conn, queue = "q", handler = function(_, value) handled = value end,
         decode = function(msg) return msg.headers.compression .. " " .. #msg.body end }
      waits.eventually("the handler", function() return handled end)
      assert.is_truthy(handled:find "^application/x%-gzip %d+$", handled)
      assert(second:cancel())
   end)
end)

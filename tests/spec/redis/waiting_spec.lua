--- waiting: who connects while Redis is not reached: how soon it is told why, or served.
-- Feature: waiting for Redis
-- SPDX-License-Identifier: MIT
local files = require "files"
local mr = require "moonrabbit"
local redis = require "redis"
local waits = require "waits"

-- The only try to connect: the connection, or the error; and how long it took.
local function try(query)
   local conn = mr.connect { url = redis.env.MR_REDIS_URL .. (query or ""), connection_attempts = 1 }
   local began = mr.now()
   local ok, err = conn:connect()
   local took = mr.now() - began
   if not ok then conn:close() end
   return ok and conn, err, took
end

local function has(text, part) assert.is_truthy(text:find(part, 1, true), text) end

describe("Who connects while Redis is not reached", function()
   redis.around(setup, teardown)

   it("is told why after three seconds, though the next try is later", function()
      local held = assert(try())
      waits.loss(held, redis.kill)
      local conn, err, took = try()
      assert.is_nil(conn or nil)
      has(err.text, "nothing listens")
      assert.is_true(took < 4, took)
      for _ = 1, 8 do -- each has a try of its own, and the time to the next one grows
         conn, err, took = try()
         assert.is_nil(conn or nil)
         has(err.text, "nothing listens")
         assert.is_true(took < 1, took)
      end
      redis.start()
      conn, err, took = try()
      assert.is_truthy(conn, tostring(err)) -- at once, not at the link's next try
      assert.is_true(took < 1, took)
      conn:close()
      held:close()
   end)

   it("is told that Redis says nothing, before its own patience ends", function()
      local pid = files.read(redis.dir .. "/pid"):match "%d+"
      os.execute("kill -STOP " .. pid)
      finally(function() os.execute("kill -CONT " .. pid) end)
      waits.eventually("it stands still", function() return files.read("/proc/" .. pid .. "/stat"):find "%) T " end)
      local conn, err, took = try "?socket_timeout=9"
      assert.is_nil(conn or nil)
      has(err.text, "Redis has not answered within 3 s")
      assert.is_true(took > 2.5 and took < 4.5, took)
   end)
end)

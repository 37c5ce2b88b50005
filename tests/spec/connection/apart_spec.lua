--- apart: when a consumer gets a connection of its own, and what becomes of it.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local apart = require "moonrabbit.connection.apart"
local errors = require "moonrabbit.base.errors"
local eventually = require("waits").eventually

describe("a consumer that ends its connection", function()
   local home, released

   before_each(function()
      mr.log.configure "off"
      released = 0
      home = { clone = function() return { channels = {}, release = function(own)
         own.released, released = true, released + 1
      end } end }
   end)
   after_each(function() mr.log.configure "error" end)

   local function error_of(kind, scope, code)
      local err = errors.new(kind, scope, kind)
      err.code = code
      return err
   end
   local function internal() return error_of("internal_error", "connection", 541) end

   it("has one of its own from the second time on, or at once when it is known to be the cause", function()
      local a, b = apart.new(home, "q"), apart.new(home, "q")
      a:note(internal())
      assert.equal(home, a.connection)
      a:note(internal())
      assert.not_equal(home, a.connection)
      b:note(internal(), true)
      assert.not_equal(home, b.connection)
   end)

   it("keeps the one it shares when an operator or the network ended it, or when it worked in between", function()
      local a = apart.new(home, "q")
      for _ = 1, 5 do
         a:note(error_of("connection_forced", "connection", 320))
         a:note(error_of("stream_lost", "connection"))
         a:note(error_of("not_found", "channel", 404))
         a:note(error_of("channel_limit_reached", "connection", 530), true)
      end
      a:note(internal())
      a:worked()
      a:note(internal())
      assert.equal(home, a.connection)
   end)

   it("tries rarely: after 5, 10, 20, 40 and then each 60 seconds, or more rarely if the policy says so", function()
      local a, pauses = apart.new(home, "q"), {}
      assert.equal(0.5, a:pause(0.5))
      for i = 1, 6 do
         a:note(internal(), i == 1)
         pauses[i] = a:pause(0.5)
      end
      assert.same({ 5, 10, 20, 40, 60, 60 }, pauses)
      assert.equal(300, a:pause(300))
   end)

   it("goes back to the shared one if the user may have no more connections", function()
      local a = apart.new(home, "q")
      a:note(internal(), true)
      a:note(error_of("connection_limit_reached", "connection", 530))
      assert.equal(home, a.connection)
      eventually("its end", function() return released == 1 end)
   end)

   it("has its own closed and released together with the shared one", function()
      local shared = mr.connect "memory://apart"
      local a, b = apart.new(shared, "q"), apart.new(shared, "r")
      a:note(internal(), true)
      b:note(internal(), true)
      local own, ch = a.connection, assert(a.connection:channel())
      assert(shared:close())
      assert.is_false(own.is_open)
      assert.is_nil(ch.handle)
      assert.is_falsy(own.released)
      b:finish()
      eventually("its end", function() return b.connection.released end)
      assert(shared:release())
      assert.is_true(own.released)
   end)

   it("releases its own when its last channel is closed", function()
      local a = apart.new(home, "q")
      a:note(internal(), true)
      a.connection.channels[1] = {}
      a:finish()
      mr.sleep(0)
      assert.equal(0, released)
      a.connection.channels[1] = nil
      eventually("its end", function() return released == 1 end)
   end)
end)

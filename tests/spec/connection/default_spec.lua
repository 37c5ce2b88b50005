--- default: the connection of whoever says none.
local mr = require "moonrabbit"
local home = require "moonrabbit.connection.default"

describe("the program's own connection", function()
   before_each(function() mr.set_default_url "memory://home" end)
   after_each(function()
      home.connection():release()
      mr.set_default_url(nil)
   end)

   it("is one, and goes where mr.connect goes that is not told", function()
      local conn = home.connection()
      assert.equal(conn, home.connection())
      assert.equal("memory://home", conn:info().url)
      assert.is_true(home.is_connection(conn))
   end)

   it("is not asked for when there is another", function()
      local conn = mr.connect "memory://else"
      finally(function() conn:release() end)
      assert.equal(conn, home.connection(conn))
   end)

   it("is made anew when it was released", function()
      local conn = home.connection()
      assert(conn:connect())
      assert(conn:release())
      assert.are_not.equal(conn, home.connection())
      assert(home.connection():connect())
   end)

   it("is not a connection what merely looks like one", function()
      assert.is_false(home.is_connection {})
      assert.is_false(home.is_connection "memory://")
   end)
end)

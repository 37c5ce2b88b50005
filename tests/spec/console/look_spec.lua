--- look: what a console shows of handlers.
local json = require "moonrabbit.base.json"
local look = require "moonrabbit.console.look"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local eventually = require("waits").eventually

describe("a look", function()
   after_each(function() loop.close(1) end)

   it("finds handlers that wait, with their place, and without passwords", function()
      assert.equal("[]", json.encode(look.handlers()))
      local conn = mr.connect "memory://"
      local ch = conn:channel()
      ch:queue_declare { queue = "looked_at" }
      local may_end = false
      ch:consume("looked_at", function() while not may_end do mr.sleep(0.01) end end)
      ch:publish("", "looked_at", "x", { message_id = "amqp://u:hunter2@h/" })
      eventually("the handler", function() return #look.handlers().value == 1 end)
      local one = json.decode(json.encode(look.handlers()))[1]
      assert.same({ "looked_at", "amqp://u:***@h/" }, { one.queue, one.message_id })
      assert.truthy(one.at:find("look_spec.lua:", 1, true))
      may_end = true
      eventually("its end", function() return #look.handlers().value == 0 end)
      conn:close()
   end)
end)

--- streams: what a consumer of a stream may ask for.
local mr = require "moonrabbit"
local streams = require "moonrabbit.channel.streams"

local function refuses(opts, words)
   local ok, err = pcall(streams.check, opts)
   assert.is_false(ok)
   assert.truthy(tostring(err):find(words, 1, true), tostring(err))
end

describe("the options of a stream's consumer", function()
   it("have an offset that RabbitMQ understands", function()
      for _, offset in ipairs { "first", "last", "next", "2h", 0, 12, 2 ^ 40, mr.timestamp(os.time()), mr.int(5), 5LL } do
         streams.check { arguments = { ["x-stream-offset"] = offset } }
      end
      for _, offset in ipairs { "firsst", "", "12", -1, 1.5, 0 / 0, 1 / 0, true, {}, mr.bytes "first" } do
         refuses({ arguments = { ["x-stream-offset"] = offset } }, "x-stream-offset must be")
      end
   end)

   it("are those that a stream has; for other queues all are as they were", function()
      refuses({ no_ack = true, arguments = { ["x-stream-offset"] = "first" } }, "no_ack")
      refuses({ priority = 1, arguments = { ["x-stream-offset"] = "first" } }, "priority")
      streams.check { no_ack = true, priority = 1, arguments = { other = true } }
      streams.check {}
   end)

   it("are copied for another beginning", function()
      local flags = { exclusive = true, arguments = { ["x-stream-offset"] = "first", other = 1 } }
      assert.same({ exclusive = true, arguments = { ["x-stream-offset"] = 7, other = 1 } }, streams.at(flags, 7))
      assert.equal("first", flags.arguments["x-stream-offset"])
      assert.same({ arguments = { ["x-stream-offset"] = 7 } }, streams.at({}, 7))
   end)
end)

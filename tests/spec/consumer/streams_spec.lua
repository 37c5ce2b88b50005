--- streams: what mr.consumer of a stream may ask for. (What it does then: contract/stream_spec, on RabbitMQ.)
local mr = require "moonrabbit"

local store = { load = function() end, save = function() return true end }

describe("mr.consumer of a stream", function()
   it("is refused what a stream does not have when it is made (FIELD-C3)", function()
      for words, opts in pairs {
         ["priority"] = { priority = 2, stream = {} }, ["exclusive"] = { exclusive = true, queue_type = "stream" },
         ["stream.offset"] = { stream = { offset = "frist" } }, ["needs \"stream.name\""] = { stream = { store = store } },
         ["say it once"] = { stream = { offset = 1 }, arguments = { ["x-stream-offset"] = 1 } },
         ["declared as a quorum queue"] = { stream = {}, queue_type = "quorum" }, ["unknown option"] = { stream = { ofset = 1 } },
         ["save_every"] = { stream = { name = "n", save_every = 0 } }, ["\"save\" is missing"] = { stream = { name = "n",
            store = { load = print } } },
      } do
         opts.queue, opts.handler = "q", print
         local ok, err = pcall(mr.consumer, opts)
         assert.is_false(ok, words)
         assert.truthy(tostring(err):find(words, 1, true), tostring(err))
      end
   end)
end)

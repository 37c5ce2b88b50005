--- filter: mr.filter, a middleware that passes over messages by their headers.
local mr = require "moonrabbit"
local working = require "working"

describe("mr.filter", function()
   local function run(wanted, headers)
      local is_called = false
      local word = mr.filter(wanted)({ headers = headers }, function()
         is_called = true
         return "of the handler"
      end)
      assert.equal(is_called and "of the handler" or true, word)
      return is_called
   end

   it("calls the handler if all headers are as wanted: a value, one of a list, a function", function()
      assert.is_true(run({ region = "eu" }, { region = "eu", other = 1 }))
      assert.is_false(run({ region = "eu" }, { region = "us" }))
      assert.is_false(run({ region = "eu" }, {}))
      assert.is_true(run({ region = { "eu", "us" }, n = 5 }, { region = "us", n = 5 }))
      assert.is_false(run({ region = { "eu", "us" }, n = 5 }, { region = "us", n = 6 }))
      assert.is_true(run({ n = function(v) return v and v > 3 end }, { n = 4 }))
      assert.is_false(run({ n = function(v) return v and v > 3 end }, {}))
      assert.is_true(run(function(msg) return msg.headers.a == 1 end, { a = 1 }))
      assert.is_false(run(function(msg) return msg.headers.a == 1 end, { a = 2 }))
   end)

   it("refuses what would let everything pass", function()
      for _, wanted in ipairs { {}, { "region" }, { region = {} }, 5 } do
         assert.is_false((pcall(mr.filter, wanted)))
      end
   end)

   it("acks what it passes over, in mr.consumer of any queue", function()
      local _, conn, ch = working.setup()
      finally(working.clean)
      local got = {}
      local w = working.consumer(conn, { middleware = { mr.filter { region = "eu" } },
         handler = function(msg) got[#got + 1] = msg.body end })
      assert(ch:publish("", "q", "one", { headers = { region = "us" } }))
      assert(ch:publish("", "q", "two", { headers = { region = "eu" } }))
      working.eventually("the second one", function() return got[1] == "two" end)
      working.eventually("all acked", function() return w.running == 0 end)
      assert.equal(0, assert(ch:queue_declare { queue = "q", passive = true }).message_count)
   end)
end)

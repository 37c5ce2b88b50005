--- dead_letters: what this process has moved to the dead letters.
local dead_letters = require "moonrabbit.redelivery.dead_letters"

local function note(queue, err, time, id)
   dead_letters.note { queue = queue, error = err, time = time, attempt = 2, message_id = id, routing_key = "k", reason = "r" }
end

describe("the dead letters of a process", function()
   before_each(dead_letters.clear)
   teardown(dead_letters.clear)

   it("are grouped by queue and first line of the error, the newest first, with the newest three", function()
      for i = 1, 5 do note("a", "kaput\nline " .. i, i, "m" .. i) end
      note("b", "kaput", 6)
      note("a", "other", 7)
      dead_letters.note { queue = "a", reason = "the handler said so", time = 8 }
      local list = dead_letters.list()
      local names = {}
      for i, group in ipairs(list) do names[i] = ("%s %s %d"):format(group.queue, group.error, group.count) end
      assert.same({ "a the handler said so 1", "a other 1", "b kaput 1", "a kaput 5" }, names)
      assert.same({ { time = 5, attempt = 2, message_id = "m5", routing_key = "k", reason = "r" }, "m4", "m3" },
         { list[4].examples[1], list[4].examples[2].message_id, list[4].examples[3].message_id })
      assert.equal(3, #list[4].examples)
   end)

   it("are bounded: many errors share a group, long ones are cut", function()
      for i = 1, 150 do note("a", "error " .. i, i) end
      note("a", ("x"):rep(1000), 1000)
      local list, count, others = dead_letters.list(), 0, 0
      for _, group in ipairs(list) do
         count = count + group.count
         if group.error == "(other errors)" then others = group.count end
      end
      assert.same({ 151, 51, 101 }, { count, others, #list })
      dead_letters.clear()
      note("a", ("x"):rep(1000), 1)
      assert.equal(200, #dead_letters.list()[1].error)
   end)

   it("have no passwords, also where a text is cut", function()
      for before = 150, 200 do
         local text = ("x"):rep(before) .. " amqp://u:hunter2@h/"
         dead_letters.note { queue = "a", error = text, reason = text, time = before }
      end
      for _, group in ipairs(dead_letters.list()) do
         assert.is_nil(group.error:find(":h", 1, true), group.error)
         assert.is_nil(group.examples[1].reason:find(":h", 1, true))
      end
   end)
end)

--- progress: which messages of a stream are handled.
local progress = require "moonrabbit.consumer.progress"

describe("the progress of a stream's consumer", function()
   it("is the lowest offset that is not handled (FIELD-C3)", function()
      local p = progress.new()
      assert.is_nil(p:position())
      for offset = 10, 14 do assert.equal("begin", (p:begin(offset))) end
      assert.equal(10, p:position())
      p:handled(11)
      p:handled(13)
      assert.equal(10, p:position())
      p:handled(10)
      assert.equal(12, p:position())
      p:handled_up_to(14)
      assert.equal(15, p:position())
   end)

   it("begins behind what was handled before", function()
      local p = progress.new(7)
      assert.equal(7, p:position())
      assert.equal("handled", (p:begin(6)))
      assert.equal("begin", (p:begin(7)))
   end)

   it("counts failures of a message that comes again, and has others wait for the one that has it", function()
      local p, told = progress.new(), 0
      p:begin(3)
      assert.equal("running", (p:begin(3)))
      p:wait(3, function() told = told + 1 end)
      p:left(3, 2)
      assert.equal(1, told)
      assert.same({ "begin", 2 }, { p:begin(3) })
      assert.equal("running", (p:begin(3)))
      p:wait(3, function() told = told + 1 end)
      p:handled(3)
      assert.equal(2, told)
      assert.equal("handled", (p:begin(3)))
      p:left(3, 5) -- too late: it changes nothing
      assert.equal(4, p:position())
   end)

   it("begins anew if the first message after a cancel was there before: it is another stream", function()
      local p = progress.new()
      for offset = 0, 9 do
         p:begin(offset)
         p:handled(offset)
      end
      p:look(10)
      assert.equal(10, p:position())
      p:look(0)
      assert.equal("begin", (p:begin(0)))
      assert.equal(0, p:position())
   end)

   it("is not of another stream because a message comes again that was handled while the broker cancelled", function()
      local p = progress.new()
      for offset = 0, 9 do
         p:begin(offset)
         if offset ~= 7 then p:handled(offset) end
      end
      p:handled(7) -- after the runtime has asked for 7 and what comes after it
      p:look(7)
      assert.equal(10, p:position())
      for offset = 7, 9 do assert.equal("handled", (p:begin(offset))) end
      assert.equal("begin", (p:begin(10)))
   end)

   -- Messages come in their order, several are handled at once, some fail, and losses begin again at the position. A list of all
   -- offsets is what is compared.
   it("is what a list of all messages says, whatever happens", function()
      for seed = 1, 60 do
         math.randomseed(seed)
         local p, handled, running, next_one, wire, begun = progress.new(), {}, {}, 0, 0, 0
         local function truth()
            local low = 0
            while handled[low] do low = low + 1 end
            return low
         end
         for _ = 1, 600 do
            local dice = math.random()
            if dice < 0.5 and #running < 8 then
               local what, failed = p:begin(wire)
               if what == "begin" then
                  assert.is_nil(handled[wire], "handled twice")
                  running[#running + 1] = { offset = wire, failed = failed }
               elseif what == "handled" then
                  assert.is_true(handled[wire])
               end
               begun, wire = math.max(begun, wire + 1), wire + 1
               next_one = math.max(next_one, wire)
            elseif dice < 0.9 and #running > 0 then
               local one = table.remove(running, math.random(#running))
               if math.random() < 0.8 then
                  handled[one.offset] = true
                  p:handled(one.offset)
               else
                  p:left(one.offset, one.failed + 1)
               end
            elseif dice > 0.97 and begun > 0 then
               wire = p:position() -- a loss; who runs then still ends
            end
            if begun > 0 then assert.equal(truth(), p:position()) end
         end
      end
   end)
end)

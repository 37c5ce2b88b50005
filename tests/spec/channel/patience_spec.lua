--- patience: doing again what must be done before a message can be acked, while the message is held.
-- SPDX-License-Identifier: MIT
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local patience = require "moonrabbit.channel.patience"
local stop = require "moonrabbit.loop.stop"
local waits = require "waits"
local working = require "working"

-- until_done in a task; its tries, the pauses that it told of, and its results.
local function begin(msg, fn)
   local seen = { tries = 0, pauses = {} }
   seen.call = waits.background(patience.until_done, msg, function()
      seen.tries = seen.tries + 1
      if seen.tries > 10 then error "it is tried without end" end
      return fn(seen.tries)
   end, function(err, pause)
      assert.equal("no room", err.text)
      seen.pauses[#seen.pauses + 1] = pause
   end)
   return seen
end

local function no_room() return nil, { text = "no room" } end

local function tried(seen, count)
   working.eventually("a try", function() return seen.tries >= count end)
end

local function ended(seen)
   working.eventually("the end", function() return seen.call.done end)
   return { seen.call.result, seen.call.err }
end

describe("patience", function()
   after_each(function() loop.close(1) end)

   it("tells nothing of what is done at the first try", function()
      local seen = begin({ is_live = true }, function() return true end)
      assert.same({ true }, ended(seen))
      assert.same({ 1, {} }, { seen.tries, seen.pauses })
   end)

   it("tries again after pauses that double, up to a quarter of a minute", function()
      local seen = begin({ is_live = true }, function(n)
         if n > 7 then return true end
         return no_room()
      end)
      tried(seen, 1)
      for n, pause in ipairs { 0.5, 1, 2, 4, 8, 15, 15 } do
         assert.equal(n, seen.tries)
         mr.testing.advance(pause - 0.1, 0.1) -- not yet
         assert.equal(n, seen.tries)
         working.advance_until("the next try", function() return seen.tries > n end, 1)
      end
      assert.same({ true }, ended(seen))
      assert.same({ 0.5, 1, 2, 4, 8, 15, 15 }, seen.pauses)
   end)

   it("gives up at once what will never be done, and does not tell of it", function()
      local err = { text = "never", is_final = true }
      local seen = begin({ is_live = true }, function() return nil, err end)
      assert.same({ nil, err }, ended(seen))
      assert.same({ 1, {} }, { seen.tries, seen.pauses })
   end)

   it("has no error for a message that is not ours any more: it comes again by itself", function()
      local seen = begin({ is_live = false }, function() return nil, { text = "never", is_final = true } end)
      assert.same({}, ended(seen))
      assert.same({ 1, {} }, { seen.tries, seen.pauses })
   end)

   it("leaves a pause soon after the message was lost", function()
      local msg = { is_live = true }
      local seen = begin(msg, no_room)
      tried(seen, 1)
      working.advance_until("the fourth try", function() return seen.tries == 4 end, 5)
      msg.is_live = false -- within the pause of four seconds
      working.advance_until("the end", function() return seen.call.done end, 1)
      assert.same({}, ended(seen))
   end)

   it("leaves a pause soon after the program was asked to stop, and says that it is over", function()
      local seen = begin({ is_live = true }, no_room)
      tried(seen, 1)
      working.advance_until("the sixth try", function() return seen.tries == 6 end, 17)
      assert.is_false(patience.is_over())
      local from = mr.now()
      stop.ask() -- within the pause of 15 seconds
      assert.is_true(patience.is_over())
      while not seen.call.done do loop.pump(1) end -- this chunk may not wait any more
      assert.is_true(mr.now() - from < 10)
      assert.same({}, { seen.call.result, seen.call.err })
   end)
end)

--- task: who runs, who waits, who goes on.
-- SPDX-License-Identifier: MIT
local marks = require "moonrabbit.loop.mark"
local task = require "moonrabbit.loop.task"

describe("task", function()
   local pumps, reports, stopping

   before_each(function()
      task.reset()
      pumps, reports, stopping = 0, {}, false
      task.set_loop(function()
         pumps = pumps + 1
         if pumps > 100 then error("nobody woke the main chunk") end
         task.run_ready()
      end, function() return false end)
      task.set_report(function(where, why) reports[#reports + 1] = where .. ": " .. why end)
      task.set_must_stop(function(soft, is_new) return stopping and (soft or is_new) end)
   end)

   it("runs a spawned function at once, up to its first wait", function()
      local steps = {}
      local token = task.token()
      task.spawn(function(a)
         steps[#steps + 1] = a
         steps[#steps + 1] = task.wait(token)
      end, "first")
      assert.same({ "first" }, steps)
      assert.equal(1, task.alive)
      assert.is_true(task.wake(token, "second"))
      assert.same({ "first" }, steps) -- not before the loop says so
      assert.is_true(task.run_ready())
      assert.same({ "first", "second" }, steps)
      assert.equal(0, task.alive)
      assert.is_false(task.run_ready())
   end)

   it("hands all values over, nils too", function()
      local got
      local token = task.token()
      task.spawn(function() got = { n = select("#", task.wait(token)) } end)
      task.wake(token, nil, 2, nil)
      task.run_ready()
      assert.equal(3, got.n)
   end)

   it("says when nobody waits", function()
      assert.is_false(task.wake(task.token()))
      local token = task.token()
      task.spawn(function() task.wait(token) end)
      assert.is_true(task.wake(token))
      assert.is_false(task.wake(token))
   end)

   it("resumes in the order of waking", function()
      local order, tokens = {}, {}
      for i = 1, 3 do
         tokens[i] = task.token()
         task.spawn(function()
            task.wait(tokens[i])
            order[#order + 1] = i
         end)
      end
      for _, i in ipairs { 2, 3, 1 } do task.wake(tokens[i]) end
      task.run_ready()
      assert.same({ 2, 3, 1 }, order)
   end)

   it("reports an error with its traceback and goes on", function()
      task.spawn(function() error "oops" end)
      assert.equal(1, #reports)
      assert.is_truthy(reports[1]:find("^task: .*task_spec.lua:%d+: oops\nstack traceback:"))
      assert.equal(0, task.alive)
      local ran
      task.spawn(function() ran = true end)
      assert.is_true(ran)
   end)

   it("never has a coroutine that died do another job (FIELD-W17)", function()
      local dead
      task.start(function()
         dead = task.current()
         error "a fault of the library"
      end)
      assert.is_truthy(reports[1]:find("^library: .*a fault of the library"))
      assert.equal("dead", coroutine.status(dead))
      local ran = 0
      for _ = 1, 5 do
         task.spawn(function()
            assert.are_not.equal(dead, task.current())
            ran = ran + 1
         end)
      end
      assert.equal(5, ran)
      assert.equal(1, #reports)
   end)

   it("uses coroutines again", function()
      local first, second
      task.spawn(function() first = task.current() end)
      task.spawn(function() second = task.current() end)
      assert.is_not_nil(first)
      assert.equal(first, second)
      assert.is_nil(task.current())
   end)

   it("gives a waiting job a coroutine of its own", function()
      local first, second
      local token = task.token()
      task.spawn(function()
         first = task.current()
         task.wait(token)
      end)
      task.spawn(function() second = task.current() end)
      assert.are_not.equal(first, second)
      task.wake(token)
      task.run_ready()
   end)

   it("pumps in the main chunk until it is woken", function()
      local token = task.token()
      task.later(function() task.wake(token, "a", "b") end)
      assert.same({ "a", "b" }, { task.wait(token) })
      assert.equal(1, pumps)
   end)

   it("pumps in a coroutine of the script's own, too", function()
      local token = task.token()
      task.later(function() task.wake(token, "a") end)
      local co = coroutine.wrap(function() return task.wait(token) end)
      assert.equal("a", co())
   end)

   it("takes the script's own yield in a task for giving way", function()
      local steps = {}
      task.spawn(function()
         steps[#steps + 1] = "one"
         coroutine.yield()
         steps[#steps + 1] = "two"
      end)
      steps[#steps + 1] = "other"
      task.run_ready()
      assert.same({ "one", "other", "two" }, steps)
   end)

   it("is at its own work again after giving way, within its time limit, and leaves neither to others", function()
      local mark, seen = marks.mark, {}
      task.spawn(function()
         mark.consumer, mark.deadline = 7, 9
         coroutine.yield()
         seen.own = { mark.consumer, mark.deadline }
      end)
      task.spawn(function()
         coroutine.yield()
         seen.other = { mark.consumer, mark.deadline }
      end)
      task.run_ready()
      assert.same({ own = { 7, 9 }, other = { 0, 0 } }, seen)
   end)

   it("starts what is put off at the next turn", function()
      local ran
      task.later(function(a) ran = a end, "x")
      assert.is_nil(ran)
      assert.is_true(task.has_ready())
      task.run_ready()
      assert.equal("x", ran)
   end)

   it("runs what is put off in an idle coroutine, as all else", function()
      local seen, count = {}, 0
      for _ = 1, 10 do
         task.later(function() seen[coroutine.running()] = true end)
         task.run_ready()
      end
      for _ in pairs(seen) do count = count + 1 end
      assert.equal(1, count)
   end)

   it("leaves who is woken within a turn to the next one", function()
      local count = 0
      local function again()
         count = count + 1
         if count < 3 then task.later(again) end
      end
      task.later(again)
      task.run_ready()
      assert.equal(1, count)
      task.run_ready()
      assert.equal(2, count)
   end)

   it("does not count background tasks", function()
      local token = task.token()
      task.background(function() task.wait(token) end)
      assert.equal(0, task.alive)
   end)

   it("ends waits of the main chunk when the program is to stop", function()
      stopping = true
      local ok, why = pcall(task.wait, task.token())
      assert.is_false(ok)
      assert.equal(task.STOPPED, why)
      assert.equal("the program was asked to stop", tostring(why))
      assert.equal(0, pumps) -- not even begun
      stopping = false
      task.later(function() stopping = true end)
      assert.is_false(pcall(task.wait, task.token(), true))
      assert.equal(1, pumps)
   end)

   it("lets a hard wait of the main chunk see its end", function()
      local token = task.token()
      task.later(function()
         stopping = true
         task.later(function() task.wake(token, "answer") end)
      end)
      assert.equal("answer", task.wait(token))
   end)

   it("never ends the wait of a task", function()
      local got
      local token = task.token()
      stopping = true
      task.spawn(function() got = task.wait(token, true) end)
      task.wake(token, "x")
      task.run_ready()
      assert.equal("x", got)
   end)

   it("forgets who waits", function()
      local token, ran = task.token(), nil
      task.spawn(function() ran = task.wait(token) end)
      task.reset()
      assert.is_false(task.wake(token, true))
      assert.is_nil(ran)
      assert.equal(0, task.alive)
   end)

   it("keeps nothing of ten thousand tasks that waited", function()
      local ended = 0
      for _ = 1, 10000 do
         local token = task.token()
         task.spawn(function()
            task.wait(token)
            ended = ended + 1
         end)
         task.wake(token)
      end
      task.run_ready()
      assert.equal(10000, ended)
      assert.is_false(task.has_ready())
      collectgarbage()
      local before = collectgarbage "count"
      for _ = 1, 1000 do task.spawn(function() end) end
      collectgarbage()
      assert.is_true(collectgarbage "count" - before < 64)
   end)
end)

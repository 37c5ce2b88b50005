--- once: what many may wait for is done once.
-- SPDX-License-Identifier: MIT
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local once = require "moonrabbit.loop.once"
local task = require "moonrabbit.loop.task"
local waits = require "waits"

describe("what many may wait for", function()
   local going, calls, token

   -- Counts its calls, and waits until it is told what to do.
   local function slow(...)
      calls = calls + 1
      token = task.token()
      local what = task.wait(token)
      if what == "raise" then error("it broke", 0) end
      return what == "fine" or nil, what ~= "fine" and what or nil, ...
   end

   local function ask(key) return waits.background(once, going, key, slow) end

   local function ended(...)
      for _, call in ipairs { ... } do waits.eventually("an answer", function() return call.done end) end
   end

   before_each(function() going, calls, token = {}, 0, nil end)
   after_each(function() loop.close(1) end)

   it("is done once, and all have the same answer", function()
      local a, b, c = ask "k", ask "k", ask "k"
      waits.eventually("who waits", function() return going.k and #going.k == 2 end)
      assert.equal(1, calls)
      task.wake(token, "why not")
      ended(a, b, c)
      for _, call in ipairs { a, b, c } do assert.same({ nil, "why not" }, { call.result, call.err }) end
      assert.is_nil(going.k)
   end)

   it("is done anew for who comes after it, and apart from what has another key", function()
      local a = ask "k"
      waits.eventually("the first", function() return calls == 1 end)
      local first = token
      local other = ask "another"
      waits.eventually("the second", function() return calls == 2 end)
      task.wake(token, "fine")
      ended(other)
      assert.is_nil(a.done)
      task.wake(first, "fine")
      ended(a)
      local b = ask "k"
      waits.eventually("the third", function() return calls == 3 end)
      task.wake(token, "fine")
      ended(b)
      assert.same({ true, true, true }, { a.result, other.result, b.result })
   end)

   it("raises where it was begun, and is an error to all others", function()
      local raised
      mr.spawn(function() raised = { pcall(once, going, "k", slow) } end)
      local b = ask "k"
      waits.eventually("who waits", function() return going.k and #going.k == 1 end)
      task.wake(token, "raise")
      ended(b)
      waits.eventually("the error", function() return raised end)
      assert.same({ false, "it broke" }, raised)
      assert.same({ nil, "bad_argument" }, { b.result, b.err.kind })
      assert.truthy(b.err.text:find("it broke", 1, true))
      assert.is_nil(going.k)
   end)
end)

--- generation: what belongs to one run of a main chunk, and what becomes of it.
local generation = require "moonrabbit.loop.generation"
local embedded = require "embedded"
local mr = require "moonrabbit"
local task = require "moonrabbit.loop.task"
local waits = require "waits"

-- Runs fn as a staged main chunk, to its end or its first wait.
local function staged(fn)
   task.spawn(function()
      generation.stage()
      fn()
      generation.chunk_ended()
   end)
end

local function nothing() end

describe("an edition of a script", function()
   after_each(function()
      generation.drop()
      embedded.close_all()
   end)

   it("that is staged has nothing begun until it is committed, then all of it, in order", function()
      local said = {}
      local function say(word) return function() said[#said + 1] = word end end
      staged(function()
         mr.spawn(say "task")
         mr.after(0, say "timer")
         mr.after(0, say "cancelled"):cancel()
      end)
      mr.sleep(0.01)
      assert.same({}, said)
      generation.commit(say "between")
      waits.eventually("the timer", function() return #said == 3 end)
      assert.same({ "between", "task", "timer" }, said)
   end)

   it("that is dropped leaves nothing", function()
      local said = false
      local function say() said = true end
      local conn
      staged(function()
         mr.every(0.001, say)
         mr.spawn(say)
         mr.on_stop(say)
         conn = mr.connect { url = "memory://edition", name = "dropped" }
      end)
      generation.drop()
      mr.sleep(0.01)
      assert.is_false(said)
      assert.is_true(conn.released)
   end)

   it("ends with the next one: timers, and tasks at a wait of no consequence", function()
      local rounds, turns, ended = 0, 0, false
      staged(function()
         mr.every(0.001, function() rounds = rounds + 1 end)
         mr.spawn(function()
            while true do
               turns = turns + 1
               mr.sleep(0.001)
            end
         end)
         local conn = embedded.connect { url = "memory://edition" }
         mr.spawn(function() -- at something that is brought to its end
            conn:connect()
            ended = true
            mr.sleep(0)
            ended = "too far"
         end)
      end)
      local alive = task.alive
      generation.commit(nothing)
      staged(nothing)
      generation.commit(nothing)
      local before = { rounds, turns }
      waits.eventually("the connect", function() return ended end)
      mr.sleep(0.01)
      assert.same(before, { rounds, turns })
      assert.is_true(ended)
      assert.equal(alive, task.alive)
   end)

   it("takes the connection of equal settings over, functions apart, and each once", function()
      local settings = { url = "memory://edition", name = "a", on_event = nothing, client_properties = { x = 1 } }
      local function connect(name)
         local all = { on_event = function() end, client_properties = { x = 1 } }
         for k, v in pairs(settings) do all[k] = all[k] or v end
         all.name = name
         return embedded.keep(setmetatable({ conn = mr.connect(all) }, { __index = { close = function(t) t.conn:release() end } })).conn
      end
      local first, same, second, other
      staged(function() first = connect "a" end)
      generation.commit(nothing)
      staged(function() same, second, other = connect "a", connect "a", connect "b" end)
      generation.commit(nothing)
      assert.equal(first, same)
      assert.not_equal(first, second)
      assert.not_equal(first, other)
      assert.not_equal(settings.on_event, same.on_event)
   end)

   it("that takes too long is stopped at its next wait of no consequence, and what it asks for does not count", function()
      local place
      staged(function()
         place = "waits"
         mr.sleep(0.001)
         place = "went on"
      end)
      local alive = task.alive
      generation.give_up()
      generation.drop()
      mr.sleep(0.01)
      assert.equal("waits", place)
      assert.equal(alive - 1, task.alive)
   end)

   it("does not count in a program that is not the command", function()
      local current = generation.current()
      assert.is_false(generation.is_staging())
      local conn = embedded.connect { url = "memory://edition" }
      for _, other in ipairs(current.connections) do assert.not_equal(conn, other) end
      local done = false
      mr.spawn(function() done = true end)
      assert.is_true(done)
   end)
end)

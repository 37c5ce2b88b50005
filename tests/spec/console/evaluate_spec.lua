--- evaluate: what is typed at a console.
local evaluate = require "moonrabbit.console.evaluate"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local task = require "moonrabbit.loop.task"
local eventually = require("waits").eventually

describe("an expression", function()
   local env

   before_each(function()
      env = setmetatable({ counter = 3 }, { __index = _G })
      evaluate.environment = function() return env end
   end)
   after_each(function()
      evaluate.environment = function() return _G end
      evaluate.handed.thing = nil
      loop.close(1)
   end)

   -- It runs in a task, as the console has it.
   local function run(text, opts)
      local answer
      task.spawn(function() answer = evaluate.run(text, opts) end)
      eventually("the answer", function() return answer end)
      return answer
   end
   local function values(text, opts)
      local answer = run(text, opts)
      assert.is_nil(answer.error)
      return answer.values
   end

   it("gives its values, nil among them", function()
      assert.same({ "3", "nil", '"a"' }, values "counter, nil, 'a'")
      assert.same({}, values "local x = 1")
      assert.same({ "1" }, values "return 1 -- with a comment")
   end)

   it("sees the script's globals, mr, and what was handed over; sets the script's globals", function()
      mr.inspect.thing = { 7 }
      assert.same({ "{ 7 }", "true" }, values "thing, mr == require 'moonrabbit'")
      values "counter = counter + 1; fresh = 5"
      assert.same({ 4, 5 }, { env.counter, env.fresh })
      assert.is_nil(rawget(_G, "fresh"))
   end)

   it("may wait", function()
      assert.same({ '"done"' }, values "mr.sleep(0.01) return 'done'")
   end)

   it("has what it prints kept, to a limit", function()
      assert.equal("1\tnil\tx\n", run "print(1, nil, 'x')".output)
      local answer = run("for i = 1, 100 do print(('x'):rep(99)) end", { output = 1000 })
      assert.equal(1000, #answer.output:match "^[x\n]*" - 1)
      assert.truthy(answer.output:find "9000 bytes more")
   end)

   it("ends at its time", function()
      local answer = run("mr.sleep(60)", { seconds = 0.05 })
      assert.truthy(answer.error:find "time limit")
   end)

   it("is shown within its time, too", function()
      local answer = run("setmetatable({}, { __tostring = function() mr.sleep(60) end })", { seconds = 0.05 })
      assert.truthy((answer.error or answer.values[1]):find "__tostring fails")
      assert.equal("amqp://u:***@h\n", run("print 'amqp://u:a/b@c@h'").output)
   end)

   it("says where it failed, and gives syntax errors", function()
      local answer = run "print 'before'\nerror 'bad'"
      assert.is_false(answer.ok)
      assert.equal("before\n", answer.output)
      assert.truthy(answer.error:find "console:2: bad")
      assert.truthy(run "1 +".error:find "console:1")
      assert.truthy(run "error(setmetatable({}, { __tostring = function() return 'words' end }))".error:find "words")
   end)

   it("is text", function()
      assert.truthy(run(string.dump(function() end)).error:find "bytecode")
   end)

   it("shows no password", function()
      local answer = run "error 'amqp://u:secret@host/'"
      assert.is_nil(answer.error:find "secret")
      assert.same({ '"amqp://u:***@host/"' }, values "'amqp://u:secret@host/'")
   end)
end)

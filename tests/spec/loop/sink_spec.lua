--- sink: the log's lines in a function of the script, and where they go when it cannot take them.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local shell = require "shell"

local HEAD = [[
local mr = require "moonrabbit"
local function say(...) io.write(table.concat({ ... }, " "), "\n") io.flush() end
local function sink(level, line) say("SINK", level, line) end
]]

-- What a script writes to standard output, and to standard error.
local function run(script)
   local path = os.tmpname()
   local file = assert(io.open(path, "w"))
   file:write(HEAD, script)
   file:close()
   local out, code = shell(("%s run --url memory:// %s 2>%s.errors"):format(broker.command, path, path))
   local errors = assert(io.open(path .. ".errors")):read "*a"
   os.remove(path)
   os.remove(path .. ".errors")
   return out, errors, code
end

local function count(text, what) return select(2, text:gsub(what, "")) end

describe("a sink of the log", function()
   it("gets the lines of the script and of the library, instead of standard error", function()
      local out, errors = run [[
         mr.log.configure("info")
         mr.log.sink(sink)
         mr.log.warn("of the script", { n = 1 })
         assert(mr.connect():channel()):close()
         mr.log.error("the last")
      ]]
      assert.truthy(out:find('SINK warn time=%S+ level=warn msg="of the script" n=1\n'), out)
      assert.truthy(out:find("SINK info time=%S+ level=info msg=connected"), out)
      assert.truthy(out:find('SINK error time=%S+ level=error msg="the last"\n'), out)
      assert.truthy(out:find "of the script.*connected.*the last", out)
      assert.falsy(errors:find "of the script", errors)
      assert.falsy(errors:find "the last", errors)
   end)

   it("that fails leaves its lines to standard error, and that is said once", function()
      local out, errors = run [[
         mr.log.sink(function(_, line)
            if line:find "bad" then error "no sink" end
            say("SINK", line)
         end)
         for i = 1, 3 do mr.log.warn("bad " .. i) end
         mr.log.warn("good")
         mr.sleep(0)
      ]]
      for i = 1, 3 do assert.equal(1, count(errors, 'msg="bad ' .. i .. '"\n'), errors) end
      assert.equal(1, count(errors, 'level=error msg="the log\'s sink has failed: lines go to standard error"'), errors)
      assert.truthy(errors:find "no sink")
      assert.truthy(errors:find "traceback")
      assert.truthy(out:find "SINK.*msg=good", out)
   end)

   it("may log: that goes to standard error, and not to itself", function()
      local out, errors = run [[
         mr.log.sink(function(_, line)
            say("SINK", line)
            mr.log.warn("within", { of = #line })
            mr.sleep(0.001)
            mr.log.warn("within, later")
         end)
         mr.log.warn("one")
         mr.log.warn("two")
         mr.sleep(0.1)
         mr.spawn(function() mr.log.warn("three") end)
         mr.sleep(0.1)
      ]]
      assert.equal(3, count(out, "SINK"), out)
      assert.equal(3, count(errors, "msg=within of="), errors)
      assert.equal(3, count(errors, 'msg="within, later"\n'), errors)
   end)

   it("may wait, while others log: its lines come in order, one at a time", function()
      local out = run [[
         local running = 0
         mr.log.sink(function(_, line)
            running = running + 1
            assert(running == 1)
            mr.sleep(0.001)
            say("SINK", line)
            running = running - 1
         end)
         for i = 1, 50 do
            mr.log.warn(("line %02d."):format(i))
            if i % 10 == 0 then mr.sleep(0.002) end
         end
         mr.sleep(0.3)
      ]]
      local last = 0
      for number in out:gmatch "line (%d+)%." do
         assert.equal(last + 1, tonumber(number))
         last = last + 1
      end
      assert.equal(50, last)
   end)

   it("that waits too long loses lines, which are counted and reported by a line", function()
      local out, errors = run [[
         local first = true
         mr.log.sink(function(_, line)
            if first then
               first = false
               mr.sleep(0.3)
            end
            say("SINK", line)
         end)
         for _ = 1, 30 do
            for _ = 1, 100 do mr.log.warn("storm") end
            mr.sleep(0.001)
         end
         mr.sleep(0.6)
         say("DROPPED", tostring(mr.stats().log_dropped))
      ]]
      local lost, came = 0, count(out, "msg=storm")
      for n in out:gmatch '"?log lines were dropped"? lines=(%d+)' do lost = lost + tonumber(n) end
      assert.equal(3000, came + lost, out:sub(1, 2000))
      assert.truthy(lost > 1000 and came >= 1000)
      assert.equal("", errors)
   end)

   it("that is taken away leaves the lines to standard error again", function()
      local out, errors = run [[
         mr.log.sink(sink)
         mr.log.warn("first")
         mr.sleep(0)
         mr.log.sink(nil)
         mr.log.warn("second")
      ]]
      assert.truthy(out:find "msg=first", out)
      assert.truthy(errors:find "msg=second", errors)
      assert.falsy(out:find "second")
      assert.falsy(errors:find "first")
   end)

   it("that never ends leaves what waits for it to standard error", function()
      local _, errors = run [[
         mr.log.sink(function() mr.event():wait() end)
         mr.log.warn("taken")
         mr.sleep(0)
         mr.log.warn("left")
      ]]
      assert.truthy(errors:find "msg=left", errors)
   end)

   it("must be a function", function()
      assert.has_error(function() require("moonrabbit").log.sink "file" end,
         'argument 1 ("fn") must be a function, not a string')
   end)
end)

--- recorder: what the flight recorder tells of a program, in Lua and on the console.
-- Covers: runtime/api/recorder.c by write
-- Covers: runtime/link/flight.c by basic.deliver
-- Covers: runtime/health/recording.c by filter
local ask = require "moonrabbit.cli.ask"
local cjson = require "cjson"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local recorder = require "moonrabbit.loop.recorder"
local shell = require "shell"
local eventually = require("waits").eventually

describe("the flight recorder", function()
   before_each(function()
      loop.close(1)
      mr.log.configure "off"
   end)
   after_each(function()
      loop.close(1)
      mr.recorder.size(4096)
      mr.log.configure "error"
   end)

   -- Handles two messages, one of them twice, a third never well.
   local function have_traffic()
      local handled = {}
      local conn = mr.connect "memory://"
      local worker = mr.consumer { connection = conn, queue = "recorder_spec", retry = mr.retry.exponential { first = 0.01, attempts = 2 },
         handler = function(msg)
            handled[#handled + 1] = msg.body
            if msg.body == "once bad" and msg.attempt == 1 or msg.body == "bad" then return nil, "it was bad" end
         end }
      eventually("the consumer", function() return worker.state == "consuming" end)
      local ch = assert(conn:channel())
      for _, body in ipairs { "good", "once bad", "bad" } do ch:publish("", "recorder_spec", body) end
      eventually("all handlers, and the dead letter", function()
         mr.sleep(0.01)
         return #handled == 5 and mr.recorder.last(1, "dead letter")[1]
      end)
      return conn
   end

   it("has each delivery with its consumer's queue, its settle, retry and dead letter", function()
      have_traffic()
      local first = mr.recorder.last(1000, "in basic.deliver recorder_spec number=1")[1]
      assert.equal("in", first.kind)
      assert.equal("basic.deliver", first.name)
      assert.equal("recorder_spec", first.queue)
      assert.equal("recorder_spec", first.text)
      assert.truthy(math.abs(first.time - os.time()) < 100)
      local about = ("connection=%d channel=%d number="):format(first.connection, first.channel)
      assert.equal("ack", mr.recorder.last(1, "settle " .. about .. 1)[1].name)
      assert.equal("basic.ack", mr.recorder.last(1, "out " .. about .. "3")[1].name)
      local retries = mr.recorder.last(100, "retry consumer=" .. first.consumer)
      assert.equal(2, #retries)
      assert.equal("recorder_spec, attempt 1: handler_failed: it was bad", retries[1].text)
      local dead = mr.recorder.last(1, "dead letter")[1]
      assert.equal("recorder_spec, attempt 2: handler_failed: it was bad", dead.text)
      assert.equal("recorder_spec", dead.queue)
   end)

   it("has states and errors of connections and channels, with the broker's words, and no passwords", function()
      local conn = mr.connect "memory://guest:guest@/"
      local ch = assert(conn:channel())
      local ok = ch:queue_declare { queue = "recorder_none", passive = true }
      assert.is_nil(ok)
      conn:close()
      local ended = mr.recorder.last(1, "channel ended")[1]
      assert.truthy(ended.text:find("recorder_none", 1, true), ended.text)
      assert.equal(404, ended.code)
      assert.equal("open", mr.recorder.last(1, "state open")[1].name)
      eventually("the end", function() return mr.recorder.last(1, "state idle")[1] end)
      for _, e in ipairs(mr.recorder.last(4096)) do assert.is_nil((e.text or ""):find("guest", 1, true)) end
   end)

   it("gives the last ones, the oldest first, and none if it is off", function()
      local conn = have_traffic()
      local all, few
      eventually("the I/O thread to be at rest", function()
         all, few = mr.recorder.last(4096), mr.recorder.last(3)
         return all[#all].time == few[3].time and all[#all].kind == few[3].kind
      end)
      assert.equal(3, #few)
      for _, key in ipairs { "kind", "name", "connection", "channel", "number" } do assert.equal(all[#all][key], few[3][key]) end
      for i = 2, #all do assert.truthy(all[i].time >= all[i - 1].time - 1) end
      assert.equal(20, #mr.recorder.last())
      conn:close()
      loop.close(1)
      mr.recorder.size(0)
      local ch = assert(mr.connect("memory://"):channel())
      ch:close()
      assert.same({}, mr.recorder.last(10))
   end)

   it("refuses wrong arguments", function()
      assert.error_matches(function() mr.recorder.last(10, "connection=one") end, "whole number")
      assert.error_matches(function() mr.recorder.last(-1) end, "n must be")
      assert.error_matches(function() mr.recorder.last "ten" end, "must be a number")
      assert.error_matches(function() mr.recorder.size(-5) end, "events must be")
   end)

   it("is a page of the console, with a filter", function()
      local path = os.tmpname()
      os.remove(path)
      assert(mr.console { path = path })
      have_traffic()
      local function page(query)
         local code, text = ask.page(path, "/recorder" .. query, 10)
         return code, cjson.decode(text)
      end
      local code, answer = page "?last=2&filter=basic.deliver%20recorder_spec"
      assert.equal(200, code)
      assert.equal(2, #answer.events)
      assert.equal("recorder_spec", answer.events[2].queue)
      assert.equal(mr.recorder.last(1, "basic.deliver recorder_spec")[1].number, answer.events[2].number)
      code, answer = page ""
      assert.equal(200, code)
      assert.equal(math.min(100, #mr.recorder.last(1000)), #answer.events)
      for _, query in ipairs { "?last=0", "?last=5000", "?last=x", "?filter=channel%3Dx" } do
         code, answer = page(query)
         assert.equal(400, code)
         assert.is_string(answer.error)
      end
   end)

   it("writes a file that only its user may read, and replaces none", function()
      local path = os.tmpname()
      local ok, err = mr.recorder.write(path)
      assert.is_nil(ok)
      assert.truthy(err.text:find(path, 1, true))
      os.remove(path)
      have_traffic()
      assert.is_true(mr.recorder.write(path))
      assert.equal("600\n", (shell("stat -c %a " .. path)))
      local lines, last = 0, nil
      for line in io.lines(path) do
         lines, last = lines + 1, cjson.decode(line)
      end
      assert.truthy(lines > 30)
      assert.is_string(last.kind)
      os.remove(path)
      assert.equal("not_allowed", select(2, mr.recorder.write "/nonexistent/file").kind)
   end)

   it("writes no more than the newest 65536 events of a large one", function()
      loop.close(1)
      mr.recorder.size(2 ^ 17)
      for i = 1, 70000 do recorder.note("retry", { tag = i }) end
      local path, lines, last = os.tmpname(), 0, nil
      os.remove(path)
      assert.is_true(mr.recorder.write(path))
      for line in io.lines(path) do lines, last = lines + 1, line end
      os.remove(path)
      assert.equal(65536, lines)
      assert.equal(70000, cjson.decode(last).number)
   end)
end)

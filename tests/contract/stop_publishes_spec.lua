--- A stop while publishes cannot go out: each ends, is told, and shows in the exit code.
-- Covers: lua/moonrabbit/connection/farewell.lua by routing_keys
local broker = require "broker"
local build = require "build"
local process = require "process"

local function has(out, part) assert.truthy(out:find(part, 1, true), part .. " is missing in " .. out) end
local function lacks(out, part) assert.falsy(out:find(part, 1, true), part .. " is in " .. out) end

local function run(options, script)
   return broker.shell(("%s run --log-level info %s %s 2>&1"):format(broker.command, options, broker.script(script)), 60)
end

-- A connection that was there, and goes away for good when `leave` is called; `told` is for on_failed.
local AWAY = [[
   local mr = require "moonrabbit"
   local broker = assert(mr.testing.broker())
   local conn = mr.connect { url = broker.url, republish = REPUBLISH, retry = mr.retry.fixed { delay = 0.2 } }
   local function leave()
      broker:refuse_logins()
      broker:drop()
      while conn.is_open do mr.sleep(0.005) end
   end
   local function told(err, message)
      mr.sleep(0.01) -- it may wait
      print(("told %s %s %s"):format(message.body, message.routing_key, err.kind))
   end
   local function terminate() os.execute "kill -TERM $PPID" end
]]

local function script(text, republish) return (AWAY:gsub("REPUBLISH", republish or "nil")) .. text end

describe("a stop", function()
   after_each(broker.close_all)

   it("ends what mr.publisher could not send as lost, tells on_failed, and exits with 74 (FIELD-W4)", function()
      local out, code = run("--drain 0.5", script [[
         local pub = mr.publisher { connection = conn, topology = mr.topology { queues = { "q" } }, on_failed = told }
         assert(pub:publish("0", { routing_key = "q" }))
         leave()
         for i = 1, 5 do assert(pub:publish_async("body" .. i, { routing_key = "key" .. i % 2 })) end
         terminate()
         mr.sleep(60)
      ]])
      assert.equal(74, code, out)
      for i = 1, 5 do has(out, ("told body%d key%d lost"):format(i, i % 2)) end
      has(out, 'level=error msg="publishes lost"')
      has(out, 'publishes=5 routing_keys="key1, key0" text="they were not confirmed before the program stopped, and do not come again"')
      has(out, 'msg=stopped code=74 handlers=0 publishes=5 text="publishes that were not confirmed do not come again"')
      lacks(out, "messages come again")
   end)

   it("counts what was in flight, and what never had a connection, with confirms or without (FIELD-W4)", function()
      local out, code = run("--drain 0.5", script [[
         local none = mr.connect { url = "amqp://127.0.0.1:1", retry = mr.retry.fixed { delay = 0.2 } }
         for _, confirm in ipairs { true, false } do
            local pub = mr.publisher { connection = none, confirm = confirm, on_failed = told, routing_key = "never" }
            assert(pub:publish_async("confirm " .. tostring(confirm)))
         end
         local slow = mr.publisher { connection = conn, on_failed = told, routing_key = "flight",
            topology = mr.topology { queues = { "flight" } } }
         assert(slow:publish "0")
         broker:silent(true)
         assert(slow:publish_async "in flight")
         mr.after(0.1, terminate)
         mr.sleep(60)
      ]])
      assert.equal(74, code, out)
      has(out, "told confirm true never lost")
      has(out, "told confirm false never lost")
      has(out, "told in flight flight lost")
      has(out, "publishes=3")
   end)

   it("takes no publish that nobody would be told of any more, from on_failed say (FIELD-W4)", function()
      local out, code = run("--drain 0.5", script [[
         local pub = mr.publisher { connection = conn, routing_key = "q", on_failed = function(err, message)
            told(err, message)
            for _, of in ipairs { conn, mr.connect(broker.url) } do
               local again, why = mr.publisher { connection = of, routing_key = "q" }:publish_async "again"
               print("again", again, why.kind, why.text)
            end
            local other = assert(mr.testing.broker())
            local ch = assert(mr.connect(other.url):channel())
            assert(ch:confirm_select())
            other:silent(true)
            assert(ch:publish_async("", "elsewhere", "again"))
         end }
         leave()
         assert(pub:publish_async "1")
         terminate()
         mr.sleep(60)
      ]])
      assert.equal(74, code, out)
      has(out, "told 1 q lost")
      has(out, "again\tnil\tclosed\tthe program stopped\nagain\tnil\tclosed\tthe program stopped\n")
      has(out, 'publishes=2 routing_keys="q, elsewhere"')
   end)

   it("counts what a publisher gives up when it is closed in on_stop (FIELD-W4)", function()
      local out, code = run("--drain 5", script [[
         local pub = mr.publisher { connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } },
            on_failed = told }
         assert(pub:publish "0")
         leave()
         assert(pub:publish_async "1")
         mr.on_stop(function() print("closed", pub:close { timeout = 0.1 }) end)
         terminate()
         mr.sleep(60)
      ]])
      assert.equal(74, code, out)
      has(out, "told 1 q lost")
      has(out, "publishes=1 routing_keys=q")
   end)

   it("ends the tickets of channels, kept for later or not, and the calls that wait (FIELD-W4)", function()
      for republish, fault in pairs { ["nil"] = "", ["2^20"] = "leave()" } do
         local out, code = run("--drain 0.5", (script([[
            local ch = assert(conn:channel())
            assert(ch:confirm_select())
            assert(ch:queue_declare { queue = "q" })
            broker:silent(true)
            local t = assert(ch:publish_async("", "q", "x", { timeout = 30 }))
            mr.spawn(function() print("ticket", select(2, t:wait()).kind) end)
            mr.spawn(function() print("call", select(2, mr.rpc.call("q", "?", { connection = conn, timeout = 30 })).kind) end)
            FAULT
            mr.after(0.1, terminate)
            mr.sleep(60)
         ]], republish):gsub("FAULT", fault)))
         assert.equal(74, code, out)
         has(out, "ticket\tlost")
         has(out, "call\t")
         has(out, "routing_keys=q")
      end
   end)

   it("says what is true of messages and of publishes apart (FIELD-W4)", function()
      local out, code = run("--drain 0.5", script [[
         local here = assert(mr.connect(broker.url):channel())
         assert(here:queue_declare { queue = "work" })
         assert(here:publish("", "work", "stuck"))
         local pub = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = "q", on_failed = told }
         assert(here:consume("work", function()
            assert(pub:publish_async "1")
            terminate()
            mr.sleep(60)
         end))
      ]])
      assert.equal(74, code, out)
      has(out, "msg=abandoned")
      has(out, 'code=74 handlers=1 publishes=1 text="unsettled messages come again; publishes that were not confirmed do not come again"')
   end)

   it("of several workers ends with 74, too (FIELD-W4)", function()
      local out, code = broker.shell(("%s run --workers 2 --drain 0.5 %s 2>&1"):format(broker.command, broker.script [[
         local mr = require "moonrabbit"
         local pub = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = "q" }
         if mr.args.worker == "1" then assert(pub:publish_async "x") end
         mr.after(1, function() if mr.args.worker == "1" then os.execute "kill -TERM $(ps -o ppid= -p $PPID)" end end)
         mr.sleep(60)
      ]]), 60)
      assert.equal(74, code, out)
   end)

   it("exits with 0 when all went out, and forgets what failed before it was asked (FIELD-W4)", function()
      local out, code = run("--drain 5", script [[
         local pub = mr.publisher { connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } },
            on_failed = told }
         assert(pub:publish "0")
         local bad = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = "b", on_failed = told,
            timeout = 0.05 }
         bad:publish "early"
         for i = 1, 5 do assert(pub:publish_async("x")) end
         mr.stop()
      ]])
      assert.equal(0, code, out)
      has(out, "told early b timeout")
      lacks(out, "publishes lost")
   end)
end)

describe("a second signal", function()
   after_each(function()
      process.end_all()
      broker.close_all()
   end)

   -- Two publishes that cannot go out, and a handler that does not end.
   local BUSY = [[
      local pub = mr.publisher { connection = conn, topology = mr.topology { queues = { "q" } },
         on_failed = function(err, message)
            print(("heard %s %s %s"):format(message.body, message.routing_key, err.kind))
            told(err, message)
         end }
      assert(pub:publish("0", { routing_key = "q" }))
      local worker = mr.consumer { connection = mr.connect "memory://busy", queue = "jobs",
         handler = function() print "at work" HANDLER end }
      local jobs = assert(mr.connect("memory://busy"):channel())
      leave()
      for i = 1, 2 do assert(pub:publish_async("body" .. i, { routing_key = "key" .. i })) end
      while worker.state ~= "consuming" do mr.sleep(0.005) end -- else there is no queue yet
      assert(jobs:publish("", "jobs", "job"))
      mr.sleep(60)
   ]]

   local function start(handler, options)
      return process.run("--log-level info " .. (options or "--drain 30"), broker.script(script((BUSY:gsub("HANDLER", handler)))))
   end

   local function told_all(out)
      has(out, 'level=error msg="publishes lost"')
      has(out, 'publishes=2 routing_keys="key1, key2"')
      has(out, "msg=stopped")
      has(out, "handlers=1")
      has(out, "publishes=2")
      has(out, "unsettled messages come again; publishes that were not confirmed do not come again")
   end

   -- Once each; beyond its first wait where there is a loop to wait in.
   local function told_on_failed(out, may_wait)
      for i = 1, 2 do
         for _, word in ipairs { "heard", may_wait and "told" or nil } do
            assert.equal(1, select(2, out:gsub(("%s body%d key%d lost"):format(word, i, i), "")), out)
         end
      end
   end

   it("during the drain ends at once, and says what is lost (FIELD-W4)", function()
      for _, name in ipairs { "TERM", "INT" } do
         local p = start "mr.sleep(60)"
         p:says "at work"
         p:signal "TERM"
         p:says "msg=stopping"
         p:signal(name)
         local out, code = p:wait()
         assert.equal(name == "TERM" and 143 or 130, code, out)
         told_all(out)
         told_on_failed(out, true)
         has(out, "ended at once by a second signal")
         has(out, "msg=abandoned")
         has(out, "queue=jobs")
      end
   end)

   -- TSan holds signals back until the program calls something that it intercepts; a spinning script does not.
   local spinning = not build.is_tsan and it or pending

   spinning("reaches a script that spins, in a compiled loop, too, and says where it is (FIELD-W4)", function()
      local p = start "while true do end"
      p:says "at work"
      p:signal "TERM"
      p:heeds()
      p:signal "INT"
      local out, code = p:wait()
      assert.equal(130, code, out)
      told_all(out)
      told_on_failed(out)
      has(out, "at=")
   end)

   spinning("is not needed where the script spins past --drain: it ends with the truth of its publishes, and 74 (FIELD-W4)", function()
      local p = start("while true do end", "--drain 0.1")
      p:says "at work"
      p:signal "TERM"
      local out, code = p:wait()
      assert.equal(74, code, out)
      told_all(out)
      told_on_failed(out)
      has(out, "the script did not let go within --drain")
   end)

   spinning("ends what cannot say anything, within a second, with what is true of any (FIELD-W4)", function()
      local p = start "os.execute 'exec sleep 5'"
      p:says "at work"
      p:signal "TERM"
      p:heeds()
      p:signal "TERM"
      local out, code = p:wait()
      assert.equal(143, code, out)
      has(out, 'level=error msg=stopped code=143 text="the script did not let go; unsettled messages come again, '
         .. 'unconfirmed publishes do not"')
   end)

   spinning("is followed by a third one: that ends whatever is left to be said (FIELD-W4)", function()
      local p = start "os.execute 'exec sleep 5'"
      p:says "at work"
      for _ = 1, 3 do
         p:signal "TERM"
         p:heeds()
      end
      local out, code = p:wait()
      assert.equal(143, code, out)
      lacks(out, "msg=stopped")
   end)

   it("is passed on to workers, which say what is lost (FIELD-W4)", function()
      local p = start("mr.sleep(60)", "--workers 1 --drain 30")
      p:says "at work"
      p:signal "TERM"
      p:says "msg=stopping worker=1"
      p:signal "TERM"
      local out, code = p:wait()
      assert.equal(143, code, out)
      has(out, "publishes=2 routing_keys=\"key1, key2\"")
      told_on_failed(out, true)
      has(out, "ended at once by a second signal")
   end)
end)

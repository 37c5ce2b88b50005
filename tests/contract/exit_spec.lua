--- os.exit: what a program has published and acked goes out before it ends, and its exit code stays (FIELD-H4).
-- Covers: lua/moonrabbit/cli/leave.lua by exit
local broker = require "broker"

local eventually, name = broker.eventually, broker.name

local function said_by(command, queue, text)
   local path = broker.script(([[
      local mr = require "moonrabbit"
      local QUEUE = %q
      local conn = mr.connect(os.getenv "AMQP_URL")
   ]]):format(queue) .. text)
   -- What a process does not free that ends in the midst of things is no leak.
   local form = "ASAN_OPTIONS=\"$ASAN_OPTIONS:detect_leaks=0\" AMQP_URL='%s' %s %s"
   local out, code = broker.shell(form:format(broker.tcp_url, command, path))
   return code, out
end

local function by_command(queue, text) return said_by(broker.command .. " run", queue, text) end

local function by_luajit(queue, text)
   return said_by(broker.command:gsub("bin/moonrabbit", "bin/test_luajit"), queue, text)
end

-- A queue, and how many messages it has, once there are so many.
local function queue_of(ch, bodies)
   local q = assert(ch:queue_declare { queue = name "exit", durable = true }).queue
   for _, body in ipairs(bodies or {}) do assert(ch:publish("", q, body)) end
   return q, function(n)
      local count
      local ok = pcall(eventually, "the messages", function()
         count = assert(ch:queue_declare { queue = q, passive = true }).message_count
         return count == n
      end)
      assert(ok, ("%s messages instead of %d"):format(tostring(count), n))
      assert(ch:queue_delete { queue = q })
   end
end

local THIRTY = "local ch = assert(conn:channel()) for i = 1, 30 do assert(ch:publish('', QUEUE, 'm' .. i)) end "

describe("os.exit", function()
   after_each(broker.close_all)

   it("of a script under the command and of one under LuaJIT sends what was published (FIELD-H4)", function()
      for _, by in ipairs { by_command, by_luajit } do
         for _, close in ipairs { "", ", true" } do
            local q, has = queue_of(broker.channel())
            local code, out = by(q, THIRTY .. ("os.exit(3%s)"):format(close))
            assert.equal(3, code, out)
            has(30)
         end
      end
   end)

   it("under the command waits for publishes in confirm mode, and for those of publishers not yet connected (FIELD-H4)", function()
      for _, text in ipairs {
         "local ch = conn:channel() ch:confirm_select() for i = 1, 30 do assert(ch:publish_async('', QUEUE, 'm')) end os.exit(4)",
         "local out = mr.publisher { connection = conn, routing_key = QUEUE } for i = 1, 30 do out:publish_async('m') end os.exit(4)",
         "mr.after(0, function() local out = mr.publisher { connection = conn, routing_key = QUEUE } "
            .. "for i = 1, 30 do out:publish_async('m') end "
            .. "os.exit(4) end)",
         "coroutine.wrap(function() local out = mr.publisher { routing_key = QUEUE } for i = 1, 30 do out:publish_async('m') end "
            .. "os.exit(4) end)()",
         "mr.spawn(function() local out = mr.publisher { routing_key = QUEUE } for i = 1, 30 do out:publish_async('m') end os.exit(4) end)",
      } do
         local q, has = queue_of(broker.channel())
         local code, out = by_command(q, text)
         assert.equal(4, code, out)
         has(30)
      end
   end)

   it("within a handler keeps the acks before it, and its own message comes again (FIELD-H4)", function()
      local bodies = {}
      for i = 1, 10 do bodies[i] = "m" .. i end
      local q, has = queue_of(broker.channel(), bodies)
      local code, out = by_command(q, [[
         local ch, n = assert(conn:channel()), 0
         assert(ch:qos { prefetch_count = 10 })
         assert(ch:consume(QUEUE, function()
            n = n + 1
            if n == 8 then os.exit(5) end
         end))
      ]])
      assert.equal(5, code, out)
      has(3)
   end)

   it("where nothing can wait sends what was handed over, and keeps the code (FIELD-H4)", function()
      local q, has = queue_of(broker.channel())
      local code, out = by_command(q, THIRTY .. "mr.after(0, function() table.sort({ 2, 1 }, function() os.exit(6) end) end)")
      assert.equal(6, code, out)
      has(30)
   end)

   it("takes true, false, nothing, and refuses what is no code (FIELD-H4)", function()
      for argument, expected in pairs { [""] = 0, ["true"] = 0, ["false"] = 1, ["nil"] = 0, ["'6'"] = 6, ["{}"] = 1 } do
         local code, out = by_command("q", ("os.exit(%s)"):format(argument))
         assert.equal(expected, code, argument .. ": " .. out)
      end
      local _, out = by_command("q", "os.exit {}")
      assert.truthy(out:find("bad argument #1 to 'exit' (number expected, got table)", 1, true), out)
   end)

   it("waits a bounded moment for a broker that says nothing, and tells what it leaves (FIELD-H4)", function()
      local code, out = by_command("q", [[
         local b = mr.testing.broker {}
         local ch = assert(mr.connect(b.url):channel())
         ch:confirm_select()
         b:silent()
         ch:publish_async("", QUEUE, "x")
         os.exit(9)
      ]])
      assert.equal(9, code, out)
      assert.truthy(out:find("left by os.exit", 1, true), out)
      assert.truthy(out:find("publishes=1", 1, true), out)
   end)

   it("tells on_failed what it leaves, in the main chunk, a task, and in the midst of a stop (FIELD-W4)", function()
      for where, leaving in pairs {
         ["the main chunk"] = "os.exit(9)", ["a task"] = "mr.spawn(function() os.exit(9) end) mr.sleep(60)",
         ["a stop"] = "mr.on_stop(function() os.exit(9) end) mr.stop()",
      } do
         local code, out = by_command("away", [[
            local pub = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = QUEUE,
               on_failed = function(err, message)
                  mr.sleep(0.01) -- it may wait
                  print(("told %s %s"):format(message.body, err.kind))
               end }
            for i = 1, 2 do assert(pub:publish_async("body" .. i)) end
         ]] .. leaving)
         assert.equal(9, code, out)
         for _, part in ipairs { "told body1 lost", "told body2 lost", 'msg="publishes lost" publishes=2 routing_keys=away' } do
            assert.equal(1, select(2, out:gsub(part, "")), where .. ": " .. out)
         end
         assert.falsy(out:find("code=74", 1, true), where .. ": " .. out)
      end
   end)

   it("of who is told, or of another task, leaves nothing untold (FIELD-W4)", function()
      for where, leaving in pairs {
         ["on_failed"] = "again = true os.exit(9)", ["on_failed, in a stop"] = "again = true mr.after(0, mr.stop) mr.sleep(60)",
         ["another task"] = "mr.spawn(function() os.exit(8) end) mr.after(0.1, function() os.exit(9) end) mr.sleep(60)",
      } do
         local code, out = said_by(broker.command .. " run --drain 1", "away", [[
            local again
            local pub = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = QUEUE,
               on_failed = function(err, message)
                  print(("told %s %s"):format(message.body, err.kind))
                  if again then os.exit(9) end
               end }
            for i = 1, 3 do assert(pub:publish_async("body" .. i)) end
         ]] .. leaving)
         assert.equal(9, code, where .. ": " .. out)
         for _, part in ipairs { "told body1 lost", "told body2 lost", "told body3 lost", 'msg="publishes lost" publishes=3' } do
            assert.equal(1, select(2, out:gsub(part, "")), where .. ": " .. out)
         end
      end
   end)
end)

describe("a script that publishes", function()
   after_each(broker.close_all)

   it("and ends, or fails, has sent all of it (FIELD-H4)", function()
      for text, expected in pairs { [""] = 0, ["error 'no'"] = 1 } do
         local q, has = queue_of(broker.channel())
         local code, out = by_command(q, THIRTY .. text)
         assert.equal(expected, code, out)
         has(30)
      end
   end)

   it("and returns from main under LuaJIT has sent all of it (FIELD-H4)", function()
      local q, has = queue_of(broker.channel())
      local code, out = by_luajit(q, THIRTY)
      assert.equal(0, code, out)
      has(30)
   end)
end)

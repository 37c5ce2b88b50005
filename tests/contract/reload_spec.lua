--- Hot reload of `moonrabbit run`: SIGHUP and --watch.
-- Covers: lua/moonrabbit/cli/reload.lua by reload
local broker = require "broker"
local http = require "http"
local mr = require "moonrabbit"
local process = require "process"

local function has(out, part) assert.truthy(out:find(part, 1, true), part .. " is missing in " .. out) end

local function count(out, part) return select(2, out:gsub(part, "")) end

-- Replaces a file as editors do.
local function write(path, text)
   local f = assert(io.open(path .. ".new", "w"))
   f:write(text)
   f:close()
   assert(os.rename(path .. ".new", path))
end

-- One message after the other, so that each says which code handled it.
local function ask(ch, queue, worker, body, answer)
   assert(ch:publish("", queue, body))
   worker:says(answer)
end

describe("a script that is reloaded", function()
   local worker, ch, q, path

   -- TEXT: %Q is the queue.
   local function text(body, edition)
      return (('local mr = require "moonrabbit" local EDITION = "%s" '):format(edition) .. body):gsub("%%Q", q)
   end
   local function start(body, options)
      q = broker.name "reload"
      ch = broker.channel()
      path = broker.script(text(body, "one"))
      worker = process.run(options or "", path)
      worker:says "msg=consuming"
   end
   local function reload(body, edition)
      write(path, text(body, edition or "two"))
      worker:signal "HUP"
   end
   local function finish()
      local out, code = worker:stop()
      assert.equal(0, code, out)
      assert.equal(0, broker.count(ch, q), out)
      assert(ch:queue_delete { queue = q })
      ch:queue_delete { queue = q .. ".dead" }
      return out
   end

   after_each(process.end_all)
   teardown(broker.none_left)

   local PLAIN = [[mr.consumer { queue = "%Q", connection = mr.connect { name = "w" }, handler = function(msg)
      print(msg.body .. " by " .. EDITION .. " as " .. msg.consumer_tag) io.flush() end } ]]

   it("keeps its metrics, and a metric of another shape is an error of the new script; the page has them while it spins", function()
      local METRICS = PLAIN .. [[
         local c = mr.metrics.counter("own_edition_total", "What came.", LABELS)
         if not LABELS then c:inc() else c:inc { a = 1 } end
         mr.after(0, function() print("runs " .. EDITION) io.flush() while EDITION == "spins" do end end)
      ]]
      start("local LABELS " .. METRICS, "--http 0 --drain 1")
      local port = worker:output():match "port=(%d+)\n"
      local function value() return select(2, http.ask(port, "/metrics")):match "\nown_edition_total%S* (%d+)\n" end
      assert.equal("1", value())
      reload("local LABELS " .. METRICS)
      worker:says "runs two"
      assert.equal("2", value())
      reload("local LABELS = { 'a' } " .. METRICS, "three")
      worker:says "of another type, or with other labels or buckets"
      reload("local LABELS " .. METRICS, "spins")
      worker:says "runs spins"
      assert.equal("3", value())
      worker:signal "KILL"
      worker:wait()
      assert(ch:queue_delete { queue = q })
      ch:queue_delete { queue = q .. ".dead" }
   end)

   it("loses nothing and repeats nothing at 2000 msg/s: same connection, channel and tag, old handlers finish", function()
      local BODY = [[
         io.stdout:setvbuf "line"
         local conn = mr.connect { name = "steady" }
         mr.after(0, function() print(("swapped %s %.6f"):format(EDITION, mr.now())) io.flush() end)
         mr.consumer { queue = "%Q", connection = conn, prefetch = 500, handler = function(msg)
            local tag, channel, began = msg.consumer_tag, msg.channel.id, EDITION
            mr.sleep(0.03)
            print(("done %s %s %s %d %d %.6f"):format(msg.body, msg.redelivered, tag, channel, conn.epoch, mr.now()), began)
         end }
      ]]
      start(BODY)
      local RATE, TOTAL = 2000, 6000
      local began, sent = mr.now(), 0
      for edition = 2, 6 do
         mr.after((edition - 1) * 0.5, function() reload(BODY, edition) end)
      end
      while sent < TOTAL do
         local due = math.min(TOTAL, math.floor((mr.now() - began) * RATE))
         while sent < due do
            sent = sent + 1
            assert(ch:publish("", q, tostring(sent)))
         end
         mr.sleep(0.005)
      end
      assert.is_true(mr.now() - began < TOTAL / RATE + 2) -- it kept the pace
      broker.eventually("all of them", function() return count(worker:output(), "done ") == TOTAL end)
      local out = finish()
      assert.equal(5, count(out, "msg=reloaded"), out:match "msg=[^\n]*reload[^\n]*")
      assert.equal(5, count(out, "kept=1"))
      assert.equal(1, count(out, "msg=connecting"))
      assert.equal(1, count(out, "msg=consuming"))
      local swapped = {}
      for edition, at in out:gmatch "swapped (%w+) ([%d.]+)" do swapped[edition] = tonumber(at) end
      local seen, same, by, late = {}, {}, {}, 0
      for body, redelivered, tag, channel, epoch, at, edition in
         out:gmatch "done (%d+) (%w+) (%S+) (%d+) (%d+) ([%d.]+)\t(%w+)" do
         seen[body] = (seen[body] or 0) + 1
         same[redelivered .. tag .. channel .. epoch] = true
         by[edition] = (by[edition] or 0) + 1
         local next_swap = swapped[edition == "one" and "2" or tostring(tonumber(edition) + 1)]
         if next_swap and tonumber(at) > next_swap then late = late + 1 end
      end
      for i = 1, TOTAL do assert.equal(1, seen[tostring(i)], i) end
      local kinds = 0
      for key in pairs(same) do
         kinds = kinds + 1
         assert.truthy(key:find "^false", key)
      end
      assert.equal(1, kinds)
      for _, edition in ipairs { "one", "2", "3", "4", "5", "6" } do assert.is_true((by[edition] or 0) > 0, edition) end
      assert.is_true(late > 0) -- handlers that began on the old code ended on it, after the swap
   end)

   it("that does not load leaves the old one running, and the log says where it is wrong", function()
      start(PLAIN)
      ask(ch, q, worker, "a", "a by one")
      reload "x = = 1"
      worker:says "reload failed"
      ask(ch, q, worker, "b", "b by one")
      reload(PLAIN .. ' mr.every(0.01, function() print "never" end) mr.spawn(function() print "never" end) error "it broke"')
      worker:says("reload failed", 2)
      ask(ch, q, worker, "c", "c by one")
      reload(PLAIN .. ' mr.consumer { queue = "none-such", declare = false, dead_letter = false, handler = print }')
      worker:says("reload failed", 3)
      reload(PLAIN .. ' mr.consumer { queue = "x", handlr = print }')
      worker:says("reload failed", 4)
      reload(PLAIN .. ' mr.connect():channel():consume("x", print)')
      worker:says("reload failed", 5)
      ask(ch, q, worker, "d", "d by one")
      reload(PLAIN)
      worker:says "msg=reloaded"
      ask(ch, q, worker, "e", "e by two")
      local out = finish()
      has(out, 'level=error msg="reload failed; the old script goes on" script=' .. path .. ' error="' .. path .. ":1: unexpected symbol")
      has(out, "it broke\\nstack traceback:")
      has(out, 'unknown option \\"handlr\\": did you mean \\"handler\\"?')
      has(out, "not_found (404)")
      has(out, "ch:consume in the main chunk cannot be taken over")
      assert.equal(0, count(out, "never"))
      assert.equal(1, count(out, "msg=consuming"))
   end)

   it("may change the time limit of its handlers", function()
      local BODY = [[mr.consumer { queue = "%Q", connection = mr.connect { name = "w" }, time_limit = tonumber(LIMIT), retry =
         function(ctx) print("ended by " .. ctx.err.kind) io.flush() return "drop" end, handler = function(msg)
            if msg.body == "wait" then mr.sleep(20) end
            print(msg.body .. " by " .. EDITION) io.flush() end } ]]
      start(BODY)
      ask(ch, q, worker, "a", "a by one")
      reload("local LIMIT = 0.1 " .. BODY)
      worker:says "msg=reloaded"
      ask(ch, q, worker, "b", "b by two")
      ask(ch, q, worker, "wait", "ended by timeout")
      finish()
   end)

   it("ends timers, tasks and hooks of the old one, and begins the new one's", function()
      local BODY = PLAIN .. [[
         assert(mr.health.listen "127.0.0.1:0" > 0)
         mr.health.check("mine", function() print("check " .. EDITION) io.flush() return true end, { every = 0.01 })
         mr.every(0.01, function() print("tick " .. EDITION) io.flush() end)
         mr.spawn(function() while true do print("task " .. EDITION) io.flush() mr.sleep(0.01) end end)
         mr.on_stop(function() print("stop " .. EDITION) end)
      ]]
      start(BODY)
      worker:says "task one"
      worker:says "tick one"
      worker:says "check one"
      reload(BODY)
      worker:says "check two"
      worker:says "tick two"
      worker:says "task two"
      local out = finish()
      local rest = out:sub(out:find("msg=reloaded", 1, true), -1)
      assert.equal(0, count(rest, "tick one") + count(rest, "check one") + count(rest, "task one") + count(rest, "stop one"), rest)
      assert.equal(1, count(rest, "stop two"))
   end)

   it("takes the new token of the page, where the port stays", function()
      local BODY = PLAIN .. [[ print("port " .. assert(mr.health.listen("127.0.0.1:0", { admin = "a token of " .. EDITION }))) io.flush() ]]
      start(BODY)
      worker:says "port "
      local port = tonumber(worker:output():match "port (%d+)")
      local function is_right(edition)
         local head = "POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
         local answer = http.raw(port, ("%sAuthorization: Bearer a token of %s\r\n\r\n"):format(head, edition))
         return answer:find "^HTTP/1%.1 405" ~= nil
      end
      assert.is_true(is_right "one")
      reload(BODY)
      worker:says "msg=reloaded"
      broker.eventually("the new token", function() return is_right "two" end)
      assert.is_false(is_right "one")
      finish()
   end)

   it("starts consumers that are new, ends those that are gone, and makes those anew that the broker must be told of", function()
      local other = broker.name "other"
      start(PLAIN .. ('mr.consumer { queue = "%s", handler = print } '):format(other))
      worker:says("msg=consuming", 2)
      reload((PLAIN:gsub("{ queue", "{ prefetch = 7, queue"))
         .. ('mr.consumer { queue = "%s-new", handler = function(msg) print("new " .. msg.body) io.flush() end }'):format(other))
      worker:says "msg=reloaded"
      has(worker:output(), "ended=2 kept=0")
      has(worker:output(), "started=2")
      worker:says("msg=consuming", 4)
      ask(ch, q, worker, "a", "a by two")
      ask(ch, other .. "-new", worker, "b", "new b")
      broker.eventually("the end of the old one", function()
         return ch:queue_declare { queue = other, passive = true }.consumer_count == 0
      end)
      finish()
      for _, name in ipairs { other, other .. "-new" } do
         ch:queue_delete { queue = name }
         ch:queue_delete { queue = name .. ".dead" }
      end
   end)

   it("may go over from ch:consume to mr.consumer; what only the old one used is closed behind its last handler", function()
      q = broker.name "reload"
      ch = broker.channel()
      assert(ch:queue_declare { queue = q, durable = true })
      path = broker.script(text([[
         local conn = mr.connect { name = "old-only" }
         local ch = assert(conn:channel())
         local answers = mr.publisher { connection = conn, routing_key = "%Q-answers" }
         assert(ch:consume("%Q", function(msg)
            print("began " .. msg.body) io.flush()
            while not io.open(msg.body) do mr.sleep(0.01) end
            assert(answers:publish("for " .. msg.body))
            assert(ch:queue_declare { queue = "%Q", passive = true })
         end, { consumer_tag = "raw" }))
         print "ready" io.flush() ]], "one"))
      worker = process.run("", path)
      worker:says "ready"
      assert(ch:queue_declare { queue = q .. "-answers" })
      local go = os.tmpname()
      os.remove(go)
      ask(ch, q, worker, go, "began " .. go)
      reload(PLAIN)
      worker:says "msg=consuming"
      ask(ch, q, worker, "b", "b by two")
      broker.eventually("the old one's cancel", function()
         return ch:queue_declare { queue = q, passive = true }.consumer_count == 1
      end)
      assert.equal(0, broker.count(ch, q .. "-answers"))
      assert(io.open(go, "w")):close()
      assert.equal("for " .. go, broker.take(ch, q .. "-answers").body)
      if broker.is_open_to_us then
         broker.eventually("the old connection's end", function() return not broker.connection_with "old-only" end)
      end
      assert(ch:queue_delete { queue = q .. "-answers" })
      os.remove(go)
      local out = finish()
      assert.equal(0, count(out, "handler failed"), out)
   end)

   it("has globals of its own, and its modules loaded anew", function()
      local folder = broker.script "":match "^(.*)/"
      local name = "module_" .. broker.name "m":gsub("%W", "")
      local file = folder .. "/" .. name .. ".lua"
      local BODY = ([[package.path = "%s/?.lua;" .. package.path
         shared = EDITION
         local m = require "%s"
         mr.consumer { queue = "%%Q", handler = function(msg) print(msg.body, m.word, m.seen(), shared) io.flush() end } ]]):format(
         folder, name)
      write(file, 'return { word = "first", seen = function() return shared end }')
      start(BODY)
      ask(ch, q, worker, "a", "a\tfirst\tone\tone")
      write(file, "return nonsense nonsense")
      reload(BODY)
      worker:says "reload failed"
      ask(ch, q, worker, "b", "b\tfirst\tone\tone")
      write(file, 'return { word = "second", seen = function() return shared end }')
      reload(BODY)
      worker:says "msg=reloaded"
      ask(ch, q, worker, "c", "c\tsecond\ttwo\ttwo")
      finish()
      os.remove(file)
   end)

   it("has its remote calls answered by the new code; the old handlers still answer", function()
      q, ch = broker.name "reload", broker.channel()
      local BODY = [[mr.rpc.serve { queue = "%Q", handler = function(request)
         if request == "slow" then print "begun" io.flush() mr.sleep(0.3) end
         return request .. " by " .. EDITION end } ]]
      path = broker.script(text(BODY, "one"))
      worker = process.run("", path)
      worker:says "msg=serving"
      local function call(body) return mr.rpc.call(q, body, { connection = ch.connection, timeout = 20 }) end
      assert.equal("a by one", call "a")
      local slow
      mr.spawn(function() slow = assert(call "slow") end)
      worker:says "begun"
      reload(BODY)
      worker:says "msg=reloaded"
      assert.equal("b by two", call "b")
      broker.eventually("the old answer", function() return slow end)
      assert.equal("slow by one", slow)
      finish()
   end)

   it("is not taken while the first one's main chunk has not ended", function()
      start(PLAIN .. "while true do mr.sleep(0.01) end")
      reload(PLAIN)
      worker:says "the running script's main chunk has not ended"
      finish()
   end)

   it("by --watch is reloaded when its file is replaced", function()
      start(PLAIN, "--watch")
      ask(ch, q, worker, "a", "a by one")
      write(path, text(PLAIN, "two"))
      worker:says "msg=reloaded"
      ask(ch, q, worker, "b", "b by two")
      write(path, "x = = 1")
      worker:says "reload failed"
      write(path, text(PLAIN, "three"))
      worker:says("msg=reloaded", 2)
      ask(ch, q, worker, "c", "c by three")
      finish()
   end)
end)

--- monitor: the deliveries of a running process and their outcome, live.
-- Covers: lua/moonrabbit/channel/observer.lua by handled
-- Covers: lua/moonrabbit/cli/monitor.lua by monitor
-- Covers: lua/moonrabbit/console/monitor.lua by not_shown
local broker = require "broker"
local cjson = require "cjson"
local mr = require "moonrabbit"
local place = require "place"
local process = require "process"
local shell = require "shell"
local eventually = require("waits").eventually

local SCRIPT = [[
local mr = require "moonrabbit"
local queue, release = %q, %q
local words = {
   ack = function() end,
   own_ack = function(msg) mr.sleep(0.02) msg:ack() mr.sleep(0.5) end,
   own_nack = function(msg) msg:nack { requeue = false } end,
   requeue = function(msg) if not msg.redelivered then return "requeue" end end,
   reject = function() return "reject" end,
   retry = function(msg) if msg.attempt == 1 then return { retry = 0.05 } end end,
   own_retry = function(msg) if msg.attempt == 1 then msg:retry(0.05) end end,
   fail = function() error("broken amqp://u:hunter2@host/") end,
   dead = function() return "dead_letter", "for a reason" end,
   slow = function() mr.sleep(0.1) end,
   spin = function() while not io.open(release) do end end,
}
local conn = mr.connect()
local function consume()
   mr.consumer { queue = queue, name = "main", connection = conn, prefetch = 500,
      retry = function(ctx) return ctx.attempt < 2 and 0.05 or "stop" end,
      handler = function(msg) return words[msg.body:match "^[%%w_]*"](msg) end }
end
consume()
local ch = conn:channel()
ch:queue_declare { queue = queue .. ".loose" }
ch:consume(queue .. ".loose", function() end, { no_ack = true })
ch:queue_declare { queue = queue .. ".loop" }
ch:queue_declare { queue = queue .. ".lone" }
local lone = ch:consume(queue .. ".lone", function() while not io.open(release) do mr.sleep(0.01) end end, { concurrency = 1 })
mr.inspect.cancel = function() lone:cancel() end
mr.spawn(function()
   for msg in conn:channel():messages(queue .. ".loop") do
      if msg.body == "last" then msg:ack { multiple = true } end
   end
end)
]]

describe("moonrabbit monitor", function()
   local folder, queue, running

   local function environment() return ("AMQP_URL=%s XDG_RUNTIME_DIR=%s"):format(broker.tcp_url, folder) end
   local function moonrabbit(arguments) return shell(("XDG_RUNTIME_DIR=%s %s %s"):format(folder, broker.command, arguments)) end

   local function run(options)
      running = process.start(("%s run --log-level info %s %s/watched.lua"):format(broker.command, options or "", folder), environment())
      running:says("msg=consuming", options and tonumber(options:match "workers (%d)"))
   end
   local function monitor(arguments, times)
      local one = process.start(("%s monitor %s"):format(broker.command, arguments or ""), environment())
      one:says("monitoring ", times)
      return one
   end
   local function publish(list, suffix)
      local conn = mr.connect(broker.tcp_url)
      local ch = conn:channel()
      ch:confirm_select()
      for _, body in ipairs(list) do assert(ch:publish("", queue .. (suffix or ""), body, { message_id = #body < 20 and body or nil })) end
      conn:close()
   end
   local function entries(one)
      local list = {}
      for line in one:output():gmatch "({[^\n]*})\n" do list[#list + 1] = cjson.decode(line) end
      return list
   end
   local function await(one, count)
      return eventually(("%d lines"):format(count), function()
         local list = entries(one)
         return #list >= count and list
      end)
   end
   local function watchers() return (moonrabbit "attach -e 'require(\"moonrabbit.console.monitor\").count()'") end

   before_each(function()
      queue = broker.name "monitor"
      folder = place.make()
      place.add(folder, "watched.lua", SCRIPT:format(queue, folder .. "/release"))
   end)
   after_each(function()
      process.end_all()
      place.remove(folder)
      local conn = mr.connect(broker.tcp_url)
      local ch = conn:channel()
      for _, suffix in ipairs { "", ".dead", ".loose", ".loop", ".lone", ".retry-exit" } do ch:queue_delete { queue = queue .. suffix } end
      conn:close()
   end)

   it("has a line for each outcome, when the message is settled", function()
      run()
      local one = monitor "--json"
      publish { "ack", "own_ack", "own_nack", "requeue", "reject", "retry", "own_retry", "fail", "dead", "slow" }
      local seen = {}
      for _, entry in ipairs(await(one, 14)) do
         assert.same({ queue, "", queue, #entry.message_id }, { entry.queue, entry.exchange, entry.routing_key, entry.size })
         assert.truthy(math.abs(entry.time - os.time()) < 60)
         assert.is_nil(entry.headers or entry.body)
         seen[("%s %d %s"):format(entry.message_id, entry.attempt, entry.outcome)] = entry
      end
      for _, key in ipairs { "ack 1 ack", "own_ack 1 ack", "own_nack 1 nack", "requeue 1 requeue", "requeue 1 ack", "reject 1 reject",
         "retry 1 retry", "retry 2 ack", "own_retry 1 retry", "own_retry 2 ack", "fail 1 retry", "fail 2 dead_letter", "dead 1 dead_letter",
         "slow 1 ack" } do
         assert.truthy(seen[key], key .. "\n" .. one:output())
      end
      assert.same({ false, true }, { seen["requeue 1 requeue"].redelivered, seen["requeue 1 ack"].redelivered })
      assert.truthy(seen["slow 1 ack"].seconds >= 0.1)
      local own = seen["own_ack 1 ack"].seconds -- until its ack, not until its end
      assert.truthy(own >= 0.02 and own < 0.5, tostring(own))
      assert.same({ 0.05, "for a reason", queue .. ".dead" },
         { seen["retry 1 retry"].delay, seen["dead 1 dead_letter"].error, seen["dead 1 dead_letter"].dead_letter })
      assert.truthy(seen["fail 1 retry"].error:find("broken amqp://u:***@host/", 1, true))
      running:stop()
   end)

   it("shows what has no handler, or needs no ack: loops over messages, no_ack, the unseen at the end", function()
      run()
      local one = monitor("--json --queue '" .. queue .. ".lo*'")
      publish({ "a", "b", "last" }, ".loop")
      publish({ "loose" }, ".loose")
      publish { "ack" }
      local list = await(one, 2)
      table.sort(list, function(a, b) return a.queue < b.queue end)
      assert.same({ "ack", true, "last" }, { list[1].outcome, list[1].multiple, list[1].message_id })
      assert.same({ "no_ack", queue .. ".loose" }, { list[2].outcome, list[2].queue })
      assert.equal(2, #entries(one))
      publish({ "held", "unseen", "unseen" }, ".lone")
      eventually("the three", function() return cjson.decode((moonrabbit "status --json")).messages.delivered >= 8 end)
      moonrabbit "attach -e 'cancel()'"
      list = await(one, 4) -- the broker may offer them once more until it has heard of the cancel
      for i = 3, 4 do assert.same({ "requeue", "unseen" }, { list[i].outcome, list[i].message_id }) end
      place.add(folder, "release")
      one:says '"message_id":"held"'
      running:stop()
   end)

   it("shows headers and the body's first bytes only when asked for, without secrets and control characters", function()
      run()
      local nasty = "\27[31m\7\194\155x"
      local texts = { monitor "", monitor("--headers --body 200"), monitor("--body --key '*-loop'"), monitor("--json --headers --body 5") }
      local conn = mr.connect(broker.tcp_url)
      local ch = conn:channel()
      ch:confirm_select()
      local props = { message_id = nasty, headers = { secret = "hunter2", url = "amqp://u:hunter2@host/", n = 7, [nasty] = nasty } }
      assert(ch:publish("", queue, "ack " .. nasty .. " amqp://u:hunter2@host/", props))
      assert(ch:publish("", queue, "ack\255", props))
      conn:close()
      texts[1]:says("id=\\x1b[31m\\x07\\u009bx", 2)
      texts[2]:says('secret=*** url=amqp://u:***@host/')
      texts[2]:says("body    ack \\x1b[31m\\x07\\u009bx amqp://u:***@host/")
      local list = await(texts[4], 2)
      assert.same({ "ack \27", 7, "***", "YWNr/w==" },
         { list[1].body, list[1].headers.n, list[1].headers.secret, list[2].body_base64 })
      for i, one in ipairs(texts) do
         one:signal "INT"
         local out, code = one:wait()
         assert.equal(0, code)
         assert.is_nil(out:find "[%z\1-\9\11-\31\127]", out)
         assert.is_nil(out:find("\194\155", 1, true) or out:find "hunter")
         if i == 1 or i == 3 then assert.is_nil(out:find "headers" or out:find "body") end
      end
      running:says("msg=\"monitored by console\"", 4)
      running:says "body=200 headers=true"
      running:stop()
   end)

   it("ends after --limit, and tells of the end of the process", function()
      run "--console-read-only"
      local one, other = monitor "--limit 3", monitor ""
      publish { "ack", "ack", "ack", "ack" }
      local out, code = one:wait()
      assert.same({ 0, 3 }, { code, select(2, out:gsub("id=ack", "")) })
      other:says("id=ack", 4)
      running:stop()
      out, code = other:wait()
      assert.equal(1, code)
      assert.truthy(out:find(("watched.lua (pid %d) has ended"):format(running.pid), 1, true), out)
   end)

   it("shows what was handled before the script spins, and goes away with a killed client", function()
      run()
      local one, other = monitor "--json", monitor "--json"
      publish { "ack", "retry", "spin", "ack" }
      -- The retry's copy is confirmed by tasks that the spinning one keeps from running, or they were quicker.
      await(one, 1)
      await(other, 1)
      local late = process.start(("%s monitor --json"):format(broker.command), environment())
      late:says "the script is busy for"
      one:signal "KILL"
      one:wait()
      late:signal "INT"
      assert.equal(0, select(2, late:wait()))
      place.add(folder, "release")
      await(other, 4)
      eventually("one left", function() return watchers() == "1\n" end)
      other:signal "INT"
      other:wait()
      eventually("none left", function() return watchers() == "0\n" end)
      assert.equal("false\n", (moonrabbit "attach -e 'require(\"moonrabbit.channel.observer\").handled'"))
      running:stop()
   end)

   it("holds nothing up for a client that does not read, and counts what it missed", function()
      run()
      place.add(folder, "slow.sh", ([[
curl -sN --unix-socket %s/moonrabbit/%d-watched.lua.sock 'http://x/monitor?body=65536' | {
   while [ ! -e %s/go ]; do sleep 0.05; done
   cat
}
]]):format(folder, running.pid, folder))
      local slow = process.start(("sh %s/slow.sh"):format(folder))
      running:says "monitored by console"
      local big, list = "ack " .. ("x"):rep(16000), {}
      for i = 1, 200 do list[i] = big end
      publish(list)
      eventually("all of them", function()
         return cjson.decode((moonrabbit "status --json")).messages.settled >= 200
      end)
      place.add(folder, "go")
      local shown, missed = 0, 0
      eventually("what was missed", function()
         shown, missed = 0, 0
         for _, entry in ipairs(entries(slow)) do
            if entry.not_shown then missed = missed + entry.not_shown else shown = shown + 1 end
         end
         return missed > 0 and shown + missed == 200
      end)
      assert.truthy(shown >= 60, tostring(shown)) -- a mebibyte
      running:stop()
      slow:wait()
   end)

   it("follows all workers of a supervisor, also one that it starts anew", function()
      run "--workers 2"
      local out, code = moonrabbit "monitor --queue nothing"
      assert.same({ 2, 1 }, { code, (out:find('moonrabbit: no consumer of a queue "nothing"', 1, true)) }, out)
      local one = monitor("--json --queue " .. queue, 2)
      local list = {}
      for i = 1, 40 do list[i] = "ack" end
      publish(list)
      local by = {}
      for _, entry in ipairs(await(one, 40)) do by[entry.worker] = (by[entry.worker] or 0) + 1 end
      assert.truthy(by[1] and by[2] and by[1] + by[2] == 40, one:output())
      local pid = cjson.decode((moonrabbit "status --json")).workers[1].pid
      os.execute("kill -KILL " .. pid)
      one:says(("worker 1 (pid %d) has ended"):format(pid))
      one:says("monitoring worker 1", 2)
      one:signal "INT"
      assert.equal(0, select(2, one:wait()))
      local text = monitor("--key nothing", 2)
      running:stop()
      out, code = text:wait()
      assert.equal(1, code)
      assert.truthy(out:find("has ended", 1, true), out)
   end)

   it("says in one line what is wrong with its arguments", function()
      run()
      for arguments, why in pairs { ["nobody"] = 'no process "nobody"; there are:', ["/nowhere/x.sock"] = "/nowhere/x.sock: No such file",
         ["--queue nothing"] = ('no consumer of a queue "nothing"; there are: %s'):format(queue),
         ["--queue ''"] = "--queue takes a name or a pattern, not an empty text", ["--key ''"] = "--key takes a name or a pattern",
         ["--body many"] = '--body takes a whole number from 1 to 65536, not "many"', ["--limit 0"] = "--limit takes a whole number from 1",
         ["--nonsense"] = "unknown option '--nonsense'" } do
         local out, code = moonrabbit("monitor " .. arguments)
         assert.same({ 2, 1 }, { code, (out:find("moonrabbit: " .. why, 1, true)) }, out)
      end
      local out = shell(("curl -s --unix-socket %s/moonrabbit/*.sock 'http://x/monitor?body=x'"):format(folder))
      assert.equal('{"error":"body takes a whole number from 1 to 65536, not \\"x\\""}\n', out)
      running:stop()
   end)
end)

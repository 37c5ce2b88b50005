--- monitored: what a monitor is told of the less usual ways in which messages are settled.
local ask = require "moonrabbit.cli.ask"
local broker = require "broker"
local cjson = require "cjson"
local console = require "moonrabbit.console.console"
local monitor = require "moonrabbit.console.monitor"
local mr = require "moonrabbit"
local observer = require "moonrabbit.channel.observer"
local waits = require "waits"
local eventually = waits.eventually

describe("a monitored program", function()
   local path, holds, asked, lines, refused

   -- Follows the page in this process; `lines` gets the objects.
   local function follow(query)
      local hold, before = {}, monitor.count()
      holds[#holds + 1] = hold
      asked[#asked + 1] = waits.background(function()
         refused = { ask.lines(path, "/monitor" .. (query or ""), function(text)
            for line in text:gmatch "[^\n]+" do lines[#lines + 1] = cjson.decode(line) end
         end, hold) }
      end)
      eventually("the monitor", function() return monitor.count() > before or refused end)
   end
   local function await(count)
      eventually(("%d lines"):format(count), function() return #lines >= count end)
      return lines[count]
   end
   local function settled(ch, queue, bodies)
      for _, body in ipairs(bodies) do assert(ch:publish("", queue, body, { message_id = body })) end
   end

   before_each(function()
      holds, asked, lines, refused = {}, {}, {}, nil
      path = os.tmpname()
      os.remove(path)
      assert.equal(path, assert(mr.console { path = path }))
   end)
   after_each(function()
      for _, hold in ipairs(holds) do
         if hold.give_up then hold.give_up() end
      end
      eventually("no monitor", function() return monitor.count() == 0 end)
      for _, one in ipairs(asked) do eventually("the end of its answer", function() return one.done end) end
      for name in pairs { handled = true, settling = true, unseen = true, copied = true } do assert.is_false(observer[name]) end
      console.stop()
      broker.close_all()
   end)

   it("tells of acks from another task, of get, and of several at once", function()
      local ch, queue = broker.confirming()
      follow()
      local kept = {}
      local worker = mr.consumer { queue = queue, declare = false, dead_letter = false, connection = ch.connection, manual_ack = true,
         handler = function(msg) kept[#kept + 1] = msg end }
      settled(ch, queue, { "one", "two", "three" })
      eventually("all three", function() return #kept == 3 end)
      mr.sleep(0.02)
      assert.equal(0, #lines)
      assert(kept[2]:nack { multiple = true, requeue = false })
      assert.same({ "nack", "two", true, queue }, { await(1).outcome, lines[1].message_id, lines[1].multiple, lines[1].queue })
      assert.is_nil(lines[1].seconds)
      assert(kept[3]:reject { requeue = false })
      assert.same({ "reject", "three" }, { await(2).outcome, lines[2].message_id })
      assert.is_nil(kept[3]:ack()) -- settled: no line
      local other = broker.queue(ch)
      settled(ch, other, { "got" })
      assert(broker.take(ch, other, {}):ack())
      assert.same({ "ack", "got", other, other }, { await(3).outcome, lines[3].message_id, lines[3].routing_key, lines[3].queue })
      worker:cancel()
   end)

   it("tells of a retry that is held here, and of dead letters of a plain consumer", function()
      local ch, queue = broker.confirming(), broker.name "monitored" -- another connection publishes its copies
      ch:queue_declare { queue = queue }
      ch:consume(queue, function(msg)
         if msg.body == "again" and msg.attempt == 1 then assert(msg:retry(0.05)) end
         if msg.body == "dead" then assert(msg:dead_letter "by hand") end
      end)
      follow("?queue=" .. queue)
      settled(ch, queue, { "again" })
      await(2)
      table.sort(lines, function(a, b) return a.attempt < b.attempt end) -- the copy may be handled before its original is acked
      assert.same({ "retry", 1, "again" }, { lines[1].outcome, lines[1].attempt, lines[1].message_id })
      assert.same({ "ack", 2 }, { lines[2].outcome, lines[2].attempt })
      settled(ch, queue, { "dead" })
      assert.same({ "dead_letter", "by hand", queue .. ".dead" }, { await(3).outcome, lines[3].error, lines[3].dead_letter })
      assert.is_number(lines[3].seconds)
      for _, suffix in ipairs { "", ".dead" } do ch:queue_delete { queue = queue .. suffix } end
   end)

   it("tells of what is lost with its connection", function()
      local ch, queue = broker.confirming()
      follow()
      local has_begun, may_end
      ch:consume(queue, function(msg)
         if msg.redelivered then return end
         has_begun = true
         eventually("the end", function() return may_end end)
      end)
      settled(ch, queue, { "lost" })
      eventually("its handler", function() return has_begun end)
      ch:close()
      may_end = true
      assert.same({ "lost", "lost" }, { await(1).outcome, lines[1].message_id })
   end)

   it("is not disturbed by a monitor that fails", function()
      local ch, queue = broker.confirming()
      follow()
      local handled = 0
      ch:consume(queue, function() handled = handled + 1 end)
      local told = observer.handled
      observer.handled = function(consumer, d) return told(consumer, d) end -- without the message
      broker.quietly(function()
         settled(ch, queue, { "one", "two" })
         eventually("both", function() return handled == 2 end)
      end)
      observer.handled = told
      settled(ch, queue, { "three" })
      assert.same({ "ack", "three" }, { await(1).outcome, lines[1].message_id })
   end)

   it("has its messages as ever: gone after their handler", function()
      local ch, queue = broker.confirming()
      follow "?body=10"
      local kept
      ch:consume(queue, function(msg)
         msg:ack()
         kept = msg
      end)
      settled(ch, queue, { "one" })
      assert.equal("one", await(1).body)
      eventually("the end of its handler", function() return kept end)
      assert.has_error(function() return kept.exchange end)
      assert.has_error(function() return kept.body end)
   end)

   it("leaves places of the console to others", function()
      for _ = 1, 8 do follow() end
      follow()
      assert.same({ 503, '{"error":"there are 8 monitors already"}\n' }, refused)
      assert.equal(200, (ask.page(path, "/status", 10)))
   end)

   it("refuses a queue that nobody consumes, and takes a pattern of one", function()
      local ch, queue = broker.confirming()
      ch:consume(queue, function() end)
      follow "?queue=nothing-at-all"
      assert.same({ 400, 0 }, { refused[1], monitor.count() })
      assert.truthy(refused[2]:find('no consumer of a queue \\"nothing-at-all\\"', 1, true), refused[2])
      refused = nil
      follow("?queue=" .. queue:sub(1, -3) .. "*&key=nothing")
      follow("?queue=" .. queue:sub(1, -3) .. "%3F%3F&key=" .. queue:gsub("^.", "%%3F"))
      settled(ch, queue, { "one" })
      assert.equal("one", await(1).message_id)
      assert.equal(1, #lines)
   end)
end)

--- simple_queue: queues with put and get. CONTRACT Q15 to Q22, T4, T12.
local mr = require "moonrabbit"
local embedded = require "embedded"
local waits = require "waits"

local setup = embedded.connected

local function quiet()
   mr.log.configure "off"
   finally(function() mr.log.configure "error" end)
end

describe("a simple queue", function()
   after_each(embedded.close_all)

   it("puts and gets in order, and counts (Q15, Q22, T12)", function()
      local q = assert(setup():simple_queue "tasks")
      for i = 1, 3 do assert(q:put(tostring(i), { message_id = "m" .. i })) end
      assert.equal(3, q:qsize())
      assert.equal(3, #q)
      for i = 1, 3 do
         local msg = assert(q:get { timeout = 1 })
         assert.same({ tostring(i), "m" .. i, "tasks", 2 },
            { msg.body, msg.properties.message_id, msg.exchange, msg.properties.delivery_mode })
         assert(msg:ack())
      end
      local msg, err = q:get_nowait()
      assert.is_nil(msg)
      assert.equal("empty", err.kind)
      assert.equal("empty", select(2, q:get { block = false }).kind)
      assert.equal("empty", select(2, q:get { timeout = 0.02 }).kind)
   end)

   it("is a durable queue and a durable direct exchange of its name, bound by it (Q15)", function()
      local conn, b = setup()
      local q = assert(conn:simple_queue "tasks")
      assert.same({ "tasks", "tasks", "tasks" }, { q.queue, q.exchange, q.routing_key })
      assert.is_true(b:queue "tasks".durable)
      assert.is_false(b:queue "tasks".auto_delete)
      assert(q.channel:exchange_declare { exchange = "tasks", durable = true }) -- else it is refused
      assert(q.channel:publish("tasks", "tasks", "by the exchange"))
      assert.equal("by the exchange", q:get_nowait().body)
   end)

   it("may be a queue's table: its exchange, its key, its arguments (Q16)", function()
      local conn, b = setup()
      local ch = assert(conn:channel())
      assert(ch:exchange_declare { exchange = "jobs", type = "topic" })
      local q = assert(conn:simple_queue({ queue = "late", exchange = "jobs", routing_key = "job.late", durable = false,
         arguments = { ["x-max-length"] = 1 } }, { exchange_opts = { type = "topic", durable = false } }))
      assert(q:put "1")
      assert(q:put "2")
      assert.equal(1, #q)
      local msg = assert(q:get { timeout = 1 })
      assert.same({ "2", "jobs", "job.late" }, { msg.body, msg.exchange, msg.routing_key })
      assert.is_false(b:queue "late".durable)

      q = assert(conn:simple_queue { queue = "bare" })
      assert(q:put "x")
      assert.same({ "", "bare" }, { q.exchange, q:get_nowait().routing_key })
      q = assert(conn:simple_queue { queue = "", exclusive = true, durable = false }) -- the broker gives the name
      assert(q:put "x")
      assert.equal("x", q:get_nowait().body)
   end)

   it("has each message acked by the program unless no_ack is asked for (Q17)", function()
      local conn = setup()
      local q = assert(conn:simple_queue "kept")
      assert(q:put "x")
      assert(q:get { timeout = 1 })
      assert(q:close())
      q = assert(conn:simple_queue("kept", { no_ack = true }))
      assert.equal(1, q:qsize())
      assert.equal("settled", select(2, q:get { timeout = 1 }:ack()).kind)
      assert(q:close())
      assert.equal(0, assert(conn:simple_queue "kept"):qsize())
   end)

   it("takes options for its queue and its exchange (Q18, Q19)", function()
      local conn, b = setup()
      local q = assert(conn:simple_queue("small", { queue_opts = { durable = false, arguments = { ["x-max-length"] = 2 } },
         exchange_opts = { type = "fanout", auto_delete = true } }))
      for i = 1, 3 do assert(q:put(tostring(i))) end
      assert.same({ 2, "2" }, { q:qsize(), q:get_nowait().body })
      assert.is_false(b:queue "small".durable)
      assert(q.channel:exchange_declare { exchange = "small", type = "fanout", durable = true, auto_delete = true })
   end)

   it("uses the channel it is given and leaves it open (Q20)", function()
      local ch = assert(setup():channel())
      local q = assert(ch.connection:simple_queue("given", { channel = ch }))
      assert(q:put "x")
      assert(q:close())
      assert.is_true(ch.is_open)
      local own = assert(ch.connection:simple_queue "own")
      assert(own:close())
      assert(own:close())
      assert.is_false(own.channel.is_open)
      assert.equal("closed", select(2, own:put "x").kind)
      assert.equal("closed", select(2, own:get()).kind)
   end)

   it("as a buffer is not durable, goes with its last user, is transient and not acked (Q21, T4)", function()
      local conn, b = setup()
      local q = assert(conn:simple_buffer "lossy")
      local row = b:queue "lossy"
      assert.same({ false, true, false }, { row.durable, row.auto_delete, row.exclusive })
      assert(q:put "x")
      local msg = assert(q:get { timeout = 1 })
      assert.equal(1, msg.properties.delivery_mode)
      assert.equal("settled", select(2, msg:ack()).kind)
      local kept = assert(conn:simple_buffer("lossy", { no_ack = false }))
      assert(kept:put "x")
      assert(kept:get { timeout = 1 }:ack())
   end)

   it("clears, and tells how many (Q22)", function()
      local q = assert(setup():simple_queue "clear")
      for _ = 1, 10 do assert(q:put "x") end
      assert.equal(10, q:clear())
      assert.equal(0, q:qsize())
   end)

   it("waits for a message that comes later (Q22)", function()
      local q = assert(setup():simple_queue "later")
      mr.after(0.02, function() q:put "at last" end)
      assert.equal("at last", assert(q:get { timeout = 5 }).body)
   end)

   it("waits through a lost connection", function()
      quiet()
      local conn, b = setup()
      local q = assert(conn:simple_queue "through")
      mr.after(0.01, function() b:drop() end)
      mr.after(0.1, function() assert(q:put "after") end)
      assert.equal("after", assert(q:get()).body)
      assert.equal(2, conn.epoch)
   end)

   it("has a deadline also when the broker says nothing any more", function()
      quiet()
      local conn, b = setup()
      local q = assert(conn:simple_queue "mute")
      b:silent()
      local began = mr.now()
      local msg, err = q:get { timeout = 0.1 }
      assert.is_nil(msg)
      assert.equal("timeout", err.kind)
      assert.is_true(mr.now() - began < 2)
      b:silent(false)
   end)

   it("writes tables as JSON, strings as they are, and all of it as one serializer says", function()
      local conn = setup()
      local q = assert(conn:simple_queue "bodies")
      assert(q:put { id = 7 })
      assert(q:put "plain")
      assert(q:put({ 1 }, { content_type = "application/vnd.list+json" }))
      assert.same({ id = 7 }, q:get_nowait():decode())
      local msg = q:get_nowait()
      assert.same({ "plain", nil, "plain" }, { msg.body, msg.properties.content_type, msg:decode() })
      assert.same({ 1 }, q:get_nowait():decode())
      local json = assert(conn:simple_queue("bodies", { serializer = "json" }))
      assert(json:put "text")
      msg = json:get_nowait()
      assert.same({ '"text"', "text" }, { msg.body, msg:decode() })
      local raw = assert(conn:simple_queue("bodies", { serializer = "raw" }))
      local ok, why = pcall(function() raw:put {} end)
      assert.is_false(ok)
      assert.truthy(why:find("simple_queue_spec.lua:%d+: a raw body must be a string"))
   end)

   it("tells when a put found no queue any more", function()
      local conn = setup()
      local q = assert(conn:simple_queue "gone")
      assert(assert(conn:channel()):queue_delete { queue = "gone" })
      assert.equal("returned", select(2, q:put "x").kind)
   end)

   it("blames the caller for options it does not know", function()
      local conn = setup()
      for text, fn in pairs {
         ['unknown option "no_akc": did you mean "no_ack"?'] = function() conn:simple_queue("q", { no_akc = true }) end,
         ['unknown option "durabel": did you mean "durable"?'] = function() conn:simple_queue("q", { queue_opts = { durabel = 1 } }) end,
         ['unknown option "typ": did you mean "type"?'] = function() conn:simple_buffer("q", { exchange_opts = { typ = "" } }) end,
         ['unknown option "name"'] = function() conn:simple_queue { name = "q" } end,
         ['unknown serializer "yaml"'] = function() conn:simple_queue("q", { serializer = "yaml" }) end,
         ['"queue_opts" goes with a name'] = function() conn:simple_queue({ queue = "q" }, { queue_opts = {} }) end,
         ["the default exchange takes"] = function() conn:simple_queue { queue = "q", routing_key = "k" } end,
         ["must be a string or a queue's table, not a number"] = function() conn:simple_queue(7) end,
         ['no settable field "no_ack"'] = function() assert(conn:simple_queue "q").no_ack = true end,
      } do
         local ok, why = pcall(fn)
         assert.is_false(ok, text)
         assert.truthy(why:find(text, 1, true) and why:find "^[^:]*simple_queue_spec%.lua:", why)
      end
   end)

   it("gives the broker's error, and no channel is left open", function()
      local conn, b = setup()
      assert(assert(conn:channel()):queue_declare { queue = "other" })
      local q, err = conn:simple_queue "other"
      assert.is_nil(q)
      assert.equal("precondition_failed", err.kind)
      waits.eventually("its channel's end", function() return b:report().connections[1].channels == 1 end)
   end)
end)

--- Answers belong to their questions, whatever else is asked at once, and whenever they come (FIELD R2, R11, R23).
local mr = require "moonrabbit"
local broker = require "broker"
local peer = require "peer"

local eventually, name, quietly = broker.eventually, broker.name, broker.quietly

-- Runs all of these at once, and waits for them.
local function at_once(list)
   local left = #list
   for _, fn in ipairs(list) do
      mr.spawn(function()
         fn()
         left = left - 1
      end)
   end
   eventually("all of them", function() return left == 0 end)
end

describe("requests made at once on one channel", function()
   after_each(broker.close_all)

   for what, tags in pairs { ["tags of their own"] = { "first", "second", "third" }, ["no tags"] = {} } do
      it("begin the consumers that were asked for, answers by direct reply-to among them: " .. what .. " (FIELD-R2)", function()
         local server = broker.channel()
         local q, p = name "one", name "two"
         for _, queue in ipairs { q, p } do assert(server:queue_declare { queue = queue, auto_delete = false }) end
         for round = 1, 10 do
            local ch, got, consumers = assert(server.connection:channel()), {}, {}
            local function begin(i, queue, opts)
               return function()
                  opts.consumer_tag = tags[i]
                  consumers[i] = assert(ch:consume(queue, function(msg) got[msg.body] = (got[msg.body] or "") .. i end, opts))
               end
            end
            at_once { begin(1, q, {}), begin(2, "amq.rabbitmq.reply-to", { no_ack = true }), begin(3, p, {}) }
            assert(ch:publish("", q, "to one", { reply_to = "amq.rabbitmq.reply-to" }))
            assert(server:publish("", p, "to two"))
            eventually("the messages", function() return got["to one"] and got["to two"] end)
            assert.same({ "1", "3" }, { got["to one"], got["to two"] })
            local seen = {}
            for i = 1, 3 do
               local tag = consumers[i].tag
               assert.is_true(#tag > 0 and not seen[tag] and (not tags[i] or tag == tags[i]), tag)
               seen[tag] = true
            end
            at_once {
               function() assert(consumers[3]:cancel()) end, function() assert(consumers[1]:cancel()) end,
               function() assert(consumers[2]:cancel()) end,
            }
            assert.is_true(ch.is_open, "round " .. round)
            assert(ch:close())
         end
         for _, queue in ipairs { q, p } do assert(server:queue_delete { queue = queue }) end
      end)
   end

   it("declare the queues that were asked for, those that the broker names among them (FIELD-R2)", function()
      local ch = broker.channel()
      local given, wanted, list = {}, {}, {}
      for i = 1, 30 do
         wanted[i] = i % 3 > 0 and name("declared" .. i) or ""
         list[i] = function() given[i] = assert(ch:queue_declare { queue = wanted[i], exclusive = true }).queue end
      end
      at_once(list)
      local seen = {}
      for i = 1, 30 do
         if wanted[i] ~= "" then assert.equal(wanted[i], given[i]) else assert.truthy(given[i]:find "^amq%.gen%-") end
         assert.is_nil(seen[given[i]])
         seen[given[i]] = true
      end
   end)

   it("settle nothing that was given back meanwhile (FIELD-R23)", function()
      local ch = broker.channel()
      local q = assert(ch:queue_declare { queue = name "recovered", exclusive = true }).queue
      for i = 1, 20 do assert(ch:publish("", q, tostring(i))) end
      local begun, go, again = 0, false, 0
      assert(ch:consume(q, function(msg)
         begun = begun + 1
         if msg.redelivered then again = again + 1 end
         while not go do mr.sleep(0.01) end
         msg:ack() -- RabbitMQ, of those given back: 406, unknown delivery tag
      end, { concurrency = 40 }))
      eventually("all messages", function() return begun == 20 end)
      at_once { function() assert(ch:recover()) end, function() go = true end }
      eventually("what came again", function() return again == 20 end)
      assert.is_true(ch.is_open)
      assert.equal(0, assert(ch:queue_declare { queue = q, passive = true }).message_count)
   end)
end)

describe("answers that come too late", function()
   after_each(function()
      broker.close_all()
      peer.stop_all()
   end)

   local function connect(serve, options)
      local served = peer.start(function(session)
         if session:handshake() then serve(session) end
      end)
      local all = { url = "amqp://127.0.0.1:" .. served.port, recover = false, close_timeout = 0.1, rpc_timeout = 0.1 }
      for k, v in pairs(options or {}) do all[k] = v end
      return broker.connect(all)
   end

   it("let the number of a channel go that was closed or opened too late (FIELD-R11)", function()
      quietly(function()
         local go, opens = {}, 0
         local conn = connect(function(s)
            assert(s:open_channel())            -- number 1, whose close is answered late
            s:expect(20, 40)
            eventually("the word", function() return go.close end)
            s:write(peer.method(1, 20, 41))
            s:expect(20, 10)                    -- number 1 again, whose open is answered late
            eventually("the word", function() return go.open end)
            s:write(peer.method(1, 20, 11, peer.u32(0)))
            s:expect(20, 40)
            s:write(peer.method(1, 20, 41))
            while s:open_channel() do opens = opens + 1 end
         end, { channel_max = 1 })
         local ch = assert(conn:channel())
         assert.equal("timeout", select(2, ch:close()).kind)
         assert.equal("channel_limit_reached", select(2, conn:channel()).kind)
         go.close = true
         local _, err
         eventually("the number", function()
            _, err = conn:channel()
            return err.kind == "timeout"
         end)
         go.open = true
         eventually("the number, again", function() return conn:channel() end)
         assert.equal(1, opens)
         assert.is_true(conn.is_open)
      end)
   end)

   it("of a consume end the consumer that nobody waits for (FIELD-R11)", function()
      quietly(function()
         local cancelled, is_late
         local conn = connect(function(s)
            assert(s:open_channel())
            local _, consume = s:expect(60, 20)
            local tag = consume:sub(6, 5 + consume:byte(5)) -- behind the ticket and "q"
            eventually("the timeout", function() return is_late end)
            s:write(peer.method(1, 60, 21, peer.short(tag)))
            local _, cancel = s:expect(60, 30)
            cancelled = cancel:sub(1, -2) == peer.short(tag) and #tag > 0
            s:write(peer.method(1, 60, 31, peer.short(tag)))
            s:expect(50, 10)
            s:write(peer.method(1, 50, 11, peer.short "q" .. peer.u32(0) .. peer.u32(0)))
            s:drain()
         end)
         local ch = assert(conn:channel())
         assert.equal("timeout", select(2, ch:consume("q", function() end)).kind)
         is_late = true
         eventually("the cancel", function() return cancelled end)
         assert(ch:queue_declare { queue = "q", timeout = 5 })
      end)
   end)
end)

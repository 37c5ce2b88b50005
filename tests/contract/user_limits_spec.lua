--- Limits that a broker sets for a user, and channel_max of our own: what is told, and what goes on.
-- Covers: lua/moonrabbit/connection/limit.lua by channel_limit_reached
local broker = require "broker"
local mr = require "moonrabbit"

describe("a limit of", function()
   local q, ch
   before_each(function()
      mr.log.configure "off"
      q, ch = broker.name "limit", broker.channel()
   end)
   after_each(function()
      for _, suffix in ipairs { "", ".dead", ".retry-exit" } do ch:queue_delete { queue = q .. suffix } end
      broker.close_all()
      mr.log.configure "warn"
   end)

   -- A connection of a user with limits.
   local function connect(limits)
      local conn = broker.connect_user "'.*' '.*' '.*'"
      broker.ctl(("-q set_user_limits %s '%s'"):format(conn:info().userid, limits))
      return conn
   end

   -- RabbitMQ counts a channel some time after it has opened or closed it: until then its limit is not met.
   -- It waits in RabbitMQ: each rabbitmqctl takes seconds on a busy machine.
   local COUNTED = [[-q eval 'Wait = fun Again(0) -> late; Again(N) ->
      case rabbit_channel_tracking:count_tracked_items_in({user, <<"%s">>}) of %d -> counted; _ -> timer:sleep(20), Again(N - 1) end end,
      Wait(1500).']]
   local function counted(conn, count)
      assert.equal("counted", broker.ctl(COUNTED:format(conn:info().userid, count)):match "%a+")
   end

   broker.it_rabbitmq(it, "one connection for a user: retries and dead letters go by the consumer's own (FIELD-C14)", function()
      local conn = connect '{"max-connections": 1}'
      local attempts = {}
      local w = mr.consumer { queue = q, connection = conn, retry = mr.retry.fixed { delay = 0.05, attempts = 3 },
         handler = function(msg)
            table.insert(attempts, msg.attempt)
            error "in vain"
         end }
      assert(w:wait(10))
      assert(ch:publish("", q, "x"))
      local dead = broker.eventually("the dead letter", function() return ch:get(q .. ".dead") end)
      assert.same({ "x", 3, 1, 2, 3 }, { dead.body, dead.headers["x-mr-attempt"], unpack(attempts) })
      dead:ack()
      assert.is_true(conn.is_open)
      w:cancel()
      assert(conn:close())
   end)

   broker.it_rabbitmq(it, "a user's channels is channel_limit_reached, and costs the connection once, not each time (FIELD-C14)", function()
      local conn = connect '{"max-channels": 2}'
      local first, second = assert(conn:channel()), assert(conn:channel())
      counted(conn, 2)
      local third, err = conn:channel()
      assert.same({ nil, "channel_limit_reached", 530 }, { third, err.kind, err.code })
      assert.truthy(err.hint:find("max-channels", 1, true))
      broker.eventually("its return", function() return first.is_open and second.is_open end)
      local epoch = conn.epoch
      for _ = 1, 3 do
         third, err = conn:channel()
         assert.same({ nil, "channel_limit_reached" }, { third, err.kind })
         assert.truthy(err.hint:find("set_user_limits", 1, true))
      end
      assert.equal(epoch, conn.epoch)
      assert(first:queue_declare { queue = q })
      second:close()
      counted(conn, 1)
      assert(conn:channel()) -- there is room again
      assert.equal(epoch, conn.epoch)
   end)

   broker.it_rabbitmq(it, "a user's channels that is lowered: a recovery restores what is allowed (FIELD-C14)", function()
      local conn = connect '{"max-channels": 4}'
      local topology = mr.topology { queues = { [q] = {} } } -- its channel is closed: to restore it, a recovery takes one more
      assert(topology:apply(conn))
      local channels, losses = {}, 0
      for i = 1, 4 do channels[i] = assert(conn:channel()) end
      conn.on_event = function(ev) if ev.type == "lost" then losses = losses + 1 end end
      local function lose_for_one_more()
         conn.channel_limit = nil
         local more, err = conn:channel()
         assert.same({ nil, "channel_limit_reached" }, { more, err.kind })
      end
      -- How many channels the recovery has brought back.
      local function restored()
         return broker.eventually("a recovery with what is allowed", function()
            local open, ended = 0, 0
            for _, one in ipairs(channels) do
               open = open + (one.is_open and 1 or 0)
               ended = ended + (one.handle and 0 or 1)
            end
            return conn.is_open and open + ended == 4 and open
         end, 60) -- each try that it refuses makes the next wait longer
      end
      lose_for_one_more()
      assert.equal(4, restored())
      broker.ctl(("-q set_user_limits %s '{\"max-channels\": 2}'"):format(conn:info().userid))
      -- RabbitMQ counts a channel some time after it has opened it: if it is busy, a recovery gets more than is allowed.
      local rounds = 0
      repeat
         rounds = rounds + 1
         assert.is_true(rounds <= 10, "it allows more each time")
         lose_for_one_more()
      until restored() == 2
      local epoch = conn.epoch
      local more, err = conn:channel()
      assert.same({ nil, "channel_limit_reached" }, { more, err.kind })
      assert.equal(epoch, conn.epoch)
      assert.is_true(losses <= 2 + 3 * rounds, losses)
      assert.equal(60, conn.channel_limit.seconds)
      for _, one in ipairs(channels) do
         if one.handle then assert(one:queue_declare { queue = q, passive = true })
         else assert.equal("channel_limit_reached", one.err.kind) end
      end
   end)

   it("our own, channel_max, does not keep a publisher from its topology, and is told where it does (FIELD-C14)", function()
      local conn = broker.connect { url = broker.url, channel_max = 1 }
      local p = mr.publisher { connection = conn, routing_key = q, topology = mr.topology { queues = { [q] = {} } }, timeout = 5 }
      assert(p:publish "x")
      local second = mr.publisher { connection = conn, routing_key = q, timeout = 0.3 }
      local ok, err = second:publish "y"
      assert.same({ nil, "channel_limit_reached" }, { ok, err.kind })
      assert.truthy(err.hint:find("raise channel_max", 1, true))
      p:close()
      second:close()
   end)

   it("our own, channel_max, is told of a consumer with a topology, with a hint (FIELD-C14)", function()
      local conn = broker.connect { url = broker.url, channel_max = 1 }
      local w = mr.consumer { queue = q, connection = conn, topology = mr.topology { queues = { [q] = {} } }, handler = print }
      local ok, err = w:wait(1)
      assert.same({ nil, "channel_limit_reached" }, { ok, err.kind })
      assert.truthy(err.hint:find("raise channel_max", 1, true))
      w:cancel()
   end)
end)

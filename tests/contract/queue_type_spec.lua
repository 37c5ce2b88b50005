--- The types of queues at the broker: what each has, and that queue_type refuses what the broker would.
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local broker = require "broker"
local mr = require "moonrabbit"
local queue_type = require "moonrabbit.channel.queue_type"

local take = broker.take

local ARGUMENTS = { ["x-message-ttl"] = 1000, ["x-expires"] = 60000, ["x-max-length"] = 10, ["x-max-length-bytes"] = 1000,
   ["x-overflow"] = "reject-publish", ["x-max-priority"] = 5, ["x-queue-mode"] = "lazy", ["x-single-active-consumer"] = true,
   ["x-dead-letter-exchange"] = "", ["x-dead-letter-strategy"] = "at-most-once", ["x-delivery-limit"] = 5, ["x-max-age"] = "1h",
   ["x-stream-max-segment-size-bytes"] = 1000000, ["x-initial-cluster-size"] = 1, ["x-quorum-initial-group-size"] = 1,
   ["x-queue-leader-locator"] = "client-local", ["x-queue-master-locator"] = "client-local", ["x-max-in-memory-length"] = 5,
   ["x-max-in-memory-bytes"] = 500, ["x-queue-version"] = 2, ["x-of-a-plugin"] = 1 }
local FLAGS = { { exclusive = true }, { auto_delete = true }, { durable = false } }
-- The embedded broker has no streams.
local TYPES = broker.is_rabbitmq and { "classic", "quorum", "stream" } or { "classic", "quorum" }

describe("a type of queues", function()
   local made, conn
   before_each(function()
      mr.log.configure "off"
      made, conn = {}, broker.connect()
   end)
   after_each(function()
      local ch = broker.channel()
      for _, queue in ipairs(made) do ch:queue_delete { queue = queue } end
      broker.close_all()
      mr.log.configure "warn"
   end)

   -- What the broker says to a declaration that nobody has checked.
   local function answer(declaration)
      local ch = assert(conn:channel())
      local ok, err = asking.ask(ch, C.MR_QUEUE_DECLARE, declaration, declaration.queue)
      if ok then assert(ch:queue_delete { queue = declaration.queue }) end
      ch:close()
      return ok ~= nil, err and err.text
   end

   for _, kind in ipairs(TYPES) do
      it("is checked as by the broker: " .. kind .. " (FIELD-C2)", function()
         local function compare(what, declaration)
            declaration.queue, declaration.queue_type = broker.name "typed", kind
            if declaration.durable == nil then declaration.durable = true end
            local is_allowed, put = pcall(queue_type.put, declaration)
            declaration.arguments = declaration.arguments or {}
            declaration.arguments["x-queue-type"] = kind
            local is_taken, text = answer(is_allowed and put or declaration)
            assert.equal(is_taken, is_allowed, what .. ": " .. tostring(text or put))
         end
         for argument, v in pairs(ARGUMENTS) do compare(argument, { arguments = { [argument] = v } }) end
         for _, flags in ipairs(FLAGS) do compare(next(flags), { [next(flags)] = select(2, next(flags)) }) end
      end)
   end

   it("is in the broker's words where nobody has checked it: quorum (FIELD-C2)", function()
      local queue = broker.name "typed"
      local arguments = { ["x-queue-type"] = "quorum" }
      local function text(flags)
         flags.queue, flags.arguments = queue, arguments
         return select(2, answer(flags))
      end
      local property = "PRECONDITION_FAILED - invalid property '%s' for queue '" .. queue .. "' in vhost '/'"
      assert.equal(property:format "non-durable", text {})
      assert.equal(property:format "auto-delete", text { durable = true, auto_delete = true })
      assert.equal(property:format "exclusive-owner", text { durable = true, exclusive = true })
      arguments["x-max-priority"] = 3
      assert.equal(("PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '%s' in vhost '/' of queue type rabbit_quorum_queue")
         :format(queue), text { durable = true })
      local _, why = answer { queue = "", durable = true, arguments = { ["x-queue-type"] = "quorum" } }
      assert.equal("PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue", why)
   end)

   it("quorum drops a message to the dead letters when it came back more often than the limit (FIELD-C2)", function()
      local ch, queue = broker.channel(), broker.name "limited"
      local dead = queue .. ".dead"
      made = { queue, dead }
      assert(ch:confirm_select())
      assert(ch:queue_declare { queue = dead, durable = true })
      assert(ch:queue_declare { queue = queue, durable = true, queue_type = "quorum", arguments = { ["x-delivery-limit"] = 2,
         ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = dead } })
      assert(ch:publish("", queue, "one"))
      assert(ch:publish("", queue, "two"))
      for _ = 1, 3 do
         local other = broker.channel()
         for _ = 1, 2 do take(other, queue, {}) end
         other:close() -- they go back
      end
      local bodies = {}
      for i = 1, 2 do
         local msg = take(ch, dead)
         bodies[i] = msg.body
         assert.equal("delivery_limit", msg.headers["x-death"][1].reason)
      end
      table.sort(bodies)
      assert.same({ "one", "two" }, bodies)
      assert.equal(0, broker.count(ch, queue))
   end)

   it("is that of the command where the script names none (FIELD-C2)", function()
      local queue = broker.name "typed"
      made = { queue }
      local path = broker.script(("local ch = require('moonrabbit').connect():channel() "
         .. "assert(ch:queue_declare { queue = %q, durable = true }) ch.connection:close()"):format(queue))
      local said, code = broker.shell(("AMQP_URL=%s %s run --queue-type quorum %s 2>&1"):format(broker.tcp_url, broker.command, path))
      assert.equal(0, code, said)
      assert(broker.channel():queue_declare { queue = queue, durable = true, queue_type = "quorum" })
   end)

   it("of a simple queue is the one that it says (FIELD-C2)", function()
      local name = broker.name "simple"
      made = { name }
      local q = assert(conn:simple_queue({ queue = name }, { queue_type = "quorum" }))
      assert(q:put { n = 1 })
      local msg = assert(q:get { timeout = 10 })
      assert.same({ n = 1 }, msg:decode())
      assert(msg:ack())
      q:close()
      local ok, err = broker.channel():queue_declare { queue = name, durable = true, queue_type = "classic" }
      assert.is_nil(ok)
      assert.matches("x-queue-type", err.text, nil, true)
   end)
end)

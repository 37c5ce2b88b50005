--- cli.monitor_text: a settled message for people.
-- SPDX-License-Identifier: MIT
local monitor_text = require "moonrabbit.cli.monitor_text"
local terminal = require "moonrabbit.cli.terminal"

local plain = terminal.painter(false)

local function text(more)
   local entry = { time = 1800000000.25, queue = "orders", exchange = "", routing_key = "order.new", size = 5, redelivered = false,
      attempt = 1, outcome = "ack", seconds = 0.0012 }
   for name, v in pairs(more or {}) do entry[name] = v end
   return (monitor_text.of(entry, plain):gsub("^%d%d:%d%d:%d%d", "TIME"))
end

describe("a line of monitor", function()
   it("leaves out what says nothing", function()
      assert.equal("TIME.250 orders  ack             1ms  key=order.new size=5", text())
      assert.equal("TIME.250 [2] orders  dead letter     1ms  key=order.new exchange=shop id=A-17 size=5 attempt=3 redelivered=yes "
         .. 'to=orders.dead error="no \\"way\\""', text { worker = 2, outcome = "dead_letter", exchange = "shop", message_id = "A-17",
            attempt = 3, redelivered = true, dead_letter = "orders.dead", error = 'no "way"' })
      assert.equal('TIME.250 -  requeue           -  key="" size=5 multiple=yes',
         (text { outcome = "requeue", routing_key = "", multiple = true, seconds = false, queue = false }))
   end)

   it("has headers and the body below", function()
      assert.equal('TIME.250 orders  retry           1ms  key=order.new size=5 delay=2.0s\n   headers a="x y" b=[1]\n   body    one\\ntwo',
         text { outcome = "retry", delay = 2, headers = { b = { 1 }, a = "x y" }, body = "one\ntwo" })
      assert.truthy(text { body_base64 = "AP8B" }:find("\n   base64  AP8B", 1, true))
   end)

   it("gives a terminal no control characters", function()
      local nasty = "\27[31m\7\194\155x\127\r\n"
      local out = text { queue = nasty, routing_key = nasty, exchange = nasty, message_id = nasty, error = nasty, body = nasty,
         outcome = nasty, dead_letter = nasty, headers = { [nasty] = nasty, list = { nasty } } }
      assert.is_nil(out:find "[%z\1-\9\11-\31\127]", out)
      assert.is_nil(out:find("\194\155", 1, true))
   end)

   it("says how many were not shown", function()
      assert.equal("[1] (7 not shown: they came faster than they were read)", monitor_text.of({ worker = 1, not_shown = 7 }, plain))
   end)

   it("paints what did not go well", function()
      local out = monitor_text.of({ time = 1, queue = "q", outcome = "reject", routing_key = "k", size = 1 }, terminal.painter(true))
      assert.truthy(out:find("\27[31mreject     \27[0m", 1, true), out)
   end)
end)

--- request: questions of a host that has not heard yet what the I/O thread knows.
-- SPDX-License-Identifier: MIT
local embedded = require "embedded"
local mr = require "moonrabbit"

-- Reads no event, as a handler that computes does not. If the machine is slow, the question is sent: the answer must be the same.
local function compute(seconds)
   local began = mr.now()
   while mr.now() - began < seconds do end
end

describe("a question to a channel that has ended unheard", function()
   after_each(embedded.close_all)

   for what, ask in pairs {
      ["queue_declare"] = function(ch) return ch:queue_declare { queue = "q" } end,
      ["a passive queue_declare"] = function(ch) return ch:queue_declare { queue = "q", passive = true } end,
      ["exchange_declare"] = function(ch) return ch:exchange_declare { exchange = "e" } end,
      ["queue_bind"] = function(ch) return ch:queue_bind { queue = "q", exchange = "amq.direct", routing_key = "k" } end,
      ["queue_purge"] = function(ch) return ch:queue_purge { queue = "q" } end,
      ["queue_delete"] = function(ch) return ch:queue_delete { queue = "q" } end,
      ["qos"] = function(ch) return ch:qos { prefetch_count = 1 } end,
      ["get"] = function(ch) return ch:get "q" end,
      ["consume"] = function(ch) return ch:consume("q", function() end) end,
      ["confirm_select"] = function(ch) return ch:confirm_select() end,
      ["tx_select"] = function(ch) return ch:tx_select() end,
   } do
      it("is told why it has ended: " .. what, function()
         local ch = assert(embedded.connected():channel())
         assert(ch:queue_declare { queue = "q" })
         assert(ch:publish("no-exchange", "q", "x"))
         mr.poll(0)
         compute(0.05)
         local ok, err = ask(ch)
         assert.is_nil(ok)
         assert.same({ "not_found", 404, "NOT_FOUND - no exchange 'no-exchange' in vhost '/'" }, { err.kind, err.code, err.text })
         assert.is_false(ch.is_open)
      end)
   end

   it("is told why it has ended: tx_commit", function()
      local ch = assert(embedded.connected():channel())
      assert(ch:tx_select())
      assert(ch:publish("no-exchange", "q", "x"))
      mr.poll(0)
      compute(0.05)
      local _, err = ch:tx_commit()
      assert.same({ "not_found", 404 }, { err.kind, err.code })
   end)

   it("is told why its connection was lost", function()
      local conn, b = embedded.connected { recover = false }
      local ch = assert(conn:channel())
      b:close_connections()
      compute(0.05)
      local _, err = ch:queue_declare { queue = "q" }
      assert.same({ "connection_forced", 320 }, { err.kind, err.code })
   end)

   it("is told that the program has closed it", function()
      local ch = assert(embedded.connected():channel())
      assert(ch:close())
      local _, err = ch:queue_declare { queue = "q" }
      assert.same({ "closed", "the channel was closed by the program" }, { err.kind, err.text })
   end)
end)

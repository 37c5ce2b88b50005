--- A host whose locale has a decimal comma (setlocale(LC_ALL, "de_DE.UTF-8")): what Lua and C say stays the same.
-- Feature: the locale, wherever numbers are read and written
-- SPDX-License-Identifier: MIT
local arguments = require "moonrabbit.cli.arguments"
local cli = require "moonrabbit.cli"
local comma = require "comma"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

describe("a locale with a decimal comma (FIELD-R10)", function()
   local back

   before_each(function() back = comma.set() end)
   after_each(function()
      back()
      loop.close(1)
   end)

   it("changes neither options, URLs nor arguments", function()
      assert.equal(1.5, tonumber "1.5")
      assert.is_nil(tonumber "1,5")
      assert.equal("1.50", ("%.2f"):format(1.5))
      assert.equal(2.5, arguments.complete(cli.parse { "run", "--drain", "2.5", "s.lua" }).drain)
      assert.is_truthy(mr.connect "amqp://localhost/?connect_timeout=2.5")
      local conn, err = mr.try_connect "amqp://localhost/?connect_timeout=2,5"
      assert.is_nil(conn)
      assert.equal("bad_option", err.kind)
      local _, text = pcall(mr.connect, { url = "memory://", heartbeat = 1.5 })
      assert.is_truthy(tostring(text):find("1.5", 1, true), tostring(text))
   end)

   it("changes neither messages nor reports", function()
      local ch = assert(assert(mr.connect "memory://"):channel())
      local queue = assert(ch:queue_declare { queue = "", exclusive = true,
         arguments = { ["x-expires"] = 60000, half = 0.5 } }).queue
      assert(ch:confirm_select())
      assert(ch:publish("", queue, "x", { headers = { half = 0.5, small = 1e-7 }, expiration = "60000" }))
      local msg = assert(ch:get(queue))
      assert.equal(0.5, msg.headers.half)
      assert.equal(1e-7, msg.headers.small)
      local report = mr.health.report()
      assert.is_table(report)
      mr.sleep(0.0015)
      msg:ack()
   end)
end)

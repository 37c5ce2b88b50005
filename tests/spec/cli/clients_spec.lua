--- clients: what `moonrabbit broker` logs of its clients (FIELD-W39).
-- SPDX-License-Identifier: MIT
local log = require "moonrabbit.loop.log"
local clients = require "moonrabbit.cli.clients"

describe("the log of moonrabbit broker (FIELD-W39)", function()
   local lines
   local kept = { info = log.info, warn = log.warn }
   before_each(function()
      lines = {}
      for name in pairs(kept) do log[name] = function(text, fields) lines[#lines + 1] = { name, text, fields } end end
   end)
   after_each(function() for name, fn in pairs(kept) do log[name] = fn end end)

   local function client(number, state)
      return { number = number, state = state, user = "guest", vhost = "/", client_properties = { connection_name = "c" .. number } }
   end

   it("has one line for each that comes, once it is logged in, and one when it goes", function()
      local seen = clients.look({ connections = { client(1, "running"), client(2, "tuning") } }, {})
      assert.same({ { "info", "client connected", { number = 1, name = "c1", user = "guest", vhost = "/" } } }, lines)
      seen = clients.look({ connections = { client(1, "blocked"), client(2, "running") } }, seen)
      assert.same({ 2, "client connected", 2 }, { #lines, lines[2][2], lines[2][3].number })
      clients.look({ connections = { client(2, "running") } }, seen)
      assert.same({ 3, "client gone", 1 }, { #lines, lines[3][2], lines[3][3].number })
   end)

   it("has one when publishers are blocked, and one when they may go on", function()
      local seen = clients.look({ connections = {}, blocked = true, memory = 9 }, {})
      seen = clients.look({ connections = {}, blocked = true, memory = 8 }, seen)
      clients.look({ connections = {}, blocked = false, memory = 1 }, seen)
      assert.same({ { "warn", "publishers are blocked", { memory = 9 } }, { "info", "publishers may go on", { memory = 1 } } }, lines)
   end)
end)

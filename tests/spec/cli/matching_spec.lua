--- matching: chooses messages; dead_letter: what they say of themselves.
-- Covers: lua/moonrabbit/cli/dead_letter.lua by fingerprint
-- SPDX-License-Identifier: MIT
local dead_letter = require "moonrabbit.cli.dead_letter"
local matching = require "moonrabbit.cli.matching"
local value = require "moonrabbit.base.value"

local function message(headers, more)
   local msg = { properties = { headers = headers }, routing_key = "q.dead", exchange = "", body = "text" }
   for name, v in pairs(more or {}) do msg[name], msg.properties[name] = v, v end
   return msg
end

local OURS = { ["x-mr-queue"] = "orders", ["x-mr-reason"] = "stopped", ["x-mr-error"] = "timeout: slow\nmore", ["x-mr-attempt"] = 8,
   ["x-mr-first-failure"] = 1700000000500, colour = "red" }

describe("--match", function()
   it("takes patterns of the shell, and nothing else as one", function()
      for text, is_match in pairs { ["a*c"] = true, ["a?c"] = true, ["*"] = true, ["a.c"] = false, ["%a*"] = false, ["b*"] = false } do
         assert.equal(is_match, matching.of { "body=" .. text } (message({}, { body = "abc" })), text)
      end
   end)

   it("looks at dead letters, properties, headers and bodies", function()
      local msg = message(OURS, { message_id = "m1", priority = 3 })
      for text, is_match in pairs { ["error=*slow*"] = true, ["reason=stop*"] = true, ["attempts=8"] = true, ["queue=orders"] = true,
         ["message_id=m?"] = true, ["priority=3"] = true, ["colour=red"] = true, ["headers.colour=red"] = true, ["body=text"] = true,
         ["routing_key=q.*"] = true, ["exchange="] = true, ["colour=blue"] = false, ["type=*"] = false, ["nothing=*"] = false } do
         assert.equal(is_match, matching.of { text } (msg), text)
      end
      assert.is_true(matching.of { "colour=red", "body=*x*" } (msg))
      assert.is_false(matching.of { "colour=red", "body=y" } (msg))
      assert.is_nil(matching.of {})
      assert.same({ nil, '--match takes FIELD=PATTERN, not "red"' }, { matching.of { "red" } })
   end)
end)

describe("a dead letter", function()
   it("says where it comes from, by our headers", function()
      assert.same({ queue = "orders", reason = "stopped", error = "timeout: slow\nmore", attempts = 8, since = 1700000000.5 },
         dead_letter.of(message(OURS)))
      assert.equal("timeout: slow", dead_letter.fingerprint(dead_letter.of(message(OURS))))
   end)

   it("says it by RabbitMQ's", function()
      local death = { { queue = "orders", reason = "rejected", count = 2, time = value.timestamp(1700000000) } }
      assert.same({ queue = "orders", reason = "rejected", attempts = 2, since = 1700000000 },
         dead_letter.of(message { ["x-death"] = death }))
   end)

   it("may say nothing", function()
      assert.same({}, dead_letter.of(message()))
      assert.same({}, dead_letter.of(message { ["x-death"] = "odd", ["x-mr-attempt"] = "many", ["x-mr-queue"] = 7 }))
      assert.equal("(no reason)", dead_letter.fingerprint {})
   end)

   it("has an age", function()
      assert.same({ "0 s", "119 s", "2 min", "2 h", "3 d", "" }, { dead_letter.age(-5), dead_letter.age(119), dead_letter.age(121),
         dead_letter.age(7300), dead_letter.age(260000), dead_letter.age() })
   end)

   it("is grouped by its error, the most frequent first", function()
      local groups = require("moonrabbit.cli.dead").groups { { fingerprint = "a", age = 5, message_id = "1" },
         { fingerprint = "b", age = 9 }, { fingerprint = "b", age = 3, message_id = "2" } }
      assert.same({ { error = "b", count = 2, oldest = 9, newest = 3, message_id = "2" },
         { error = "a", count = 1, oldest = 5, newest = 5, message_id = "1" } }, groups)
   end)
end)

--- overdue: reports of handlers that wait for very long; the clock is moved.
-- SPDX-License-Identifier: MIT
local embedded = require "embedded"
local in_flight = require "moonrabbit.channel.in_flight"
local log = require "moonrabbit.loop.log"
local marks = require "moonrabbit.loop.mark"
local mr = require "moonrabbit"
local overdue = require "moonrabbit.channel.overdue"
local waits = require "waits"

describe("a handler that waits for very long", function()
   local ch, lines, kept
   before_each(function()
      ch = assert(embedded.connect { url = embedded.broker {}.url }:channel())
      assert(ch:queue_declare { queue = "q" })
      lines, kept = {}, { log.warn, log.info }
      log.warn = function(text, fields) lines[#lines + 1] = { "warn", text, fields } end
      log.info = function(text, fields) lines[#lines + 1] = { "info", text, fields } end
   end)
   after_each(function()
      log.warn, log.info = kept[1], kept[2]
      mr.watchdog { waiting = 300 }
      embedded.close_all()
   end)

   local function ended(event)
      event:set()
      waits.eventually("the end", function() return #in_flight.list() == 0 end)
   end
   local function start(count)
      local event, begun = mr.event(), 0
      local handler = function()
         begun = begun + 1
         event:wait()
      end
      assert(ch:consume("q", handler))
      for i = 1, count or 1 do assert(ch:publish("", "q", "x", { message_id = "m-" .. i })) end
      waits.eventually("the handlers", function() return begun == (count or 1) end)
      return event, debug.getinfo(handler, "S").linedefined
   end
   local function count(text)
      local n = 0
      for _, line in ipairs(lines) do
         if line[2] == text then n = n + 1 end
      end
      return n
   end

   it("is reported after 300 s with its place and its message, and again when it is twice as old (FIELD-W31)", function()
      assert.equal(300, marks.waiting)
      local event, line = start()
      mr.testing.advance(290)
      assert.same({}, lines)
      mr.testing.advance(20)
      assert.equal(1, #lines)
      local fields = lines[1][3]
      assert.same({ "warn", "a handler does not end", "q", "m-1", 1 }, { lines[1][1], lines[1][2], fields.queue,
         fields.message_id, fields.tag })
      assert.truthy(fields.origin:find("overdue_spec.lua:" .. line, 1, true) and fields.at:find "overdue_spec.lua:%d+$")
      assert.is_true(fields.seconds >= 300 and fields.seconds < 312)
      mr.testing.advance(280)
      assert.equal(1, #lines)
      mr.testing.advance(30)
      assert.equal(2, #lines)
      ended(event)
   end)

   it("is reported after another time, or not at all, as the program says (FIELD-W31)", function()
      mr.watchdog { waiting = 5 }
      local event = start()
      mr.testing.advance(8)
      assert.equal(1, count "a handler does not end")
      mr.watchdog { waiting = 0 }
      mr.testing.advance(700)
      assert.equal(1, #lines)
      ended(event)
      assert.has_error(function() mr.watchdog { waiting = -1 } end)
   end)

   it("is one of a few lines where there are many (FIELD-W31)", function()
      mr.watchdog { waiting = 5 }
      local event = start(30)
      mr.testing.advance(8)
      assert.same({ 20, 1 }, { count "a handler does not end", count "more handlers do not end" })
      ended(event)
   end)

   it("is told with its traceback when that is asked for (FIELD-W31)", function()
      overdue.tell_all "SIGUSR1"
      assert.same({ { "info", "handlers at work", { handlers = 0, signal = "SIGUSR1" } } }, lines)
      local event = start(2)
      overdue.tell_all "SIGUSR1"
      assert.equal(2, count "a handler waits")
      local trace = lines[#lines][3].traceback
      assert.truthy(trace:find "^stack traceback:\n\t[^\n]*overdue_spec.lua:%d+: in function <[^\n]*overdue_spec.lua:%d+>$", trace)
      ended(event)
   end)
end)

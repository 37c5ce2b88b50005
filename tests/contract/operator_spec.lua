--- What an operator sees in the log of a worker, and what signals do.
local broker = require "broker"
local process = require "process"

-- The lines of a log in JSON, as tables.
local function lines_of(out)
   local list = {}
   for line in out:gmatch "[^\n]+" do
      if line:find "^{" then list[#list + 1] = require("cjson").decode(line) end
   end
   return list
end

-- The first line with this text.
local function line_with(out, msg)
   for _, line in ipairs(lines_of(out)) do
      if line.msg == msg then return line end
   end
   error(("no line %q in:\n%s"):format(msg, out), 2)
end

describe("the log of a failed message", function()
   after_each(process.end_all)
   teardown(broker.none_left)

   it("names its message_id and correlation_id, whatever consumes it (FIELD-W33)", function()
      local q = broker.name "ids"
      local worker = process.run("--log-format json", broker.script(([[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect():channel())
         assert(ch:queue_declare { queue = "%s.plain", auto_delete = true })
         assert(ch:queue_declare { queue = "%s.bare", auto_delete = true })
         local n = 0
         local function fail() n = n + 1 if n == 1 then error "first" end end
         assert(ch:consume("%s.plain", fail))
         assert(ch:consume("%s.bare", function() error "bare" end, { no_ack = true }))
         mr.consumer { queue = { queue = "%s", auto_delete = true }, retry = mr.retry.never, dead_letter = false,
            handler = function() error "second" end }:wait()
         assert(ch:publish("", "%s.plain", "x", { message_id = "m-1", correlation_id = "c-1" }))
         assert(ch:publish("", "%s.bare", "x"))
         assert(ch:publish("", "%s", "x", { message_id = "m-2", correlation_id = "c-2" }))
      ]]):gsub("%%s", q)))
      worker:says "handler failed for the last time"
      worker:says('"msg":"handler failed"', 2)
      local out = worker:stop()
      local first = line_with(out, "handler failed")
      local last = line_with(out, "handler failed for the last time")
      local bare
      for _, line in ipairs(lines_of(out)) do
         if line.msg == "handler failed" and line.queue == q .. ".bare" then bare = line end
         if line.msg == "handler failed" and line.queue == q .. ".plain" then first = line end
      end
      assert.same({ "m-1", "c-1" }, { first.message_id, first.correlation_id })
      assert.same({ "m-2", "c-2" }, { last.message_id, last.correlation_id })
      assert.truthy(bare)
      assert.same({}, { bare.message_id, bare.correlation_id })
   end)
end)

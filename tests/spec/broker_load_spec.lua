--- The embedded broker under load: others are served meanwhile, and memory goes back.
-- Feature: the embedded broker as a whole, under load
local build = require "build"
local embedded = require "embedded"
local waits = require "waits"

local eventually = waits.eventually

-- What this process holds, MiB.
local function resident()
   for line in io.lines "/proc/self/status" do
      local kib = line:match "^VmRSS:%s+(%d+)"
      if kib then return tonumber(kib) / 1024 end
   end
end

describe("the embedded broker under load", function()
   after_each(embedded.close_all)

   it("lets others in while a fanout works off what eight have published (FIELD-F11)", function()
      local QUEUES, PUBLISHERS, EACH = 20, 8, 4000
      local b = embedded.broker()
      local ch = assert(embedded.connect { url = b.url }:channel())
      for i = 1, QUEUES do
         assert(ch:queue_declare { queue = "q" .. i, arguments = { ["x-max-length"] = 100000 } })
         assert(ch:queue_bind { queue = "q" .. i, exchange = "amq.fanout" })
      end
      local channels = {}
      for i = 1, PUBLISHERS do channels[i] = assert(embedded.connect { url = b.url }:channel()) end
      local sent = 0
      for _ = 1, EACH do
         for i = 1, PUBLISHERS do
            if channels[i]:publish_async("amq.fanout", "", "x") then sent = sent + 1 end
         end
      end
      local late = embedded.connect { url = b.url }
      assert(late:connect())
      local there = assert(assert(late:channel()):queue_declare { queue = "q1", passive = true }).message_count
      assert.is_true(there < sent, ("all %d were there before anybody else was served"):format(sent))
      eventually("all of them", function() return b:queue("q" .. QUEUES).messages_ready == sent end, 120)
   end)

   if build.is_release then -- a sanitizer keeps what is freed
      it("gives memory back when very many messages have been read (FIELD-F9)", function()
         local TOTAL = 300000
         local b = embedded.broker()
         local ch = assert(embedded.connect { url = b.url }:channel())
         assert(ch:queue_declare { queue = "q" })
         local before = resident()
         for _ = 1, TOTAL do ch:publish_async("", "q", ("x"):rep(400)) end
         eventually("all to be there", function() return b:queue("q").messages_ready == TOTAL end, 60)
         local full = resident()
         assert.is_true(full - before > 100, "they are not in this process")
         local seen = 0
         assert(ch:consume("q", function() seen = seen + 1 end, { no_ack = true }))
         eventually("all to be read", function() return seen == TOTAL end, 60)
         eventually("their memory to go back", function() return resident() - before < (full - before) / 3 end, 30)
      end)
   end
end)

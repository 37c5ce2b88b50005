--- cli.bench: `moonrabbit bench`: measures the rates of a broker, and how long messages take.
-- SPDX-License-Identifier: MIT
local session = require "moonrabbit.cli.session"

local bench = {}

local COUNTED = 100000 -- latencies that are kept
local STAMP = 32       -- bytes of a body's time
local PATIENCE = 10    -- seconds for the last messages

--- Adds the command to the parser.
function bench.describe(p)
   local c = p:command("bench", "Measure how fast a broker takes and gives messages.", [[
Example: moonrabbit bench --seconds 10 --size 1000 --rate 5000

Publishes with confirms to a queue of its own, which is deleted at the end, and consumes it in the same
process, for --seconds. Without --rate it publishes as fast as it can: the latencies are then those of a
queue that is never empty. Confirm: from the publish to the broker's confirm. Delivery: from the publish
to the consumer.]])
   c:option("--seconds", "How long.", "5"):argname "SECONDS"
   c:option("--size", "Bytes of a body, at least 32.", "100"):argname "BYTES"
   c:option("--rate", "At most so many messages a second."):argname "N"
   c:option("--prefetch", "Of the consumer.", "256"):argname "N"
   c:option("--queue-type", "classic or quorum; a quorum queue is durable.", "classic"):argname "TYPE":choices { "classic", "quorum" }
   c:flag("--transient", "Publish messages that are not written to a disk.")
   session.options(c)
end

--- Percentiles of a list, which is sorted.
-- @treturn table p50, p95, p99, max in milliseconds; empty: there are none
function bench.percentiles(list)
   if #list == 0 then return {} end
   table.sort(list)
   local function at(share) return list[math.max(1, math.ceil(#list * share))] * 1000 end
   return { p50 = at(0.5), p95 = at(0.95), p99 = at(0.99), max = list[#list] * 1000 }
end

-- Keeps a random sample of at most COUNTED.
local function sampler()
   local list, seen = {}, 0
   return list, function(v)
      seen = seen + 1
      if #list < COUNTED then
         list[#list + 1] = v
      else
         local place = math.random(seen)
         if place <= COUNTED then list[place] = v end
      end
   end
end

local function latency_text(name, p)
   if not p.p50 then return ("%s: none"):format(name) end
   return ("%s: p50 %.2f ms, p95 %.2f ms, p99 %.2f ms, max %.2f ms"):format(name, p.p50, p.p95, p.p99, p.max)
end

local function open_queue(self, options, n)
   local from, err = self:channel()
   if not from then return nil, err end
   local is_quorum = options.queue_type == "quorum"
   local name = ("moonrabbit-bench-%d-%s"):format(os.time(), tostring({}):match "0x(%x+)")
   local ok
   ok, err = from:queue_declare { queue = name, durable = is_quorum, exclusive = not is_quorum,
      arguments = { ["x-queue-type"] = is_quorum and "quorum" or nil } }
   if ok then ok, err = from:qos { prefetch_count = n.prefetch } end
   if not ok then return nil, err end
   return from, name
end

local function measure(self, options, n, from, queue)
   local to, err = self:channel(nil, true)
   if not to then return nil, err end
   local now = self.mr.now
   local delivered, confirmed = 0, 0
   local deliveries, deliver = sampler()
   local confirms, confirm = sampler()
   local consumer
   consumer, err = from:consume(queue, function(msg)
      deliver(now() - tonumber(msg.body:sub(1, STAMP)))
      delivered = delivered + 1
   end)
   if not consumer then return nil, err end
   local message_json = require "moonrabbit.cli.message_json"
   local raw = message_json.encode { delivery_mode = options.transient and 1 or 2 }
   local out = require("moonrabbit.cli.confirming").new(self, to, false, n.rate)
   local bar, padding = require("moonrabbit.cli.progress").new(now, n.seconds), (" "):rep(n.size - STAMP)
   local began = now()
   self:begin()
   while now() - began < n.seconds and not self.interrupted do
      local at = now()
      local ok = out:publish("", queue, ("%-32.9f"):format(at) .. padding, raw, function()
         confirmed = confirmed + 1
         confirm(now() - at)
      end)
      if not ok then break end
      bar.show(math.floor(now() - began))
   end
   bar.clear()
   local taken = now() - began
   local _, failure = out:finish()
   local deadline = now() + PATIENCE
   while delivered < confirmed and now() < deadline and not self.interrupted do self.mr.sleep(0.01) end
   local all = now() - began
   return { published = confirmed, consumed = delivered, publish_rate = confirmed / taken, consume_rate = delivered / all,
      confirm = bench.percentiles(confirms), delivery = bench.percentiles(deliveries), size = n.size, seconds = taken }, failure
end

local function numbers(options)
   local n = {}
   for _, one in ipairs { { "seconds", 0.1 }, { "size", STAMP, true }, { "rate", 0.001 }, { "prefetch", 1, true } } do
      local v, wrong = session.number("--" .. one[1], options[one[1]], one[2], one[3])
      if wrong then return nil, wrong end
      n[one[1]] = v
   end
   if n.prefetch > 65535 then return session.misuse "--prefetch takes at most 65535" end
   return n
end

local function run(self, options)
   local n, wrong = numbers(options)
   if not n then return nil, wrong end
   local from, queue = open_queue(self, options, n)
   if not from then return nil, queue end
   local fields, err = measure(self, options, n, from, queue)
   if from.is_open then from:queue_delete { queue = queue } end
   if not fields then return nil, err end
   if options.json then return { fields = fields }, err end
   io.stdout:write(latency_text("confirm ", fields.confirm), "\n", latency_text("delivery", fields.delivery), "\n")
   return { line = ("published %s of %d bytes at %.0f/s, consumed %d at %.0f/s"):format(session.count(fields.published, "message"),
      n.size, fields.publish_rate, fields.consumed, fields.consume_rate), fields = fields }, err
end

--- Runs the command.
-- @treturn number exit code
function bench.main(options)
   return session.run(options, function(self) return run(self, options) end)
end

return bench

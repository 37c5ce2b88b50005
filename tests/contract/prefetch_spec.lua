--- The prefetch of a whole channel (basic.qos with global), over several queues.
local broker = require "broker"
local wire = require "wire"

local u16, u32, u64, short = wire.u16, wire.u32, wire.u64, wire.short

local function close_all()
   wire.close_all()
   broker.close_all()
end

local QUEUES, EACH = 3, 60

--- A connection with three queues that are full, and channel 2, whose prefetch is `prefetch` in all.
local function filled(prefetch, each)
   local w, queues = wire.channel(), {}
   w:say(1, 85, 10, "\0")
   w:expect("confirm.select-ok", 1)
   for i = 1, QUEUES do
      queues[i] = w:queue(1)
      for k = 1, each or EACH do
         w:send(wire.publish(1, "", queues[i], tostring(k)))
         w:expect("basic.ack", 1)
      end
   end
   w:open_channel(2)
   w:say(2, 60, 10, u32(0) .. u16(prefetch) .. "\1")
   w:expect("basic.qos-ok", 2)
   return w, queues
end

local NO_ACK = 2
local function consume(w, queue, tag, bits)
   w:say(2, 60, 20, u16(0) .. short(queue) .. short(tag) .. string.char(bits or 0) .. wire.table {})
end

--- The next delivery: consumer tag and delivery tag. Answers to consumes are passed over.
local function delivery(w)
   local frame
   repeat frame = assert(w:frame()) until frame.name ~= "basic.consume-ok"
   assert.equal("basic.deliver", frame.name)
   local tag, number = frame.arguments:short(), frame.arguments:u64()
   w:expect("header", 2)
   w:expect("body", 2)
   return tag, number
end

-- By name: settles what was delivered last, of `held` in all.
local SETTLE = {
   ["acks"] = function(w, number) w:say(2, 60, 80, u64(number) .. "\0") end,
   ["rejects"] = function(w, number) w:say(2, 60, 90, u64(number) .. "\0") end,
   ["nacks"] = function(w, number) w:say(2, 60, 120, u64(number) .. "\0") end,
}

describe("a prefetch of the whole channel", function()
   after_each(close_all)

   for how, settle in pairs(SETTLE) do
      for _, prefetch in ipairs { 1, 3, 10 } do
         it(("of %d is shared by the queues as %s make room (FIELD-F5)"):format(prefetch, how), function()
            local w, queues = filled(prefetch)
            for i, q in ipairs(queues) do consume(w, q, tostring(i)) end
            local got = { 0, 0, 0 }
            for _ = 1, 99 do
               local tag, number = delivery(w)
               got[tonumber(tag)] = got[tonumber(tag)] + 1
               settle(w, number)
            end
            for i = 1, QUEUES do assert.is_true(got[i] >= 10, table.concat(got, "/")) end
         end)
      end
   end

   it("is shared as acks of many make room (FIELD-F5)", function()
      local w, queues = filled(10)
      for i, q in ipairs(queues) do consume(w, q, tostring(i)) end
      local got = { 0, 0, 0 }
      for _ = 1, 9 do
         local last
         for _ = 1, 10 do
            local tag, number = delivery(w)
            got[tonumber(tag)], last = got[tonumber(tag)] + 1, number
         end
         w:say(2, 60, 80, u64(last) .. "\1")
      end
      for i = 1, QUEUES do assert.is_true(got[i] >= 10, table.concat(got, "/")) end
   end)

   it("holds back consumers without acks, too, while it is used up (FIELD-F5)", function()
      local w, queues = filled(1, 5)
      consume(w, queues[1], "held")
      local tag, number = delivery(w)
      assert.equal("held", tag)
      consume(w, queues[2], "free", NO_ACK)
      w:expect("basic.consume-ok", 2)
      w:say(2, 20, 20, "\1")
      w:expect("channel.flow-ok", 2) -- and nothing before it
      w:say(2, 60, 30, short "held" .. "\0")
      w:expect("basic.cancel-ok", 2)
      w:say(2, 60, 80, u64(number) .. "\0")
      for _ = 1, 5 do assert.equal("free", (delivery(w))) end
   end)

   it("is not used up by consumers without acks (FIELD-F5)", function()
      local w, queues = filled(1, 5)
      consume(w, queues[1], "free", NO_ACK)
      for _ = 1, 5 do assert.equal("free", (delivery(w))) end
   end)
end)

--- What settling says is so: before, while and after the broker takes messages back (FIELD R23).
local mr = require "moonrabbit"
local broker = require "broker"
local recovering = require "recovering"

local eventually, name, count = broker.eventually, broker.name, broker.count
local MANY = 6

-- Ways to settle: what they give, and whether the message is gone then.
local WAYS = {
   { "ack", function(msg) return msg:ack() end, gone = true },
   { "ack of many", function(msg) return msg:ack { multiple = true } end, gone = true },
   { "nack", function(msg) return msg:nack() end },
   { "nack of many", function(msg) return msg:nack { multiple = true } end },
   { "nack without requeue", function(msg) return msg:nack { requeue = false } end, gone = true },
   { "reject", function(msg) return msg:reject() end, gone = true },
   { "reject with requeue", function(msg) return msg:reject { requeue = true } end },
   { "retry", function(msg) return msg:retry(0) end, gone = true },
   { "return", function() return "return" end, gone = true },
   { "error", function() return "error" end },
}

-- What takes back what was delivered on a channel. `keeps`: it is the same channel afterwards.
local ENDS = {
   { "recover", function(ch) assert(ch:recover()) end, keeps = true },
   { "our close", function(ch) assert(ch:close()) end },
   { "the broker's close", function(ch) ch:queue_declare { queue = name "none", passive = true } end },
   { "a loss", function(_, seen) recovering.force(seen) end },
}

local function fill(ch, q, number)
   for i = 1, number do assert(ch:publish_async("", q, tostring(i))) end
   assert(ch:wait_for_confirms(10))
end

-- A queue with so many messages, and the channel that has filled it.
local function queue_of(number)
   local ch = broker.channel()
   local q = assert(ch:queue_declare { queue = name "settling", auto_delete = false }).queue
   assert(ch:confirm_select())
   fill(ch, q, number)
   return q, ch
end

-- Takes all that there is: bodies, in order of their numbers.
local function drain(ch, q, number)
   local list = {}
   for i = 1, number do
      local msg
      eventually("a message", function()
         msg = ch:get(q, { no_ack = true })
         return msg
      end)
      list[i] = msg.body
   end
   assert.equal("empty", select(2, ch:get(q)).kind)
   table.sort(list)
   return list
end

-- Handlers that hold their messages until `go`, and what came of settling them.
local function hold(ch, q, settle, concurrency)
   local box = { begun = 0, ended = 0, results = {}, go = false }
   box.consumer = assert(ch:consume(q, function(msg)
      if box.begun == MANY then -- once more: it stays in hand, until the channel goes
         while not box.over do mr.sleep(0.005) end
         return
      end
      box.begun = box.begun + 1
      while not box.go do mr.sleep(0.005) end
      local ok, err = settle(msg)
      box.results[#box.results + 1] = ok == true and "accepted" or err and err.kind or ok
      box.ended = box.ended + 1
      if ok == "error" then error("the handler fails", 0) end
   end, { concurrency = concurrency }))
   return box
end

local function settle_after(take_back, way)
   local q, admin = queue_of(MANY)
   local ch, seen = recovering.open()
   local box = hold(ch, q, way[2], 2 * MANY)
   eventually("all in hand", function() return box.begun == MANY end)
   take_back(ch, seen)
   box.go = true
   eventually("the handlers", function() return box.ended == MANY end)
   for _, result in ipairs(box.results) do
      assert.equal((way[1] == "return" or way[1] == "error") and way[1] or "stale", result)
   end
   ch:close()
   box.over = true
   assert.same({ "1", "2", "3", "4", "5", "6" }, drain(admin, q, MANY))
   assert(admin:queue_delete { queue = q })
end

describe("what was taken back", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   for _, e in ipairs(ENDS) do
      it(("by %s can be settled in no way, and comes again (FIELD-R23)"):format(e[1]), function()
         for _, way in ipairs(WAYS) do settle_after(e[2], way) end
      end)
   end

   it("by a recover that is under way, likewise (FIELD-R23)", function()
      for _, way in ipairs(WAYS) do
         settle_after(function(ch) mr.spawn(function() ch:recover() end) end, way)
      end
   end)
end)

describe("what was settled before", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   for _, e in ipairs { ENDS[1], ENDS[2] } do
      it(("%s is settled, in all ways (FIELD-R23)"):format(e[1]), function()
         for _, way in ipairs(WAYS) do
            local q, admin = queue_of(MANY)
            local ch, seen = recovering.open()
            local box = hold(ch, q, way[2], 2 * MANY)
            eventually("all in hand", function() return box.begun == MANY end)
            local settled = mr.stats().settled
            box.go = true
            eventually("the handlers", function() return box.ended == MANY end)
            if way[1] == "retry" then -- it is acked when its copy has been confirmed, which nobody waits for
               eventually("the acks", function() return mr.stats().settled == settled + MANY end)
            end
            for _, result in ipairs(box.results) do
               assert.truthy(result == "accepted" or result == way[1] or way[1]:find "of many$" and result == "settled", result)
            end
            e[2](ch, seen)
            ch:close()
            box.over = true
            local left = (not way.gone or way[1] == "retry") and MANY or 0
            eventually(("%d left after %s"):format(left, way[1]), function() return count(admin, q) == left end)
            drain(admin, q, left)
            assert(admin:queue_delete { queue = q })
         end
      end)
   end
end)

describe("a channel that has recovered its messages", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   it("with consumers is no broken one: nothing is repaired, and it comes back after a loss (FIELD-R23)", function()
      local q, admin = queue_of(MANY)
      local ch, seen = recovering.open { transport_options = false, retry = mr.retry.fixed { delay = 0 } }
      local box = hold(ch, q, function(msg) return msg:ack() end)
      eventually("all in hand", function() return box.begun == MANY end)
      assert(ch:recover())
      assert.equal(0, seen.count.repairing)
      recovering.force(seen)
      assert.equal(0, seen.count.repairing)
      assert.equal("consuming", box.consumer.state)
      recovering.has_consumers(q, 1)
      box.go, box.over = true, true
      eventually("nothing left", function() return box.ended == MANY and count(admin, q) == 0 end)
      assert(ch:close())
      assert(admin:queue_delete { queue = q })
   end)

   it("without consumers comes back after a loss (FIELD-R23)", function()
      local q, admin = queue_of(1)
      local ch, seen = recovering.open()
      assert(ch:get(q))
      assert(ch:recover())
      recovering.force(seen)
      assert.is_true(ch.is_open)
      assert.is_true(assert(ch:get(q)):ack())
      assert(ch:recover())
      eventually("nothing left", function() return count(admin, q) == 0 end)
      assert(admin:queue_delete { queue = q })
   end)
end)

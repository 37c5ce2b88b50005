--- Bodies that are read into their messages: whole at every size, when the connection is cut within them, and when their
-- channel ends within them.
local embedded = require "embedded"
local mr = require "moonrabbit"
local waits = require "waits"

local eventually = waits.eventually
local SIZES = { 16383, 16384, 16385, 65535, 65536, 65537, 131063, 131064, 131065, 196600, 262128, 262129, 1048576, 3145728, 7 }

-- So many bytes that tell where they stand, and of which message.
local function body(number, size) return ("%07d\n"):format(number):rep(math.ceil(size / 8)):sub(1, size) end

describe("a large body", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      embedded.close_all()
      mr.log.configure "warn"
   end)

   it("comes whole at every size around those of frames and reads", function()
      local ch = assert(embedded.connected():channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      local got, wrong = 0, {}
      assert(ch:consume(q, function(msg)
         got = got + 1
         if msg.body ~= body(got, SIZES[(got - 1) % #SIZES + 1]) then wrong[#wrong + 1] = got end
      end))
      for i = 1, 4 * #SIZES do assert(ch:publish("", q, body(i, SIZES[(i - 1) % #SIZES + 1]))) end
      eventually("all", function() return got == 4 * #SIZES end)
      assert.same({}, wrong)
   end)

   it("comes again whole if the connection is cut within it", function()
      local conn, b = embedded.connected()
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      assert(ch:confirm_select())
      for i = 1, 6 do assert(ch:publish("", "q", body(i, 700000 + i))) end
      local seen, count, wrong = {}, 0, {}
      local function handle(msg)
         local i = #msg.body - 700000
         if msg.body ~= body(i, 700000 + i) then wrong[#wrong + 1] = i end
         if not seen[i] then seen[i], count = true, count + 1 end
      end
      b:cut_after(1000017) -- within the second
      assert(ch:consume("q", handle))
      eventually("a cut", function() return conn.epoch > 1 or not conn.is_open end)
      b:cut_after(-1)
      eventually("all", function() return count == 6 end)
      assert.same({}, wrong)
   end)

   it("is dropped with a channel that ends within it, and the connection stays", function()
      local conn = embedded.connected()
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      for i = 1, 8 do assert(ch:publish("", "q", body(i, 3000000 + i))) end
      local wrong = {}
      for _ = 1, 15 do
         local reader, first = assert(conn:channel()), mr.event()
         assert(reader:consume("q", function(msg)
            if msg.body ~= body(#msg.body - 3000000, #msg.body) then wrong[#wrong + 1] = #msg.body end
            first:set()
            mr.sleep(30) -- the rest is on its way
         end))
         assert(first:wait(30))
         assert(reader:close())
      end
      assert.same({}, wrong)
      assert.equal(1, conn.epoch)
      assert.equal(8, assert(ch:queue_declare { queue = "q", passive = true }).message_count)
   end)
end)

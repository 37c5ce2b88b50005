--- resend: nacks of a channel, and publishes that come back.
local mr = require "moonrabbit"
local embedded = require "embedded"
local peer = require "peer"
local waits = require "waits"

local eventually = waits.eventually
local OPEN, CLOSE, SELECT, PUBLISH, FAREWELL = "\0\20\0\10", "\0\20\0\40", "\0\85\0\10", "\0\60\0\40", "\0\10\0\50"

-- Serves a connection: verdict(channel, tag) says "ack", "nack" or "hang up" for each publish; `channel` counts the channels
-- that were opened.
local function serve(session, verdict)
   local tags, numbers, count = {}, {}, 0
   if not session:handshake() then return end
   while true do
      local type_, ch, payload = session:frame()
      local method = type_ == 1 and payload:sub(1, 4)
      if not type_ or method == FAREWELL then
         return type_ and session:write(peer.method(0, 10, 51))
      elseif method == OPEN then
         count = count + 1
         tags[ch], numbers[ch] = 0, count
         session:write(peer.method(ch, 20, 11, peer.long ""))
      elseif method == SELECT then session:write(peer.method(ch, 85, 11))
      elseif method == CLOSE then session:write(peer.method(ch, 20, 41))
      elseif method == PUBLISH then
         tags[ch] = tags[ch] + 1
         local word = verdict(numbers[ch], tags[ch])
         if word == "hang up" then return end
         session:write(peer.method(ch, 60, word == "ack" and 80 or 120, peer.u32(0) .. peer.u32(tags[ch]) .. "\0"))
      end
   end
end

local function publisher_to(verdict, options)
   local count = 0
   local o = peer.options(function(session)
      count = count + 1
      local number = count
      serve(session, function(...) return verdict(number, ...) end)
   end)
   o.transport_options = { interval_start = 0, interval_step = 0, interval_max = 0.1 }
   local conn = mr.connect(o)
   local given = { connection = conn, routing_key = "q" }
   for k, v in pairs(options or {}) do given[k] = v end
   local pub = mr.publisher(given)
   embedded.keep { close = function()
      pub:close { timeout = 0 }
      conn:close()
   end }
   return pub
end

describe("a publish that is nacked", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      embedded.close_all()
      peer.stop_all()
      mr.log.configure "error"
   end)

   it("is repeated on a new channel where the broker nacks all of one that a recovery opened (FIELD-C4)", function()
      local channels = {}
      local pub = publisher_to(function(connection, ch, tag)
         if connection == 1 then return tag == 1 and "ack" or "hang up" end
         channels[#channels + 1] = ch
         return ch == channels[1] and "nack" or "ack" -- as a broker does whose queue had no leader when the first was opened
      end)
      assert.is_true(pub:publish "1")
      assert.is_true(pub:publish "2") -- lost with the connection, then nacked, then confirmed
      assert.is_true(pub:publish "3")
      assert.is_true(channels[1] ~= channels[2] and channels[2] == channels[3])
      assert.same({ acked = 3, nacked = 0 }, { acked = pub:stats().acked, nacked = pub:stats().nacked })
   end)

   it("is repeated for as long as its own time after a loss, with pauses (FIELD-C4)", function()
      local asked = 0
      local pub = publisher_to(function(connection, _, tag)
         if connection == 1 then return tag == 1 and "ack" or "hang up" end
         asked = asked + 1
         return asked > 3 and "ack" or "nack"
      end)
      assert.is_true(pub:publish "1")
      local began = mr.now()
      assert.is_true(pub:publish "2")
      assert.equal(4, asked)
      assert.is_true(mr.now() - began >= 0.1 + 0.2 + 0.4)
   end)

   it("has failed when its own time is up (FIELD-C4)", function()
      local pub = publisher_to(function(connection, _, tag)
         return connection == 1 and (tag == 1 and "ack" or "hang up") or "nack"
      end, { timeout = 3 }) -- a busy machine needs some of it for the way back
      assert.is_true(pub:publish "1")
      assert.equal("nacked", select(2, pub:publish "2").kind)
   end)

   it("is repeated once, as the third in a row, without a loss; a new channel takes it (FIELD-C4)", function()
      local first
      local pub = publisher_to(function(_, ch)
         first = first or ch
         return ch == first and "nack" or "ack"
      end)
      assert.equal("nacked", select(2, pub:publish "1").kind)
      assert.equal("nacked", select(2, pub:publish "2").kind)
      assert.is_true(pub:publish "3")
      assert.is_true(pub:publish "4")
   end)

   it("has failed after that one repetition where the queue is full", function()
      local asked = 0
      local pub = publisher_to(function()
         asked = asked + 1
         return "nack"
      end)
      local began = mr.now()
      for n = 1, 5 do assert.equal("nacked", select(2, pub:publish(tostring(n))).kind) end
      assert.equal(2 + 3 * 2, asked)
      assert.is_true(mr.now() - began < 5)
   end)

   it("leaves the channel that is given up its publishes until each has its word (FIELD-C4)", function()
      local first, held
      local pub = publisher_to(function(_, ch, tag)
         first = first or ch
         if ch ~= first then return "ack" end
         return tag <= 3 and "nack" or "ack"
      end)
      held = {}
      for n = 1, 20 do held[n] = assert(pub:publish_async(tostring(n))) end
      assert(pub:flush { timeout = 10 } == nil) -- two were nacked
      local ends = { acked = 0, nacked = 0 }
      for _, t in ipairs(held) do ends[t.state] = ends[t.state] + 1 end
      assert.same({ acked = 18, nacked = 2 }, ends)
   end)
end)

describe("publishes that come back", function()
   local function setup(topology)
      local conn, b = embedded.connected()
      mr.log.configure "off"
      local pub = mr.publisher { connection = conn, routing_key = "q", topology = topology }
      embedded.keep { close = function() pub:close { timeout = 0 } end }
      local real, count = topology.apply, 0
      topology.apply = function(...)
         count = count + 1
         return real(...)
      end
      return pub, conn, b, function() return count end
   end

   after_each(function()
      embedded.close_all()
      mr.log.configure "error"
   end)

   it("have their topology declared again once for all of them (FIELD-C9)", function()
      local pub, conn, _, applied = setup(mr.topology { queues = { "q" } })
      assert.is_true(pub:publish "0")
      local before = applied()
      local ch = assert(conn:channel())
      assert(ch:queue_delete { queue = "q" })
      local tickets = {}
      for n = 1, 50 do tickets[n] = assert(pub:publish_async(tostring(n))) end
      for _, t in ipairs(tickets) do assert(t:wait(10)) end
      assert.equal(before + 1, applied())
      assert.equal(50, assert(ch:queue_declare { queue = "q", passive = true }).message_count)
   end)

   it("have it declared more and more rarely where that does not help (FIELD-C9)", function()
      local pub, _, _, applied = setup(mr.topology { queues = { "other" } })
      local stop, before = mr.now() + 1.5, applied()
      while mr.now() < stop do
         assert.equal("returned", select(2, pub:publish "x").kind)
         mr.sleep(0.001)
      end
      assert.is_true(applied() - before <= 6, applied() - before)
   end)
end)

describe("publishers on a connection that never was open", function()
   after_each(function()
      embedded.close_all()
      mr.log.configure "error"
   end)

   it("share one schedule of tries, also after their publishes have expired (FIELD-C5)", function()
      mr.log.configure "off"
      local conn = mr.connect { url = ("amqp://127.0.0.1:%d"):format(peer.closed_port()) }
      local passes, real = 0, conn.channel
      rawset(conn, "channel", function(...)
         passes = passes + 1
         return real(...)
      end)
      local began, tickets = mr.now(), {}
      for n = 1, 3 do
         local pub = mr.publisher { connection = conn, routing_key = "q", timeout = 0.2 }
         embedded.keep { close = function() pub:close { timeout = 0 } end }
         tickets[n] = assert(pub:publish_async "x")
         mr.spawn(function() -- a line that never is empty
            while mr.now() - began < 2 do pub:publish "y" end
         end)
      end
      eventually("the time", function() return mr.now() - began >= 2 end)
      for _, t in ipairs(tickets) do assert.equal("timeout", t.state) end
      -- Pauses of 0.1, 0.2, 0.4, 0.8 and 1.6 s: six tries in that time. Publishers that were at one together count apart.
      assert.is_true(passes <= 6 * 3, passes .. " passes")
      conn:close()
   end)
end)

--- Refusals on connection level, in each phase of a connection: the code and the text that are known stay, whoever
-- is told, and whoever closed the connection (FIELD-W16).
local mr = require "moonrabbit"
local broker = require "broker"
local peer = require "peer"
local recovering = require "recovering"

if broker.kind ~= "memory" then return end

local eventually = broker.eventually
local TEXT = "NOT_ALLOWED - the reason, in words"

local function close_method(code) return peer.method(0, 10, 50, peer.u16(code) .. peer.short(TEXT) .. "\0\0\0\0") end

local function refuse(s, code)
   s:write(close_method(code))
   s:drain()
end

-- Shakes hands as a broker, up to a phase, at which it refuses.
local function shake(s, phase, code)
   if not s:read(8) then return end
   if phase == "start" then return refuse(s, code) end
   s:write(peer.start_method())
   s:expect(10, 11)
   if phase == "tune" then return refuse(s, code) end
   s:write(peer.tune_method())
   s:expect(10, 40)
   if phase == "open" then return refuse(s, code) end
   s:write(peer.method(0, 10, 41, "\0"))
   return true
end

local function open_channel(s)
   if not s:expect(20, 10) then return nil end
   return s:write(peer.method(1, 20, 11, "\0\0\0\0"))
end

-- The tag of a basic.consume, after its queue.
local function tag_of(payload)
   local at = 8 + payload:byte(7)
   return payload:sub(at + 1, at + payload:byte(at))
end

local function declare_ok(queue) return peer.method(1, 50, 11, peer.short(queue) .. ("\0"):rep(8)) end

local function connect(served, options)
   local all = { url = ("amqp://localhost:%d"):format(served.port), recover = false, close_timeout = 0.2 }
   for k, v in pairs(options or {}) do all[k] = v end
   return broker.connect(all)
end

local function check(err, code, what)
   assert.equal(code, err and err.code, what)
   assert.truthy(err.text:find(TEXT, 1, true), ("%s: %s"):format(what, err.text))
end

describe("a refusal", function()
   before_each(recovering.quiet)
   after_each(function()
      peer.stop_all()
      recovering.clean()
   end)

   for _, phase in ipairs { "start", "tune", "open" } do
      it(("at %s tells its code and text (FIELD-W16)"):format(phase), function()
         for _, code in ipairs { 402, 403, 504, 530, 541 } do
            local conn = connect(peer.start(function(s) shake(s, phase, code) end))
            local ok, err = conn:connect()
            assert.is_nil(ok)
            check(err, code, phase)
            check(conn.last_error, code, phase)
         end
      end)
   end

   it("of a channel or a declare tells them to who asked, to who asks later, and in the events (FIELD-W16)", function()
      for _, phase in ipairs { "channel", "declare" } do
         local record, seen = recovering.recorder()
         local conn = connect(peer.start(function(s)
            if not shake(s) then return end
            if phase == "declare" then open_channel(s) end
            if s:expect(phase == "channel" and 20 or 50, 10) then refuse(s, 530) end
         end), { on_event = record })
         local ch, err = conn:channel()
         if phase == "declare" then
            local also
            mr.spawn(function() also = select(2, ch:queue_declare { queue = "p" }) end)
            _, err = ch:queue_declare { queue = "q" }
            eventually("the other's answer", function() return also end)
            check(also, 530, "the other")
            check(select(2, ch:queue_declare { queue = "q" }), 530, "later")
         end
         check(err, 530, phase)
         check(conn.last_error, 530, phase)
         eventually("the event", function() return seen.lost end)
         check(seen.lost.err, 530, phase)
      end
   end)

   it("of a recovery's declare is why it is left out, and why its consumer failed (FIELD-W16)", function()
      for class, noun in pairs { [50] = "queue", [60] = "consumer" } do
         local round = 0
         local served = peer.start(function(s)
            round = round + 1
            local is_first = round == 1
            if not shake(s) or not open_channel(s) then return end
            while true do
               local type_, channel, payload = s:frame()
               if not type_ then return end
               local c, m = payload:byte(2), payload:byte(4)
               if type_ == 1 and c == class and not is_first then return refuse(s, 530) end
               if c == 50 and m == 10 then s:write(declare_ok "q") end
               if c == 60 and m == 10 then s:write(peer.method(channel, 60, 11)) end
               if c == 60 and m == 20 then
                  s:write(peer.method(channel, 60, 21, peer.short(tag_of(payload))))
                  if is_first then s:write(peer.method(0, 10, 50, peer.u16(320) .. peer.short "x" .. "\0\0\0\0")) end
               end
            end
         end)
         local record, seen = recovering.recorder()
         local conn = connect(served, { recover = true, transport_options = recovering.at_once, on_event = record })
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "q", exclusive = true })
         local consumer = assert(ch:consume("q", function() end, { consumer_tag = "t" }))
         local ev
         eventually("a recovery", function() ev = seen.recovered return ev end, 30)
         local row = ev.failed[1]
         assert.same({ noun, "not_allowed", 530, TEXT }, { row.what, row.kind, row.code, row.text })
         if noun == "consumer" then
            eventually("its end", function() return consumer.state == "failed" end)
            check(consumer.err, 530, noun)
         end
         conn:release()
         peer.stop_all()
      end
   end)

   -- Those that end the connection: others are ignored, or end a channel (docs/architecture.md).
   local violations = {
      { "channel_error", 504, "a frame on channel 7", peer.method(7, 20, 11, "\0\0\0\0") },
      { "frame_error", 501, "unknown type 9", peer.frame(9, 0, "") },
      { "frame_error", 501, "does not end", (peer.method(1, 50, 11):gsub("\206$", "\0")) },
   }
   it("by us, of what the broker says wrongly in a recovery, tells what was wrong (FIELD-W16)", function()
      for _, case in ipairs(violations) do
         local round = 0
         local served = peer.start(function(s)
            round = round + 1
            if not shake(s) or not open_channel(s) then return end
            if not s:expect(50, 10) then return end
            if round > 1 then s:write(case[4]) else
               s:write(declare_ok "q")
               s:write(peer.method(0, 10, 50, peer.u16(320) .. peer.short "x" .. "\0\0\0\0"))
            end
            s:drain()
         end)
         local record, seen = recovering.recorder()
         local conn = connect(served, { recover = true, transport_options = recovering.at_once, on_event = record })
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "q", exclusive = true })
         local ev
         eventually("a recovery", function() ev = seen.recovered return ev end, 30)
         local row = ev.failed[1]
         assert.same({ "queue", case[1], case[2] }, { row.what, row.kind, row.code })
         assert.truthy(row.text:find(case[3], 1, true), row.text)
         conn:release()
         peer.stop_all()
      end
   end)
end)

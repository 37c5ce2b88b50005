--- What heartbeats are agreed on, and what they mean while a connection cannot write (FIELD-R3).
local mr = require "moonrabbit"
local broker = require "broker"
local certificates = require "certificates"
local peer = require "peer"
local recovering = require "recovering"
local tls_peer = require "tls_peer"

if broker.kind ~= "memory" then return end

local eventually = broker.eventually
local BEAT = "\8\0\0\0\0\0\0\206"

-- The handshake, with a proposed heartbeat; returns the one that the client agreed to.
local function shake(s, proposed)
   s:read(8)
   s:write(peer.start_method())
   s:expect(10, 11)
   s:write(peer.tune_method(nil, nil, proposed))
   local _, agreed = s:expect(10, 31)
   s:expect(10, 40)
   s:write(peer.method(0, 10, 41, "\0"))
   return agreed and agreed:byte(-2) * 256 + agreed:byte(-1)
end

describe("heartbeats of a peer", function()
   local certs
   before_each(recovering.quiet)
   after_each(function()
      peer.stop_all()
      recovering.clean()
      if certs then certs.remove() end
      certs = nil
   end)

   it("are the shorter of both, the only one there is, or none if we want none (FIELD-R3)", function()
      for _, case in ipairs { { 60, 1, 1 }, { 5, 60, 5 }, { 2, 0, 2 }, { 0, 5, 0 }, { 0, 0, 0 }, { 65535, 65535, 65535 } } do
         local ours, theirs, expected = unpack(case)
         local agreed
         local served = peer.start(function(s)
            agreed = shake(s, theirs)
            s:drain()
         end)
         local conn = broker.connect { url = ("amqp://localhost:%d"):format(served.port), heartbeat = ours, recover = false,
            close_timeout = 0.1 }
         assert(conn:connect())
         assert.equal(expected, agreed)
         conn:release()
      end
   end)

   -- It takes nothing any more, but beats; then it does not.
   local function check_blocked(start)
      local session, err
      local ended = mr.event()
      local options = start(function(s)
         shake(s, 10)
         s:expect(20, 10)
         s:write(peer.method(1, 20, 11, "\0\0\0\0"))
         session = s
         ended:wait(10000) -- by the clock that goes ahead
      end)
      options.recover, options.close_timeout = false, 0.1
      options.on_event = function(ev) if ev.type == "lost" then err = ev.err end end
      local conn = broker.connect(options)
      local ch = assert(conn:channel())
      assert(ch:publish("", "q", ("x"):rep(7 * 1024 * 1024)))
      for _ = 1, 5 do
         mr.testing.advance(15)
         local before = mr.stats().bytes_in
         session:write(BEAT)
         eventually("the beat", function() return mr.stats().bytes_in > before end)
      end
      mr.testing.advance(18)
      assert.is_nil(err)
      assert.is_true(conn.is_open)
      assert.is_true(mr.stats().outbound > 0)
      mr.testing.advance(3)
      eventually("the loss", function() return err end)
      assert.equal("heartbeat_timeout", err.kind)
      ended:set(true)
      conn:release()
   end

   it("keep a connection that cannot write, for two intervals after the last (FIELD-R3)", function()
      check_blocked(peer.options)
   end)

   it("do so by TLS, too (FIELD-R3)", function()
      certs = certificates.make()
      check_blocked(function(serve) return tls_peer.options(certs, serve) end)
   end)
end)

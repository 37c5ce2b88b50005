--- What a broker says before it hangs up is heard, also when our own writing fails first (FIELD-R13).
local mr = require "moonrabbit"
local broker = require "broker"
local certificates = require "certificates"
local peer = require "peer"
local recovering = require "recovering"
local tls_peer = require "tls_peer"

if broker.kind ~= "memory" then return end

local eventually = broker.eventually
local ROUNDS = 15
local TEXT = "CONNECTION_FORCED - node is going down"

local function shake(s)
   s:read(8)
   s:write(peer.start_method())
   s:expect(10, 11)
   s:write(peer.tune_method())
   s:expect(10, 40)
   s:write(peer.method(0, 10, 41, "\0"))
end

local function farewell(code) return peer.method(0, 10, 50, peer.u16(code) .. peer.short(TEXT) .. "\0\0\0\0") end

-- Takes some publishes, says why, and is gone: whatever is written to it from then on fails.
local function serve(s)
   shake(s)
   if not s:expect(20, 10) then return end
   s:write(peer.method(1, 20, 11, "\0\0\0\0"))
   for _ = 1, 20 do
      if not s:frame() then return end
   end
   s:write(farewell(320))
   s:reset()
end

-- Publishes without a pause until the connection is lost: why.
local function loss_of(options)
   local record, seen = recovering.recorder()
   options.recover, options.on_event, options.close_timeout = false, record, 0.1
   local conn = broker.connect(options)
   local ch = assert(conn:channel())
   mr.spawn(function()
      while not seen.lost and ch:publish("", "q", ("x"):rep(2000)) do
         if mr.stats().published % 8 == 0 then mr.sleep(0) end
      end
   end)
   eventually("the loss", function() return seen.lost end)
   conn:release()
   return seen.lost.err
end

describe("a broker's last words", function()
   before_each(recovering.quiet)
   after_each(function()
      peer.stop_all()
      recovering.clean()
   end)

   -- Calls fn(start) twice: start(serve) gives the options of a connection to a peer that speaks plain AMQP, then TLS.
   local function by_both(fn)
      local certs = certificates.make()
      finally(function()
         peer.stop_all()
         recovering.clean()
         certs.remove()
      end)
      fn(peer.options)
      fn(function(serving) return tls_peer.options(certs, serving) end)
   end

   it("are why the connection was lost, though a write failed first (FIELD-R13)", function()
      by_both(function(start)
         for _ = 1, ROUNDS do
            local err = loss_of(start(serve))
            assert.same({ "connection_forced", 320, TEXT }, { err.kind, err.code, err.text })
         end
      end)
   end)

   it("on a channel are why its publish failed (FIELD-R13)", function()
      by_both(function(start)
         for _ = 1, ROUNDS do
            local record, seen = recovering.recorder()
            local options = start(function(s)
               shake(s)
               if not s:expect(20, 10) then return end
               s:write(peer.method(1, 20, 11, "\0\0\0\0"))
               for _ = 1, 20 do
                  if not s:frame() then return end
               end
               s:write(peer.method(1, 20, 40, peer.u16(404) .. peer.short(TEXT) .. "\0\60\0\40"))
               s:reset()
            end)
            options.recover, options.on_event, options.close_timeout = false, record, 0.1
            local conn = broker.connect(options)
            local ch = assert(conn:channel())
            local why
            repeat
               local ok, err = ch:publish("", "q", ("x"):rep(2000))
               why = not ok and err
               if mr.stats().published % 8 == 0 then mr.sleep(0) end
            until why
            assert.same({ "not_found", 404, TEXT }, { why.kind, why.code, why.text })
            eventually("the loss", function() return seen.lost end)
            conn:release()
         end
      end)
   end)

   it("are heard while a large body is on its way to a peer that takes no more (FIELD-R13)", function()
      by_both(function(start)
         local record, seen = recovering.recorder()
         local is_over = mr.event()
         local options = start(function(s)
            shake(s)
            if not s:expect(20, 10) then return end
            s:write(peer.method(1, 20, 11, "\0\0\0\0"))
            s:read(100000)
            s:write(farewell(320))
            is_over:wait(30)
            s:reset()
         end)
         options.recover, options.on_event, options.close_timeout = false, record, 0.1
         local conn = broker.connect(options)
         assert(assert(conn:channel()):publish("", "q", ("x"):rep(16 * 1024 * 1024)))
         eventually("the loss", function() return seen.lost end)
         is_over:set(true)
         assert.same({ "connection_forced", 320, TEXT }, { seen.lost.err.kind, seen.lost.err.code, seen.lost.err.text })
         conn:release()
      end)
   end)

   it("about a login or a virtual host are why it failed, though a reset follows (FIELD-R13)", function()
      by_both(function(start)
         for kind, code in pairs { authentication_failed = 403, vhost_access_refused = 530 } do
            local options = start(function(s)
               s:read(8)
               s:write(peer.start_method())
               s:expect(10, 11)
               if code == 530 then
                  s:write(peer.tune_method())
                  s:expect(10, 40)
               end
               s:write(farewell(code))
               s:reset()
            end)
            options.recover = false
            local ok, err = broker.connect(options):connect()
            assert.is_nil(ok)
            assert.same({ kind, code }, { err.kind, err.code }, tostring(err))
         end
      end)
   end)

   it("of a handshake are why it failed (FIELD-R13)", function()
      for _ = 1, ROUNDS do
         local served = peer.start(function(s)
            s:read(8)
            s:write(peer.start_method())
            s:expect(10, 11)
            s:write(peer.tune_method() .. farewell(530))
            s:reset()
         end)
         local ok, err = broker.connect { url = ("amqp://localhost:%d"):format(served.port), recover = false }:connect()
         assert.is_nil(ok)
         assert.equal(530, err.code, tostring(err))
         assert.truthy(err.text:find(TEXT, 1, true), err.text)
      end
   end)
end)

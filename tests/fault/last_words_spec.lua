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

   it("are why the connection was lost, though a write failed first (FIELD-R13)", function()
      for _ = 1, ROUNDS do
         local served = peer.start(serve)
         local err = loss_of { url = ("amqp://localhost:%d"):format(served.port) }
         assert.same({ "connection_forced", 320, TEXT }, { err.kind, err.code, err.text })
      end
   end)

   it("are so by TLS, too (FIELD-R13)", function()
      local certs = certificates.make()
      finally(function()
         peer.stop_all()
         recovering.clean()
         certs.remove()
      end)
      for _ = 1, ROUNDS do
         local served = tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good" }, serve)
         local err = loss_of { url = ("amqps://localhost:%d"):format(served.port), ssl_options = { ca_certs = certs.path "ca" } }
         assert.same({ "connection_forced", 320, TEXT }, { err.kind, err.code, err.text })
      end
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

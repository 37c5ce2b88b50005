--- The flow of bytes through TLS: what came with the handshake is read, and large bodies arrive whole where the peer stops.
-- Feature: records are read ahead and written together (runtime/net/tls.c)
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local certificates = require "certificates"
local mr = require "moonrabbit"
local process = require "process"
local recovering = require "recovering"

if broker.kind ~= "memory" then return end

local certs, server, url

setup(function()
   certs = certificates.make()
   server = process.start(("%s broker --listen 127.0.0.1:0 --tls-cert %s --tls-key %s"):format(broker.command, certs.path "good",
      certs.key "good"))
   server:says "amqps://"
   url = ("amqps://guest:guest@localhost:%s/?ssl_options.ca_certs=%s"):format(server:output():match "127.0.0.1:(%d+)", certs.path "ca")
end)
teardown(function()
   server:stop()
   certs.remove()
end)

describe("TLS", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   it("takes no longer where the client's first words come with the end of its handshake", function()
      for _ = 1, 40 do
         local began = mr.now()
         local conn = broker.connect { url = url, recover = false, connect_timeout = 5 }
         assert(conn:connect())
         assert(mr.now() - began < 2, "the words were not read")
         assert(conn:close())
      end
   end)

   it("carries large bodies whole, both ways, while the peer stops and goes on", function()
      local conn = broker.connect { url = url, heartbeat = 0 }
      local ch = assert(conn:channel())
      local queue = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
      local bodies = {}
      for i = 1, 12 do bodies[i] = string.rep(("%07d\n"):format(i), 100000 + i * 8191) end
      local got, all = 0, mr.event()
      assert(ch:consume(queue, function(msg)
         got = got + 1
         assert(msg.body == bodies[got], "body " .. got)
         if got == #bodies then all:set() end
      end))
      for i, body in ipairs(bodies) do
         os.execute("kill -STOP " .. server.pid)
         assert(ch:publish_async("", queue, body))
         mr.sleep(0.02) -- the socket is full
         os.execute("kill -CONT " .. server.pid)
         if i % 3 == 0 then mr.sleep(0.01) end
      end
      assert(ch:wait_for_confirms(30))
      all:wait(30)
      assert.equal(#bodies, got)
      conn:close()
   end)
end)

--- One script in three hosts: the command, nginx and a game share one queue; each order is handled once.
-- Feature: examples/hosts/shared/orders.lua under the command, in nginx and in LÖVE
local broker = require "broker"
local cjson = require "cjson"
local love = require "love"
local nginx = require "nginx"
local process = require "process"
local site = require "ngx_site"

local SCRIPT = love.FOLDER .. "/../shared/orders.lua"
local COUNT = 120

describe("one script", function()
   setup(love.begin)
   teardown(function()
      nginx.end_all()
      love.finish()
      broker.none_left()
   end)

   it("handles orders under the command, in nginx and in a game: each order once", function()
      local queue, ch = broker.name "orders", broker.channel()
      assert(ch:confirm_select())
      assert(ch:queue_declare { queue = queue, durable = true })
      local ledger, hosts, twice, count = {}, {}, {}, 0
      local own = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:queue_bind { queue = own, exchange = "amq.topic", routing_key = "orders.done.#" })
      assert(ch:consume(own, function(msg)
         local receipt = cjson.decode(msg.body)
         if receipt.queue ~= queue then return end
         if ledger[receipt.id] then twice[#twice + 1] = receipt.id else count = count + 1 end
         ledger[receipt.id] = receipt.host
         hosts[receipt.host] = (hosts[receipt.host] or 0) + 1
      end, { no_ack = true }))

      local file = assert(io.open(SCRIPT))
      local text = file:read "*a"
      file:close()
      local n = site.start { queue = queue, script = text, start = ([[script = "consumers.lua",
         args = { host = "nginx", queue = %q }]]):format(queue) }
      local command = process.run(("--set host=command --set queue=%s"):format(queue), SCRIPT)
      local game = love.start { name = "Orla", colour = 5, url = broker.tcp_url, orders = SCRIPT, queue = queue,
         demo = ("until parcels 20; shot %s; wait 1000"):format(love.path "orders") }
      broker.eventually("three consumers", function()
         return assert(ch:queue_declare { queue = queue, passive = true }).consumer_count == 3
      end)
      for i = 1, COUNT do
         assert(ch:publish_async("", queue, cjson.encode { id = "order-" .. i }, { content_type = "application/json" }))
      end
      assert(ch:wait_for_confirms(30))
      broker.eventually("all receipts", function() return count == COUNT end)
      love.picture "orders" -- the parcels are on the screen

      command:signal "TERM"
      local out, code = command:wait()
      assert.equal(0, code, out)
      game:signal "TERM"
      out, code = game:wait()
      assert.equal(0, code, out)
      assert.equal(0, (n:stop()))
      assert.same({}, twice)
      for _, host in ipairs { "command", "nginx", "game" } do
         assert((hosts[host] or 0) >= 1, ("%s took none: %s"):format(host, cjson.encode(hosts)))
      end
      local left = assert(ch:queue_declare { queue = queue, passive = true })
      assert.equal(0, left.message_count) -- none came back: all were acked
      assert.equal(0, left.consumer_count)
      assert(ch:queue_delete { queue = queue })
   end)
end)

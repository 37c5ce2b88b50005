--- The health pages of a program with a broker: in process, and by the command's --http.
local broker = require "broker"
local cjson = require "cjson"
local http = require "http"
local mr = require "moonrabbit"
local peer = require "peer"

local eventually = broker.eventually

describe("the health page", function()
   local port

   before_each(function() port = assert(mr.health.listen "127.0.0.1:0") end)

   after_each(function()
      broker.close_all()
      assert(mr.health.close())
      mr.log.configure "error"
   end)

   local function status_of(path)
      local status, body = http.ask(port, path)
      return status, body and cjson.decode(body)
   end

   it('is 200 {"status":"healthy"} while a consumer consumes (F3)', function()
      local ch = broker.channel()
      assert(ch:consume(broker.queue(ch), function() end))
      local status, body, headers = http.ask(port, "/health")
      assert.same({ 200, '{"status":"healthy"}', "application/json" }, { status, body, headers["content-type"] })
      assert.equal(200, (http.ask(port, "/ready")))
   end)

   broker.it_inside(it, 'is 503 {"status":"unhealthy"} with its reasons while the connection is lost, and 200 again (F4)', function()
      mr.log.configure "off"
      local conn = broker.connect { retry = mr.retry.fixed { delay = 1 } }
      local ch = assert(conn:channel())
      assert(ch:consume(broker.queue(ch), function() end))
      assert.equal(200, (status_of "/health"))
      local body, ready, live        -- of the first look that finds it lost
      mr.spawn(function()
         while not body do
            local status, answer = status_of "/health"
            if status == 503 then body, ready, live = answer, status_of "/ready", status_of "/live" end
            mr.sleep(0.01)
         end
      end)
      broker.close_connections "testing"
      eventually("the loss", function() return live end)
      assert.equal("unhealthy", body.status)
      assert.equal("disconnected", body.broker)
      assert.truthy(body.error:find "^connected: ")
      assert.same({ "connected", "consuming" }, { body.reasons[1]:match "^%a+", body.reasons[2]:match "^%a+" })
      assert.same({ 503, 200 }, { ready, live })
      eventually("recovery", function() return status_of "/health" == 200 end)
   end)
end)

describe("moonrabbit run --http", function()
   after_each(broker.close_all)

   local ASK = [[
      local mr = require "moonrabbit"
      local ch = assert(mr.connect():channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:consume(q, function() end))
      local pipe = io.popen("python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:%d/health\").read().decode())'")
      print(pipe:read "*a")
      pipe:close()
   ]]

   local function run(where, text)
      return broker.shell(("AMQP_URL='%s' timeout 20 %s run --drain 1 --http '%s' %s"):format(broker.tcp_url,
         broker.command, where, broker.script(text)))
   end

   it("serves the page, also while the script waits for something else (F3)", function()
      local free = peer.closed_port()
      local out = broker.shell(("AMQP_URL='%s' timeout -s INT 60 %s run --http %d %s"):format(broker.tcp_url, broker.command,
         free, broker.script(ASK:format(free) .. "mr.stop()")))
      assert.truthy(out:find('{"status":"healthy"}', 1, true), out)
      assert.truthy(out:find(("address=127.0.0.1 port=%d"):format(free), 1, true), out)
   end)

   it("says that the port is in use, or no address, and does not begin", function()
      local taken = peer.start(function(s) s:drain() end)
      local out, code = run("127.0.0.1:" .. taken.port, 'print "begun"')
      assert.equal(1, code)
      assert.truthy(out:find(("cannot listen on 127.0.0.1 port %d: Address already in use"):format(taken.port), 1, true), out)
      assert.falsy(out:find("begun", 1, true))
      peer.stop_all()
      out, code = run("here", 'print "begun"')
      assert.equal(2, code)
      assert.truthy(out:find('--http: "here" is not ADDRESS:PORT', 1, true), out)
      assert.falsy(out:find("begun", 1, true))
   end)
end)

--- Networks that go: a broker in a network namespace, a cable that is pulled, names whose addresses change.
local mr = require "moonrabbit"
local broker = require "broker"
local namespace = require "namespace"
local recovering = require "recovering"

if broker.kind ~= "memory" then return end

local eventually = broker.eventually

local net, why_not = namespace.make()
if net then net:remove() end

-- Only root may make networks; without it there is nothing to try.
local function it_with_network(title, fn)
   if net then it(title, fn) else pending(title .. " (no namespace: " .. tostring(why_not):gsub("%s+$", "") .. ")") end
end

describe("a network of its own", function()
   local files
   before_each(function()
      recovering.quiet()
      files = {}
      if net then net = assert(namespace.make()) end
   end)
   after_each(function()
      recovering.clean()
      if net then net:remove() end
      for _, file in ipairs(files) do os.remove(file) end
   end)

   local function temporary(text)
      local file = os.tmpname()
      files[#files + 1] = file
      local f = assert(io.open(file, "w"))
      f:write(text or "")
      f:close()
      return file
   end
   local function read(file)
      local f = assert(io.open(file))
      local text = f:read "*a"
      f:close()
      return text
   end

   -- Starts a command and waits until it has printed `word`; the file of what it prints, and its process id.
   local function start(command, word)
      local out, id = temporary(), temporary()
      os.execute(("exec %s >%s 2>&1 </dev/null & echo $! >%s"):format(command, out, id))
      local ok = pcall(eventually, command, function() return read(out):find(word, 1, true) end)
      if not ok then error(command .. " said: " .. read(out), 0) end
      return out, tonumber(read(id))
   end

   -- A broker within, at an address.
   local function serve(address)
      return start(net:inside(("env MOONRABBIT_BROKER_PASSWORD=s3cret %s broker --user dev --listen %s:5672"):format(
         broker.command, address)), "Serving")
   end

   it_with_network("whose cable is pulled for 10 s: noticed by who consumes, who publishes, who does both; then all go on "
      .. "(P1, L1, T15)", function()
      serve(net.far)
      local url = ("amqp://dev:s3cret@%s/"):format(net.far)
      local roles, options = {}, { url = url, heartbeat = 2, connect_timeout = 1, socket_timeout = 1,
         transport_options = { interval_start = 0, interval_step = 1, interval_max = 1 } }
      for _, role in ipairs { "consumes", "publishes", "does both" } do
         local ch, seen, conn = recovering.open(options)
         local r = { ch = ch, seen = seen, conn = conn, queue = role:gsub(" ", "-") }
         roles[role] = r
         assert(ch:queue_declare { queue = r.queue, durable = true })
         assert(ch:confirm_select())
         r.handler, r.got = recovering.counter()
         if role ~= "publishes" then assert(ch:consume(r.queue, r.handler)) end
         if role ~= "consumes" then assert(ch:publish("", r.queue, "before")) end
      end
      -- The script that a user can watch does the same, with a network that is really taken away.
      local script = start(("env AMQP_URL='%s' timeout 60 %s run --log-level error examples/resilience/network_drop.lua 10 2")
         :format(url, broker.command), "take the network away now")
      local began = mr.now()
      net:plug(false)
      local lost_after = {}
      eventually("all losses", function()
         for role, r in pairs(roles) do
            if r.seen.lost and not lost_after[role] then lost_after[role] = mr.now() - began end
         end
         return lost_after.consumes and lost_after.publishes and lost_after["does both"]
      end)
      for role, r in pairs(roles) do
         assert.equal("heartbeat_timeout", r.seen.lost.err.kind, role)
         assert.is_true(lost_after[role] < 2 * 2 + 1 + 0.5, ("%s: %g s"):format(role, lost_after[role]))
      end
      mr.sleep(math.max(10 - (mr.now() - began), 0))
      for role, r in pairs(roles) do assert.is_true(r.seen.count.retrying >= 2, role) end
      net:plug(true)
      for role, r in pairs(roles) do
         assert.is_true(recovering.recovered(r.seen, 1).gap >= 4, role)
         assert(r.ch:publish("", r.queue, "after"))
         if role ~= "publishes" then eventually("consuming again", function() return r.got.after end) end
         assert.equal(1, r.seen.count.lost, role)
      end
      assert.equal("before", assert(roles.publishes.ch:get("publishes", { no_ack = true })).body)
      eventually("the script's end", function() return read(script):find("passed", 1, true) or read(script):find("FAILED", 1, true) end, 30)
      assert.truthy(read(script):find("passed", 1, true), read(script))
      assert.truthy(read(script):find("lost: heartbeat_timeout", 1, true), read(script))
   end)

   it_with_network("is another machine: a password that goes there unencrypted is warned of, once a connection (S9)", function()
      serve(net.far)
      local script = broker.script [[
         local mr = require "moonrabbit"
         for i = 1, 2 do
            local conn = mr.connect()
            assert(conn:channel())
            assert(conn:channel())
            conn:release()
         end
      ]]
      local out, code = broker.shell(("AMQP_URL=amqp://dev:s3cret@%s %s run %s"):format(net.far, broker.command, script))
      assert.equal(0, code, out)
      local _, warnings = out:gsub("level=warn[^\n]*unencrypted[^\n]*amqps://", "")
      assert.equal(2, warnings, out)
      assert.falsy(out:find("s3cret", 1, true), out)
   end)

   it_with_network("has a name with three addresses, two of them dead, a slow resolver, and a record that changes (T27)", function()
      local records = temporary "delay 0.5\n127.0.0.2\n127.0.0.3\n127.0.0.4\n"
      local resolv = temporary "nameserver 127.0.0.1\noptions timeout:3 attempts:1\n"
      start(net:inside(("python3 tests/support/dns.py 127.0.0.1 %s"):format(records)), "serving")
      local _, live = serve "127.0.0.4"
      local script = broker.script [[
         local mr = require "moonrabbit"
         io.stdout:setvbuf "line"
         local slow, ticks, last = 0, 0, mr.now()
         mr.every(0.002, function()
            local now = mr.now()
            ticks, slow, last = ticks + 1, slow + (now - last > 0.1 and 1 or 0), now
         end)
         local conn = mr.connect { url = "amqp://dev:s3cret@rabbit.test", heartbeat = 2, connect_timeout = 4,
            transport_options = { interval_start = 0, interval_step = 1, interval_max = 1 }, on_event = function(ev)
               print(ev.type, ev.err or "")
               if ev.type == "recovered" then
                  print(("ticks %d, slow %d"):format(ticks, slow))
                  print "done"
                  mr.stop()
               end
            end }
         assert(assert(conn:channel()):queue_declare { queue = "q" })
         print "declared"
         mr.sleep(60)
      ]]
      local out = start(net:inside(("unshare -m sh -c 'mount --bind %s /etc/resolv.conf && exec timeout 60 %s run --log-level error %s'")
         :format(resolv, broker.command, script)), "declared")
      local story = read(out)
      assert.truthy(story:find("^connecting%s+connected", 1), story)   -- one try, all its addresses
      serve "127.0.0.5"
      local f = assert(io.open(records, "w"))
      f:write "delay 0.5\n127.0.0.2\n127.0.0.5\n"
      f:close()
      os.execute("kill -9 " .. live) -- `ip netns exec` and `env` have become it
      eventually("the recovery", function() return read(out):find("done", 1, true) end, 30)
      story = read(out)
      assert.truthy(story:find("\nlost%s+stream_lost"), story)
      local ticks, slow = story:match "ticks (%d+), slow (%d+)"
      assert.is_true(tonumber(ticks) > 100 and tonumber(slow) <= 3, story) -- 0.5 s each time, not spent in the loop
   end)
end)

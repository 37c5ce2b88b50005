--- `moonrabbit run --workers N`: the supervisor and its workers.
-- Covers: lua/moonrabbit/cli/spawn.lua by signal
local broker = require "broker"
local cjson = require "cjson"
local build = require "build"
local http = require "http"
local process = require "process"

local function has(out, part) assert.truthy(out:find(part, 1, true), part .. " is missing in " .. out) end
local function count(out, part) return select(2, out:gsub(part, "")) end

local function is_alive(pid)
   local f = io.open(("/proc/%d/stat"):format(pid))
   if not f then return false end
   local state = f:read "*a":match "%) (%a)"
   f:close()
   return state ~= "Z"
end

-- The process ids of the workers, by number, the last ones first told.
local function pids_of(out)
   local pids = {}
   for line in out:gmatch 'msg="worker started"[^\n]*' do
      pids[tonumber(line:match "worker=(%d+)")] = tonumber(line:match "pid=(%d+)")
   end
   return pids
end

describe("a supervisor", function()
   local group, q

   local function start(options, handler, environment)
      q = broker.name "group"
      group = process.run(options, broker.script(([[
         local mr = require "moonrabbit"
         io.stdout:setvbuf "line"
         print("worker " .. mr.args.worker .. " of " .. tostring(mr.args.team) .. " with " .. tostring(arg[1]))
         mr.consumer { queue = "%s", connection = mr.connect { name = "group" }, dead_letter = false, retry = false,
            handler = function(msg) %s end }
      ]]):format(q, handler or "print(msg.body .. ' by ' .. mr.args.worker)")) .. " argument", environment)
   end
   local function ended(wanted)
      local pids = pids_of(group:output())
      local out, code = group:wait()
      assert.equal(wanted, code, out)
      for _, pid in ipairs(pids) do assert.is_false(is_alive(pid), out) end
      return out
   end
   local function drop_queue()
      local ch = broker.channel()
      assert(ch:queue_delete { queue = q })
   end

   after_each(process.end_all)
   teardown(broker.none_left)

   it("runs so many workers, each with its number, its connection and what was set; stops them, and ends with 0", function()
      start("--workers 3 --set team=blue", "print(msg.body .. ' by ' .. mr.args.worker) mr.sleep(0.3) print('done ' .. msg.body)")
      group:says("msg=consuming", 3)
      local ch = broker.channel()
      for _, name in ipairs { "group/1", "group/2", "group/3" } do
         if broker.is_open_to_us then broker.eventually(name, function() return broker.connection_with(name) end) end
      end
      for i = 1, 3 do
         has(group:output(), ("worker %d of blue with argument"):format(i))
         has(group:output(), ("msg=consuming worker=%d "):format(i))
         assert(ch:publish("", q, "m" .. i))
      end
      for i = 1, 3 do group:says("m" .. i .. " by ") end
      group:signal "TERM"
      local out = ended(0)
      for i = 1, 3 do has(out, "done m" .. i) end
      assert.equal(3, count(out, "msg=stopped worker=%d+ code=0"))
      has(out, "msg=stopped code=0 restarts=0 workers=3")
      drop_queue()
   end)

   it("starts one that died again, a second later, and the others go on", function()
      start "--workers 2"
      group:says("msg=consuming", 2)
      local before = pids_of(group:output())
      os.execute("kill -KILL " .. before[1])
      group:says 'level=error msg="worker died" deaths=1 delay=1 '
      has(group:output(), "signal=9")
      group:says("msg=consuming", 3)
      local now = pids_of(group:output())
      assert.not_equal(before[1], now[1])
      assert.equal(before[2], now[2])
      group:signal "INT"
      ended(0)
      drop_queue()
   end)

   it("starts one again that its script ended by os.exit: the message comes again, what was confirmed is there", function()
      local ch, kept = broker.channel(), broker.name "kept"
      assert(ch:queue_declare { queue = kept, auto_delete = true })
      start("--workers 2", ([[
         if msg.redelivered then return print("again " .. msg.body) end
         assert(mr.publisher { routing_key = %q }:publish(msg.body .. " was here"))
         os.exit(7)]]):format(kept), 'ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"') -- it leaves all as it is
      group:says("msg=consuming", 2)
      local before = pids_of(group:output())
      assert(ch:publish("", q, "m"))
      group:says 'level=error msg="worker died" code=7 deaths=1 delay=1 '
      group:says "again m"
      group:says("msg=consuming", 3)
      local now, changed = pids_of(group:output()), 0
      for number = 1, 2 do changed = changed + (now[number] ~= before[number] and 1 or 0) end
      assert.equal(1, changed)
      assert.equal("m was here", broker.take(ch, kept).body)
      assert.equal(0, broker.count(ch, kept))
      group:signal "TERM"
      ended(0)
      drop_queue()
   end)

   it("passes SIGHUP on: all reload", function()
      start "--workers 2"
      group:says("msg=consuming", 2)
      group:signal "HUP"
      group:says("msg=reloaded worker=1", 1)
      group:says("msg=reloaded worker=2", 1)
      group:signal "TERM"
      ended(0)
      drop_queue()
   end)

   it("never gives up on a script that fails, but waits longer each time; its exit code is the workers' worst", function()
      group = process.run("--workers 1", broker.script "error 'it is broken'")
      group:says 'msg="worker died" code=1 deaths=1 delay=1 '
      group:says 'msg="worker died" code=1 deaths=2 delay=2 '
      has(group:output(), "it is broken")
      group:signal "TERM"
      local out = ended(1)
      has(out, "msg=stopped code=1 restarts=2 workers=1")
   end)

   it("ends when all its workers have ended well by themselves", function()
      group = process.run("--workers 2", broker.script 'print(require("moonrabbit").args.worker)')
      local out = ended(0)
      assert.equal(2, count(out, 'msg="worker ended" code=0'))
   end)

   it("ends with 75 when a worker had to abandon something; a signal to the whole group counts once", function()
      start("--workers 2 --drain 1", 'print "begun" mr.sleep(30)')
      group:says("msg=consuming", 2)
      local ch = broker.channel()
      assert(ch:publish("", q, "stuck"))
      group:says "begun"
      local pids = pids_of(group:output())
      os.execute(("kill -TERM %d %d %d"):format(pids[1], group.pid, pids[2]))
      local out = ended(75)
      assert.equal(1, count(out, "msg=abandoned"))
      broker.eventually("the message's return", function() return broker.count(ch, q) == 1 end)
      drop_queue()
   end)

   it("has them end at once at a second signal, and say what is lost", function()
      start("--workers 1", 'print "begun" mr.sleep(30)')
      group:says "msg=consuming"
      assert(broker.channel():publish("", q, "stuck"))
      group:says "begun"
      group:signal "TERM"
      group:says "msg=stopping worker=1"
      group:signal "TERM"
      local out = ended(143)
      has(out, 'msg="ending at once"')
      -- A sanitizer's build is too slow beside others: the C part, which counts nothing, may be first.
      local is_slow = build.is_sanitized
      has(out, is_slow and "code=143" or "msg=stopped worker=1 code=143 handlers=1")
      drop_queue()
   end)

   it("is not outlived by its workers, which stop in good order", function()
      start("--workers 2", "print(msg.body) mr.sleep(0.2) print('done ' .. msg.body)")
      group:says("msg=consuming", 2)
      local ch = broker.channel()
      assert(ch:publish("", q, "last"))
      group:says "last"
      local pids = pids_of(group:output())
      group:signal "KILL"
      broker.eventually("the end of the workers", function() return not is_alive(pids[1]) and not is_alive(pids[2]) end)
      has(group:output(), "done last")
      ended(137)
      drop_queue()
   end)

   it("that is killed leaves no folder: the next one removes it, and not that of one that runs", function()
      local place = broker.shell "mktemp -d":match "%S+"
      local script = broker.script [[print "up" require("moonrabbit").sleep(60)]]
      local function another()
         local one = process.start(("%s run --workers 1 --http 127.0.0.1:0 %s"):format(broker.command, script), "TMPDIR=" .. place)
         one:says "up"
         return one
      end
      local function folders() return tonumber((broker.shell("ls -d " .. place .. "/moonrabbit* 2>/dev/null | wc -l"))) end
      local first, second = another(), another()
      assert.equal(2, folders())
      first:signal "KILL"
      first:wait()
      assert.equal(2, folders())
      local third = another()
      assert.equal(2, folders())
      for _, one in ipairs { second, third } do
         local out, code = one:stop()
         assert.equal(0, code, out)
      end
      assert.equal(0, folders())
      assert.equal("", (broker.shell("ls -A " .. place)))
      os.execute("rm -rf " .. place)
   end)

   it("serves the pages of all: well when all are, with metrics by worker; a request that is none changes nothing", function()
      start("--workers 2 --http 0", "")
      group:says("msg=consuming", 2)
      local port = group:output():match "port=(%d+)\n"
      local function get(path) return http.ask(port, path) end
      broker.eventually("health", function() return get "/health" == 200 end)
      for path, word in pairs { ["/health"] = "healthy", ["/ready"] = "ready", ["/live"] = "live" } do
         local code, body = get(path)
         local report = cjson.decode(body)
         assert.same({ 200, word, 2, word, word }, { code, report.status, #report.workers, report.workers[1].status,
            report.workers[2].status })
      end
      assert.truthy(select(2, get "/health?verbose"):find('"consuming":{', 1, true))
      local _, text = get "/metrics"
      has(text, "\nmoonrabbit_workers_running 2\n")
      has(text, '\nmoonrabbit_healthy{worker="1"} 1\nmoonrabbit_healthy{worker="2"} 1\n')
      assert.equal(404, (get "/nowhere"))
      local kills, killed = 0, nil
      local report = broker.eventually("a page in the second for which it is away", function()
         local pid = pids_of(group:output())[2]
         if pid ~= killed then -- on a busy machine it is back before it was asked
            os.execute("kill -KILL " .. pid)
            killed, kills = pid, kills + 1
         end
         local code, body = get "/health"
         local report = cjson.decode(body)
         return code == 503 and (report.workers[2].reason or ""):find("is not running", 1, true) and report
      end)
      assert.same({ "unhealthy", "healthy", "unhealthy", kills }, { report.status, report.workers[1].status,
         report.workers[2].status, report.restarts })
      assert.equal(200, (get "/live"))
      broker.eventually("its return", function() return get "/health" == 200 end)
      group:signal "TERM"
      ended(0)
      drop_queue()
   end)

   it("says that its port is in use, or that it is none", function()
      local path = broker.script ""
      local out, code = broker.shell(("%s run --workers 2 --http 127.0.0.1:%d %s"):format(broker.command, broker.port, path))
      assert.equal(1, code, out)
      has(out, "Address already in use")
      out, code = broker.shell(("%s run --workers 2 --http nowhere %s"):format(broker.command, path))
      assert.equal(2, code, out)
      has(out, "is not ADDRESS:PORT")
   end)

   it("hands a password on unseen", function()
      local url = broker.tcp_url
      group = process.start(("%s run --workers 1 --url %s %s"):format(broker.command, url, broker.script [[
         local mr = require "moonrabbit"
         local conn = assert(mr.connect():connect())
         print("at " .. conn.host .. " " .. io.open("/proc/self/cmdline"):read("*a"):gsub("%z", " "))
      ]]))
      local out = ended(0)
      has(out, "at 127.0.0.1:" .. broker.port)
      assert.falsy(out:find("guest:guest", 1, true), out)
   end)
end)

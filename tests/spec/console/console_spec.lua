--- console: the socket, and what is answered there.
-- Covers: lua/moonrabbit/cli/processes.lua by find
-- Covers: lua/moonrabbit/console/streamed.lua by stream
-- Covers: runtime/api/pool_loans.c by strategy
local ask = require "moonrabbit.cli.ask"
local cjson = require "cjson"
local console = require "moonrabbit.console.console"
local control = require "moonrabbit.console.control"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local processes = require "moonrabbit.cli.processes"
local shell = require "shell"
local task = require "moonrabbit.loop.task"
local eventually = require("waits").eventually

describe("a console", function()
   local path

   before_each(function()
      loop.close(1)
      mr.log.configure "off"
      path = os.tmpname()
      os.remove(path)
      assert.equal(path, assert(mr.console { path = path }))
   end)
   after_each(function()
      loop.close(1)
      assert.is_nil(io.open(path))
      mr.log.configure "error"
   end)

   local function post(page, body)
      local code, text = ask.page(path, page, 10, body)
      return code, cjson.decode(text)
   end

   it("evaluates, completes and changes; its built-in page needs no Lua", function()
      local code, answer = post("/evaluate?json", "return 1 + 1, { a = 'b' }, print")
      assert.same({ 200, { "2", '{"a":"b"}' } }, { code, { answer.json[1], answer.json[2] } })
      assert.truthy(answer.json[3]:find "function")
      answer = select(2, post("/evaluate?json", "{ password = 'abc', list = { 'amqp://u:abc@h/' } }"))
      assert.same({ password = "***", list = { "amqp://u:***@h/" } }, cjson.decode(answer.json[1]))
      assert.same({ 200, { words = { "mr.console" } } }, { post("/complete", "mr.consol") })
      assert.same({ 400, { error = 'no consumer "x": by its name, its tag or its queue' } }, { post("/control?do=pause&consumer=x", "") })
      local status = cjson.decode((select(2, ask.page(path, "/status", 10))))
      assert.same({ "idle", mr.version }, { status.script.state:gsub("busy", "idle"), status.version })
   end)

   it("refuses limits out of range, and writes no JSON that is endless", function()
      assert.same({ 400, { error = "seconds must be a number above 0, and at most 86400" } }, { post("/evaluate?seconds=0", "1") })
      assert.equal(400, (post("/evaluate?output=much", "1")))
      local _, answer = post("/evaluate?json", "local t = {} for i = 1, 64 do t = { t, t } end return t")
      assert.truthy(#answer.json[1] < 70000)
      _, answer = post("/evaluate?json", "setmetatable({ secret = 1, n = mr.null, a = mr.array { 'x://u:abc@h' } }, { __index = {} })")
      assert.same({ secret = "***", n = cjson.null, a = { "x://u:***@h" } }, cjson.decode(answer.json[1]))
   end)

   it("gives its page /status while a connection is away", function()
      local conn = mr.connect "amqp://127.0.0.1:1/?connection_attempts=1"
      conn:connect()
      local status = cjson.decode((select(2, ask.page(path, "/status", 10))))
      assert.same({ "closed", "127.0.0.1:1" }, { status.connections[1].state, status.connections[1].host })
      assert.truthy(status.connections[1].error)
   end)

   it("shows pools on its page /status, without Lua", function()
      local function pools() return cjson.decode((select(2, ask.page(path, "/status", 10)))).pools end
      assert.same({}, pools())
      local small = mr.pool { url = "memory://", max_connections = 2 }
      local items = { assert(small:acquire()), assert(small:acquire()) }
      task.spawn(function() small:release(assert(small:acquire())) end)
      eventually("the pool", function() return pools()[1] end)
      assert.same({ { strategy = "pooled", active = 2, idle = 0, limit = 2, waiting = 1 } }, pools())
      for _, item in ipairs(items) do small:release(item) end
      eventually("the loan that waited", function() return small.idle == 2 and small.waiting == 0 end)
      small:resize(5)
      assert.same({ { strategy = "pooled", active = 0, idle = 2, limit = 5, waiting = 0 } }, pools())
      local shared = mr.pool { url = "memory://", strategy = "shared", max_channels = 7 }
      local channel = assert(shared:acquire())
      eventually("the other", function() return pools()[2] end)
      assert.same({ strategy = "shared", active = 1, idle = 0, limit = 7, waiting = 0 }, pools()[2])
      shared:release(channel)
      shared:close()
      assert.same({ strategy = "shared", active = 0, idle = 0, limit = 7, waiting = 0 }, pools()[2] or "gone")
   end)

   local function stream(text, more)
      local parts, last = {}, nil
      local code, rest = ask.lines(path, "/evaluate?stream" .. (more or ""), function(lines)
         for line in lines:gmatch "[^\n]+" do
            last = cjson.decode(line)
            parts[#parts + 1] = last.ok == nil and last.output or nil
         end
      end, nil, text)
      return parts, last, code, rest
   end

   it("sends what is printed as it comes, in pieces of whole characters, and the answer last", function()
      local parts, last = stream "print(1) mr.sleep(0.01) print(2) return 3"
      assert.same({ "1\n", "2\n" }, parts)
      assert.same({ ok = true, output = "", values = { "3" } }, last)
      parts, last = stream "print('x' .. ('\195\164'):rep(200000)) error 'no'"
      assert.equal("x" .. ("\195\164"):rep(200000) .. "\n", table.concat(parts))
      assert.truthy(#parts > 10)
      assert.truthy(not last.ok and last.error:find "console:1: no")
      parts, last = stream("print(('x'):rep(100))", "&output=10")
      assert.same({ { ("x"):rep(10) }, "\n... (91 bytes more)\n" }, { parts, last.output })
      assert.same({ 400, '{"error":"seconds must be a number above 0, and at most 86400"}\n' }, { select(3, stream("1", "&seconds=0")) })
   end)

   it("waits for a client that reads slowly, leaves out what cannot wait, and drops one that has left", function()
      local function curl(text, reader)
         return (shell(("curl -sN --unix-socket %s -d '%s' 'http://x/evaluate?stream&output=9000000' | %s"):format(path, text, reader)))
      end
      local loop_text = 'for i = 1, 80 do print(("x"):rep(99999)) end return 5'
      local last = curl(loop_text, "(sleep 0.5; tail -n 1)")
      assert.same({ ok = true, output = "", values = { "5" } }, cjson.decode(last))
      last = curl('("x"):rep(80):gsub("x", function() print(("x"):rep(99999)) end)', "(sleep 0.5; tail -n 1)")
      assert.truthy(cjson.decode(last).output:find "bytes more")
      curl("mr.sleep(0.1) " .. loop_text .. " mr.sleep(60)", "head -c 10")
      eventually("its end", function() return task.alive == 0 end)
   end)

   it("refuses values that are too large as JSON", function()
      local _, last = stream("return ('x'):rep(5000000)", "&json")
      assert.same({ false, "the values are over 4 MiB as JSON: print parts of them" }, { last.ok, last.error })
   end)

   it("keeps its page /status when the program serves one of that path", function()
      local host_pages = require "moonrabbit.health.host_pages"
      host_pages.serve("/status", function() return 200, "application/json", "{}" end)
      assert.equal(mr.version, assert(processes.status { path = path }).version)
   end)

   it("is told apart from a server that is none", function()
      local real = processes.ask
      for _, answer in ipairs { { { error = "not found" }, 404 }, { { ready = true }, 200 }, { 5, 200 } } do
         processes.ask = function() return answer[1], answer[2] end
         local page, why = processes.status { path = "/x" }
         assert.same({ true, true }, { page == nil, why:find("/x: does not answer with a page /status", 1, true) ~= nil })
      end
      processes.ask = real
   end)

   it("drops an expression whose client has left", function()
      local ended
      _G.console_spec_end = function() ended = true end
      assert.is_nil((ask.page(path, "/evaluate", 0.05, "mr.sleep(4) console_spec_end()")))
      eventually("its end", function() return task.alive == 0 end)
      assert.is_nil(ended)
      _G.console_spec_end = nil
   end)

   it("answers for an expression that catches the error that is to end it", function()
      local _, answer = post("/evaluate?seconds=0.05", "_G.console_spec_go = true while console_spec_go do pcall(mr.sleep, 60) end")
      assert.truthy(answer.error:find "goes on")
      _G.console_spec_go = nil
      eventually("its end", function() return task.alive == 0 end)
   end)

   it("is read-only if it is to be", function()
      console.stop()
      assert(mr.console { path = path, read_only = true })
      assert.equal(403, (post("/evaluate", "1")))
      assert.truthy(#control.names() >= 10)
      for _, name in ipairs(control.names()) do assert.equal(403, (post("/control?do=" .. name, "")), name) end
      assert.equal(200, (post("/complete", "mr.")))
      assert.equal(200, (ask.page(path, "/status", 5)))
   end)

   it("is one: a second is refused, with the reason", function()
      local ok, err = mr.console { path = path .. "2" }
      assert.same({ nil, "not_allowed" }, { ok, err.kind })
      console.stop()
      assert.same({ nil, "bad_argument" }, { nil, select(2, mr.console { path = "relative" }).kind })
      assert(mr.console { path = path })
      assert.error_matches(function() mr.console { paht = "x" } end, 'unknown option "paht"')
   end)

   it("shows itself where the command looks, by pid, name or path", function()
      console.stop()
      local usual = assert(mr.console { name = "spec/of a console" })
      local mine
      for _, one in ipairs(processes.list()) do
         if one.path == usual then mine = one end
      end
      assert.equal("of_a_console", mine.name:gsub("^spec_", ""))
      assert.equal(usual, processes.find(tostring(mine.pid)).path)
      assert.equal(usual, processes.find(mine.name).path)
      assert.same({ path = "/x/y" }, processes.find "/x/y")
      assert.equal(usual, processes.find("spec of a console").path)
      local dead = usual:gsub("[^/]*$", "1-dead.sock")
      os.execute(("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"%s\")'")
         :format(dead))
      assert(#processes.list() >= 1)
      assert.equal(2, select(2, shell("test -e " .. dead .. " || exit 2"))) -- though process 1 lives
      assert.truthy(select(2, processes.find "no such\27"):find('no process "no such\\x1b"', 1, true))
      console.stop()
      usual = assert(mr.console { name = "spec.lua.3" })
      assert.equal(usual, processes.find("spec").path)
      assert.equal(usual, processes.find("spec.lua").path)
      console.stop()
   end)

   it("serves as many clients as come, sixteen at a time", function()
      local done = 0
      for _ = 1, 40 do
         task.spawn(function()
            local code, text = ask.page(path, "/evaluate", 20, "mr.sleep(0.05) return ('x'):rep(1000)")
            assert(code == 200, text)
            done = done + 1
         end)
      end
      eventually("all answers", function() return done == 40 end)
   end)
end)

--- The command's watchdog: reaches scripts that spin, for tracebacks and for time limits, in compiled loops, too.
-- Covers: runtime/main/watchdog.c by samples
local build = require "build"

local command = os.getenv "MOONRABBIT_COMMAND" or error "MOONRABBIT_COMMAND is not set: run the specs by tests/run.sh"

-- What all the scripts begin with: a channel of memory://, a queue "q" and a consumer of it.
local PRELUDE = [[
local mr = require "moonrabbit"
local conn = mr.connect "memory://"
local ch = assert(conn:channel())
assert(ch:queue_declare { queue = "q" })
local function put(body) assert(ch:publish("", "q", body or "")) end
local function stop_after(n)
   local seen = 0
   return function()
      seen = seen + 1
      if seen == n then mr.stop() end
      return "drop"
   end
end
local function consume(handler, time_limit, policy)
   return mr.consumer { queue = "q", declare = false, connection = conn, handler = handler, time_limit = time_limit,
      concurrency = 1, dead_letter = false, retry = policy or stop_after(1) }
end
]]
local FIRST_LINE = select(2, PRELUDE:gsub("\n", "\n"))

-- Runs a script: its output, both channels of it, and the exit code. A line of it has the number that it has in
-- `text`, without what stands before.
local function run(text)
   local path = os.tmpname()
   local file = assert(io.open(path, "w"))
   file:write(PRELUDE, text)
   file:close()
   local pipe = assert(io.popen(("timeout -s KILL 30 %s run --log-level warn %s 2>&1 </dev/null; echo \"exit $?\""):format(command, path)))
   local out = pipe:read "*a"
   pipe:close()
   os.remove(path)
   out = out:gsub(path:gsub("%p", "%%%0") .. ":(%d+)", function(line) return "script:" .. line - FIRST_LINE end)
   return out, tonumber(out:match "exit (%d+)")
end

local function assert_found(what, out) assert.is_truthy(out:find(what, 1, true), out) end

-- TSan holds signals back until the program calls something that it intercepts; a spinning script does not.
local spinning = not build.is_tsan and it or pending

describe("the command's watchdog", function()
   spinning("reports a compiled loop while it spins, with a traceback that names its line", function()
      local out, code = run [[
         mr.watchdog { stall = 0.2 }
         local function count()
            local n = 0
            while n < 1e9 do
               n = n + 1
            end
         end
         consume(function()
            count()
            mr.after(0.3, mr.stop)
         end)
         put()
      ]]
      assert.equal(0, code, out)
      assert_found('msg="the script is stalled"', out)
      assert_found('queue=q origin=script:8 doing=running traceback="stack traceback:\\n\\tscript:', out)
      assert.is_truthy(out:match "\\n\\tscript:[456]: in function 'count'\\n\\tscript:9:", out)
      assert_found('msg="the script goes on after a stall"', out)
   end)

   spinning("reports the script's main part, too", function()
      local out, code = run [[
         mr.watchdog { stall = 0.2 }
         local ends = os.clock() + 0.5
         while os.clock() < ends do end
      ]]
      assert.equal(0, code, out)
      assert_found('msg="the script is stalled"', out)
      assert.is_truthy(out:match "\\n\\tscript:3: in ", out)
   end)

   it("says that a script waits in a system call, and does not cut it short", function()
      local out, code = run [[
         mr.watchdog { stall = 0.1 }
         local ffi = require "ffi"
         ffi.cdef "int poll(void *fds, unsigned long count, int ms);"
         consume(function()
            local began = mr.now()
            print("poll", ffi.C.poll(nil, 0, 400), mr.now() - began >= 0.399)
            mr.stop()
         end)
         put()
      ]]
      assert.equal(0, code, out)
      assert_found("poll\t0\ttrue", out)
      assert_found('doing="waiting in a system call"', out)
   end)

   -- Each spins in a way of its own.
   local WAYS = {
      ["in a compiled loop"] = "while true do end",
      ["in a compiled loop that calls and allocates"] = [[
         local t = {}
         while true do t[#t % 100 + 1] = tostring(#t) .. "x" end]],
      ["in interpreted code"] = [[
         local function f() local n = 0 while true do n = n + 1 end end
         jit.off(f, true)
         f()]],
      ["within pcall in a loop"] = "while true do pcall(function() while true do end end) end",
      ["within callbacks of C functions"] = "while true do table.sort({ 3, 1, 2 }, function(a, b) return a < b end) end",
      ["in a coroutine of its own (FIELD-H3)"] = "coroutine.wrap(function() while true do end end)()",
      ["in coroutines that it makes in a loop (FIELD-H3)"] = [[
         while true do
            coroutine.resume(coroutine.create(function()
               coroutine.wrap(function() while true do end end)()
            end))
         end]],
      ["in calls of the library that do not wait"] = [[while true do ch:publish("", "nowhere", "x") end]],
   }
   for way, code_text in pairs(WAYS) do
      spinning("aborts a handler that is over its time " .. way, function()
         local out, code = run([[
            consume(function(msg)
               if msg.body == "last" then return mr.stop() end
               ]] .. code_text .. [[ end, 0.05, function(ctx)
               print(ctx.err.kind, ctx.err.text)
               return "drop"
            end)
            put()
            put "last"
         ]])
         assert.equal(0, code, out)
         assert_found("timeout\tthe handler was over its time limit of 0.05 s", out)
      end)
   end

   spinning("reaches a compiled loop only at its end when compiled code is not to be checked", function()
      local out, code = run [[
         mr.watchdog { stall = 0.2, compiled = false }
         local function count(most)
            local n = 0
            while n < most do n = n + 1 end
         end
         local function interpreted() count(1e12) end
         jit.off(count)
         local compiled = loadstring(string.dump(count))
         consume(function(msg)
            if msg.body == "compiled" then compiled(1e9) else interpreted() end
         end, 0.4, function(ctx)
            print(ctx.message.body, ctx.err.kind)
            if ctx.message.body == "interpreted" then mr.stop() end
            return "drop"
         end)
         put "compiled"
         put "interpreted"
      ]]
      assert.equal(0, code, out)
      assert_found("interpreted\ttimeout", out)
      assert_found("compiled\ttimeout", out)
      local reports = select(2, out:gsub('msg="the script is stalled"', ""))
      local tracebacks = select(2, out:gsub('msg="the script is stalled"[^\n]*traceback=', ""))
      assert.same({ 2, 1 }, { reports, tracebacks }, out)
   end)

   it("aborts one that sits in a C function only when that returns", function()
      local out, code = run [[
         local ffi = require "ffi"
         ffi.cdef "int poll(void *fds, unsigned long count, int ms);"
         local began, ended
         consume(function()
            began = mr.now()
            ffi.C.poll(nil, 0, 300)
            ended = mr.now()
            mr.sleep(10)
         end, 0.05, function()
            print(ended - began >= 0.299, mr.now() - ended < 5)
            mr.stop()
            return "drop"
         end)
         put()
      ]]
      assert.equal(0, code, out)
      assert_found("true\ttrue", out)
   end)

   spinning("aborts hundreds, one like another, and nothing grows", function()
      local out, code = run [[
         local ways = {
            function() while true do end end,
            function() local n = 0 while true do pcall(function() while true do n = n + 1 end end) end end,
            function() while true do mr.sleep(0.001) end end,
            function() for _ = 1, 1e12 do ch:publish("", "nowhere", "x") end end,
         }
         mr.log.configure "off"
         local count, before, least = 0, nil, math.huge -- what leaks grows in each hundred
         consume(function(msg) ways[tonumber(msg.body) % #ways + 1]() end, 0.002, function()
            count = count + 1
            if count % 100 == 0 then
               collectgarbage()
               collectgarbage()
               local now = collectgarbage "count"
               if before then least = math.min(least, now - before) end
               before = now
            end
            if count == 400 then
               print("more KiB", least)
               mr.stop()
            end
            return "drop"
         end)
         for i = 1, 400 do put(tostring(i)) end
      ]]
      assert.equal(0, code, out)
      local grown = tonumber(out:match "more KiB\t(%-?[%d.]+)")
      assert.is_true(grown < 100, out)
   end)

   spinning("leaves the script its own hook and LuaJIT's profiler", function()
      local out, code = run [[
         mr.watchdog { stall = 0.1 }
         local profile = require "jit.profile"
         local samples, lines = 0, 0
         local function spin(seconds)
            local ends = os.clock() + seconds
            while os.clock() < ends do end
         end
         profile.start("li1", function() samples = samples + 1 end)
         spin(0.3)
         profile.stop()
         jit.off()
         local function hook() lines = lines + 1 end
         debug.sethook(hook, "l")
         spin(0.3)
         print("samples", samples > 0, "hook", debug.gethook() == hook, lines > 0)
         debug.sethook()
         jit.on()
         mr.sleep(0.05)
         mr.watchdog { compiled = false }
         mr.watchdog { compiled = true }
         spin(0.3)
      ]]
      assert.equal(0, code, out)
      assert_found("samples\ttrue\thook\ttrue\ttrue", out)
      local tracebacks = select(2, out:gsub("traceback=", ""))
      assert.is_true(tracebacks >= 2, out)
   end)
end)

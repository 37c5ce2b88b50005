--- prompt: `moonrabbit attach` and `moonrabbit repl` at a real terminal.
-- Covers: lua/moonrabbit/cli/prompt.lua by terminal
-- Covers: lua/moonrabbit/cli/remote.lua by process
-- Covers: lua/moonrabbit/cli/own.lua by process
-- Covers: lua/moonrabbit/cli/above.lua by write
-- Covers: lua/moonrabbit/cli/repl.lua by repl
local broker = require "broker"
local mr = require "moonrabbit"
local build = require "build"
local pane = require "pane"
local place = require "place"
local process = require "process"
local shell = require "shell"
local eventually = require("waits").eventually

local spinning = not build.is_tsan and it or pending -- see command_spec.lua

local QUEUE = "prompt_spec"
local folder

local function set_up() folder = place.make() end

-- As ever, os.exit leaves to the kernel what it has.
local NO_LEAKS = 'ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"'

local function tear_down() place.remove(folder) end

local function environment(more)
   return ("AMQP_URL=%s XDG_RUNTIME_DIR=%s XDG_STATE_HOME=%s/state %s"):format(broker.tcp_url, folder, folder, more or "")
end

describe("the prompt of attach", function()
   local running

   setup(function()
      set_up()
      local file = assert(io.open(folder .. "/shop.lua", "w"))
      file:write(([[
local mr = require "moonrabbit"
counter = 0
orders = { paid = 1, open = 2 }
stock = mr.pool { url = os.getenv "AMQP_URL", max_connections = 7 }
mr.every(3600, function() end) -- it goes on without its consumer
mr.consumer { queue = "%s", handler = function(msg)
   counter = counter + 1
   if msg.body == "spin" then
      local item = stock:acquire()
      local till = mr.now() + 600
      while mr.now() < till and not released do if io.open("%s/release") then released = true end end
      item:release()
   end
end }
]]):format(QUEUE, folder))
      file:close()
   end)
   teardown(tear_down)
   before_each(function()
      os.execute("rm -rf " .. folder .. "/state")
      running = process.start(("%s run --log-level info %s/shop.lua"):format(broker.command, folder), environment())
      running:says "msg=consuming"
   end)
   after_each(function()
      pane.end_all()
      process.end_all()
      os.remove(folder .. "/release")
      local conn = mr.connect(broker.tcp_url)
      conn:channel():queue_delete { queue = QUEUE }
      conn:close()
   end)

   local function attach(more, size)
      local terminal = pane.start(broker.command .. " attach", environment(more), size)
      terminal:has "shop.lua>"
      return terminal
   end
   local function publish(body)
      local conn = mr.connect(broker.tcp_url)
      local ch = conn:channel()
      ch:confirm_select()
      assert(ch:publish("", QUEUE, body))
      conn:close()
   end

   it("evaluates, asks on for more lines, and leaves at Ctrl-D, at .quit, and with the process", function()
      local terminal = attach()
      terminal:enters "counter + 41 + 1"
      terminal:has "\n42\n"
      terminal:enters "for i = 1, 2 do"
      terminal:has "\n      ..>"
      terminal:enters "print('line ' .. i)"
      terminal:enters "end"
      terminal:has "\nline 1\nline 2\n"
      terminal:enters "nothing.here"
      terminal:has "attempt to index"
      terminal:presses "C-d"
      assert.equal(0, terminal:exit_code())
      terminal = attach()
      terminal:enters ".quit"
      assert.equal(0, terminal:exit_code())
      terminal = attach()
      running:signal "KILL"
      running:wait()
      assert.equal(1, terminal:exit_code())
      assert.truthy(terminal:shows():find("moonrabbit: the process has ended", 1, true))
   end)

   it("ends with the process, also within an expression", function()
      local terminal = attach()
      terminal:enters "mr.sleep(4)"
      running:says 'text=mr.sleep(4)'
      running:signal "KILL"
      running:wait()
      assert.equal(1, terminal:exit_code())
      local seen = terminal:shows()
      assert.equal(1, select(2, seen:gsub("moonrabbit: the process has ended\n", "")), seen)
   end)

   it("takes text that is not ASCII", function()
      local terminal = attach()
      terminal:types "#'h\195\164\226\130\172x'"
      terminal:presses("Left", "Left", "BSpace")
      terminal:has "> #'h\195\164x'"
      terminal:presses "Enter"
      terminal:has "\n4\n"
   end)

   it("completes fields, methods, globals and commands with one Tab", function()
      local terminal = attach()
      terminal:types "orders.pa"
      terminal:presses "Tab"
      terminal:has "> orders.paid"
      terminal:presses "Enter"
      terminal:has "\n1\n"
      terminal:types "orders."
      terminal:presses "Tab"
      terminal:has "orders.open  orders.paid"
      terminal:presses "C-u"
      terminal:types "('x'):rep(count"
      terminal:presses "Tab"
      terminal:has "rep(counter"
      terminal:presses "C-u"
      terminal:types ".recon"
      terminal:presses "Tab"
      terminal:has "> .reconnect"
      terminal:presses "C-u"
      terminal:types ".pause prompt"
      terminal:presses "Tab"
      terminal:has("> .pause " .. QUEUE)
   end)

   it("keeps its history for the next session, without passwords, for this user alone", function()
      local terminal = attach()
      terminal:enters "counter + 100"
      terminal:has "\n100\n"
      terminal:enters "#'amqp://u:hunter2@h/'"
      terminal:has "\n19\n"
      terminal:enters "{"
      terminal:enters "7 }"
      terminal:has "{ 7 }"
      terminal:presses "C-d"
      terminal:exit_code()
      terminal = attach()
      terminal:presses("Up", "Up", "Up")
      terminal:has "> counter + 100"
      terminal:presses "Enter"
      terminal:has "\n100\n"
      terminal:presses("Up", "Up")
      terminal:has "> {\n7 }"
      terminal:presses "C-c"
      local file = folder .. "/state/moonrabbit/history"
      local text = shell("cat " .. file)
      assert.truthy(text:find("counter + 100", 1, true), text)
      assert.is_nil(text:find("hunter2", 1, true), text)
      assert.equal("600\n", (shell("stat -c %a " .. file)))
   end)

   it("gives up a line, and what waits, at Ctrl-C; the script goes on", function()
      local terminal = attach()
      terminal:types "for i = 1"
      terminal:presses "C-c"
      terminal:has "^C"
      terminal:enters "mr.sleep(3)"
      running:says 'text=mr.sleep(3)'
      terminal:presses "C-c"
      terminal:has "given up"
      terminal:enters "counter + 5"
      terminal:has "\n5\n"
   end)

   it("says what the script is busy with while it spins, and Ctrl-C gives up the wait", function()
      publish "spin"
      eventually("the spinning", function()
         return shell(("XDG_RUNTIME_DIR=%s %s status"):format(folder, broker.command)):find "busy for"
      end)
      local terminal = attach(nil, { columns = 160 })
      terminal:enters "counter + 1"
      terminal:has "the script is busy for"
      terminal:has "shop.lua:"
      terminal:presses "C-c"
      terminal:has "given up"
      for command, shown in pairs { status = "busy with", connections = "CHANNELS", consumers = QUEUE .. "%s+%S+%s+consuming",
         queues = "WAITING", handlers = QUEUE .. "%s+[%d.]+s%s+1%s+%S+shop.lua:%d+", pools = "pooled +1 +0 +7 +0",
         recorder = "basic.deliver" } do
         terminal:enters("." .. command)
         eventually(command, function() return terminal:shows():find(shown) end)
      end
      io.open(folder .. "/release", "w"):close()
      terminal:enters "counter + 1000"
      terminal:has "\n1001\n"
   end)

   it("shows and changes by commands, and names the nearest of an unknown one", function()
      local terminal = attach(nil, { columns = 120 })
      terminal:enters ".help"
      terminal:has ".prefetch CONSUMER N"
      terminal:enters ".conections"
      terminal:has "did you mean .connections?"
      terminal:enters ".connections"
      terminal:has "CHANNELS"
      terminal:enters ".consumers"
      terminal:has "TAG"
      terminal:enters ".queues"
      terminal:has "WAITING"
      terminal:enters ".handlers"
      terminal:has "no handlers at work"
      terminal:enters ".pools"
      terminal:has "pooled     0     0      7        0"
      terminal:enters(".pause " .. QUEUE)
      terminal:has(("paused: %s of %q"):format(QUEUE, QUEUE))
      terminal:types ".resume prompt"
      terminal:presses "Tab"
      terminal:has("> .resume " .. QUEUE) -- though the broker has no such consumer
      terminal:presses "Enter"
      terminal:has "consuming again"
      terminal:enters((".concurrency %s 3"):format(QUEUE))
      terminal:has(("concurrency 3: %s of %q"):format(QUEUE, QUEUE))
      terminal:enters((".prefetch %s many"):format(QUEUE))
      terminal:has "whole number from 1"
      terminal:enters ".prefetch"
      terminal:has "usage: .prefetch CONSUMER N"
      terminal:enters ".log debug"
      terminal:has "log level debug"
      terminal:enters ".reconnect"
      terminal:has "no connection waits"
      terminal:enters ".quiet"
      terminal:has "taking no more messages"
      terminal:enters ".quiet off"
      terminal:has "taking messages again"
      terminal:enters(".cancel " .. QUEUE)
      terminal:has(("cancelled: %s of %q"):format(QUEUE, QUEUE))
      terminal:enters ".reload"
      terminal:has "\nreloaded\n"
      running:says "msg=reloaded"
      running:says("msg=consuming", 2) -- what was cancelled begins anew
      terminal:enters ".drain"
      terminal:has "stopping"
      local uid = shell("id -u"):match "%d+"
      for _, name in ipairs { "pause", "resume", "concurrency", "log", "reconnect", "quiet", "reload", "cancel", "drain" } do
         running:says(('msg="changed by console" action=%s'):format(name))
      end
      assert.equal(10, select(2, running:output():gsub('msg="changed by console"[^\n]* uid=' .. uid .. "%s", "")))
      assert.equal(0, select(2, running:wait()))
      assert.equal(1, terminal:exit_code())
   end)

   it("tells why a reload has failed, and the old script goes on", function()
      local path = folder .. "/shop.lua"
      local file = assert(io.open(path))
      local text = file:read "*a"
      file:close()
      local function write(what)
         file = assert(io.open(path, "w"))
         file:write(what)
         file:close()
      end
      local terminal = attach()
      write "this is no Lua"
      terminal:enters ".reload"
      local ok, why = pcall(terminal.has, terminal, "the old script goes on: ")
      write(text)
      assert(ok, why)
      terminal:enters "counter + 3"
      terminal:has "\n3\n"
   end)

   it("shows the control characters of names as text, and does not offer such names", function()
      local evil, plain = "evil\27]0;PWNED\7 q", { "evil.a", "evil.b" }
      local file = assert(io.open(folder .. "/evil.lua", "w"))
      file:write(([[
local mr = require "moonrabbit"
local function handler() while not io.open("%s/release") do end end
for _, queue in ipairs { %q, "evil.a", "evil.b" } do mr.consumer { queue = queue, name = "evil\27]0;PWNED\7", handler = handler } end
]]):format(folder, evil))
      file:close()
      local other = process.start(("%s run --log-level info %s/evil.lua"):format(broker.command, folder), environment())
      other:says("msg=consuming", 3)
      local terminal = pane.start(broker.command .. " attach evil.lua", environment(), { columns = 160 })
      terminal:has "evil.lua>"
      terminal:types ".pause e"
      terminal:presses "Tab"
      terminal:has "\nevil.a  evil.b\n"
      terminal:types "a"
      terminal:presses "Enter"
      terminal:has "paused: evil\\x1b]0;PWNED\\x07 of"
      local conn = mr.connect(broker.tcp_url)
      conn:channel():publish("", evil, "x")
      eventually("the spinning", function()
         return shell(("XDG_RUNTIME_DIR=%s %s status evil.lua"):format(folder, broker.command)):find "busy for"
      end)
      terminal:enters "1 + 1"
      terminal:has "the script is busy for"
      terminal:has "evil\\x1b]0;PWNED\\x07 q"
      assert.is_not.equal("PWNED", terminal:is "pane_title")
      io.open(folder .. "/release", "w"):close()
      terminal:has "\n2\n"
      other:stop()
      for _, queue in ipairs { evil, unpack(plain) } do conn:channel():queue_delete { queue = queue } end
      conn:close()
   end)

   it("draws its line anew after a resize", function()
      local terminal = attach()
      local long = ("1 + "):rep(25) .. "17"
      terminal:types(long)
      terminal:has "17\n" -- all of it: what comes during the resize is not the matter here
      terminal:resize(130, 24)
      terminal:has("> " .. long)
      terminal:presses "Enter"
      terminal:has "\n42\n"
   end)

   it("shows, but neither runs nor changes anything, where the console is read-only", function()
      local other = process.start(("%s run --console %s/ro.sock --console-read-only %s/shop.lua"):format(broker.command, folder, folder),
         environment("MOONRABBIT_LOG_LEVEL=info"))
      other:says "msg=consuming"
      local terminal = pane.start(("%s attach %s/ro.sock"):format(broker.command, folder), environment())
      terminal:enters "counter"
      terminal:has "read-only"
      terminal:enters(".pause " .. QUEUE)
      terminal:has("read-only", 2)
      terminal:enters ".consumers"
      terminal:has "consuming"
   end)

   it("has colours at a terminal, unless NO_COLOR is set", function()
      for _, case in ipairs { { "", true }, { "NO_COLOR=1", false } } do
         local terminal = attach(case[1])
         terminal:enters "'text'"
         terminal:has '"text"\n'
         assert.equal(case[2], terminal:shows(true):find("\27[32m", 1, true) ~= nil)
         pane.end_all()
      end
   end)

   it("reads lines of standard input that is no terminal, and ends at the first failure", function()
      local function pipe(text)
         return shell(("printf '%s' | %s %s attach"):format(text, environment(), broker.command))
      end
      assert.same({ "1\n2\n42\n", 0 }, { pipe "for i = 1, 2 do\\n  print(i)\\nend\\n\\ncounter + 42" })
      local out, code = pipe "nothing.here\\nprint(7)\\n"
      assert.same({ 1, nil }, { code, out:find("7", 1, true) })
      out, code = pipe ".pouse x\\n"
      assert.same({ "moonrabbit: no command .pouse: did you mean .pause?\n", 1 }, { out, code })
   end)
end)

describe("the prompt of repl", function()
   setup(set_up)
   teardown(tear_down)
   after_each(function() pane.end_all() end)

   local function repl(size)
      local terminal = pane.start(broker.command .. " repl memory://", environment(), size)
      terminal:has "repl>"
      return terminal
   end

   it("shows what arrives above the line that is being typed", function()
      local terminal = repl()
      terminal:enters 'q = ch:queue_declare { exclusive = true }.queue'
      terminal:enters 'ch:consume(q, function(msg) print("got", msg.body) end)'
      terminal:enters 'mr.spawn(function() repeat mr.sleep(0.01) until go ch:publish("", q, "hello\\27[2J") end)'
      terminal:enters "mr.every(0.05, function() go = io.open(mr.args.flag) ~= nil end) mr.args.flag = '/nowhere'"
      terminal:enters(("mr.args.flag = '%s/go'"):format(folder))
      terminal:types "40 + "
      terminal:has "> 40 +"
      io.open(folder .. "/go", "w"):close()
      terminal:has "got     hello\\x1b[2J\nrepl> 40 +\n"
      terminal:enters "2"
      terminal:has "\n42\n"
      terminal:enters ".consumers"
      terminal:has "consuming"
      terminal:presses "C-d"
      assert.equal(0, terminal:exit_code())
   end)

   local function ends_at_interrupt(expression)
      local terminal = repl()
      terminal:enters(expression)
      terminal:has "\nbegun\n"
      terminal:presses "C-c"
      terminal:has "given up"
      terminal:enters "6 * 7"
      terminal:has "\n42\n"
   end

   it("ends what waits at Ctrl-C, and prints at once", function()
      ends_at_interrupt 'print "begun" mr.sleep(1000)'
   end)

   spinning("ends what computes at Ctrl-C", function()
      ends_at_interrupt 'print "begun" while true do end'
   end)

   spinning("goes on with what computes while the window is resized", function()
      local terminal = repl { columns = 160 }
      terminal:enters "mr.watchdog { stall = 0.1 }"
      terminal:enters(('os.execute "kill -WINCH $PPID" while not io.open "%s/whole" do end return "all of it"'):format(folder))
      eventually("the look into what computes", function()
         return shell(("XDG_RUNTIME_DIR=%s %s status repl"):format(folder, broker.command)):find "console:1"
      end)
      io.open(folder .. "/whole", "w"):close()
      terminal:has '"all of it"\n'
      terminal:enters 'print "begun" while true do end'
      terminal:has "\nbegun\n"
      terminal:presses "C-c"
      terminal:has "given up"
      terminal:enters 'print "begun" mr.sleep(1000)'
      terminal:has("\nbegun\n", 2)
      terminal:presses "C-c"
      terminal:has("given up", 2)
      terminal:enters "6 * 7"
      terminal:has "\n42\n"
   end)

   it("shows what is written to standard output and error above the line, also without an end", function()
      local terminal = repl()
      terminal:enters(('mr.spawn(function() while not io.open "%s/write" do mr.sleep(0.01) end io.write("out", 1, "\\27\\n") '
         .. 'io.stdout:write "no end" mr.sleep(0.3) io.stderr:write "error\\nlast" print "!" end)'):format(folder))
      terminal:types "40 + "
      terminal:has "> 40 +"
      io.open(folder .. "/write", "w"):close()
      terminal:has "\nout1\\x1b\nno end\nerror\nlast!\nrepl> 40 +\n"
      terminal:enters "2"
      terminal:has "\n42\n"
      terminal:enters 'io.write "soon" return 1'
      terminal:has "\nsoon\n1\n"
      terminal:enters "io.write({})"
      terminal:has "bad argument #1 to 'write'"
      terminal:enters(("io.open('%s/own', 'w'):write('own'):close()"):format(folder))
   end)

   spinning("ends a handler that computes at Ctrl-C, and pauses its consumer", function()
      for _, consume in ipairs { 'ch:consume("spin", %s)', 'mr.consumer { queue = "spin", connection = conn, handler = %s }' } do
         local terminal = repl { columns = 160 }
         terminal:enters 'ch:queue_declare { queue = "spin", durable = true }'
         terminal:enters(consume:format 'function(msg) print("begun", msg.redelivered) while not may_end do end end')
         terminal:enters 'ch:publish("", "spin", "x")'
         terminal:has "begun   false"
         terminal:presses "C-c"
         terminal:has "its consumer is paused: .resume spin"
         assert.truthy(terminal:shows():gsub("\n", ""):find "ended by Ctrl%-C")
         terminal:enters "6 * 7"
         terminal:has "\n42\n"
         terminal:enters ".consumers"
         terminal:has "paused"
         terminal:enters "may_end = true"
         terminal:enters ".resume spin"
         terminal:has("begun   ", 2)
         terminal:presses "C-d"
         assert.equal(0, terminal:exit_code())
         pane.end_all()
      end
   end)

   it("waits for handlers after its end, also while the window is resized, until Ctrl-C", function()
      local terminal = repl { columns = 160 }
      terminal:enters 'require("moonrabbit.loop.stop").on_ask(function() os.execute "kill -WINCH $PPID" print "ending" end)'
      terminal:enters 'ch:queue_declare { queue = "slow", exclusive = true }'
      terminal:enters 'ch:consume("slow", function() print "at work" mr.sleep(1000) end)'
      terminal:enters 'ch:publish("", "slow", "x")'
      terminal:has "\nat work\n"
      terminal:enters ".quit"
      terminal:has "\nending\n"
      terminal:presses "C-c"
      assert.equal(130, terminal:exit_code())
      assert.truthy(terminal:has "msg=abandoned":find("slow", 1, true))
   end)

   it("gives the terminal back as it was: at .drain, os.exit and SIGTERM", function()
      for _, case in ipairs {
         { 0, function(terminal) terminal:enters ".drain" end },
         { 3, function(terminal) terminal:enters "mr.after(0.1, function() os.exit(3) end)" end },
         { 143, function(terminal)
            terminal:enters 'print(("p"):rep(3), io.open("/proc/self/stat"):read("*n"))'
            local pid = terminal:has "\nppp":match "\nppp%s+(%d+)"
            os.execute("kill -TERM " .. pid)
         end },
      } do
         local command = ("sh -c '%s repl memory://; code=$?; stty -a; exit $code'"):format(broker.command)
         local terminal = pane.start(command, environment(NO_LEAKS))
         terminal:has "repl>"
         case[2](terminal)
         assert.equal(case[1], terminal:exit_code())
         local seen = terminal:shows()
         assert.truthy(seen:find " icanon" and seen:find " echo " and seen:find "%sisig ", seen)
         pane.end_all()
      end
   end)

   it("runs what comes from standard input, and names a broker that is not there", function()
      local function run(arguments, text, more)
         return shell(("printf '%s' | %s %s repl %s"):format(text or "", environment(more), broker.command, arguments))
      end
      assert.same({ "connection memory:// (open)\n", 0 }, { run("memory://", "conn\\n") })
      assert.same({ "7\n", 3 }, { run("memory://", "print(7)\\nos.exit(3)\\n", NO_LEAKS) })
      local out, code = run "amqp://127.0.0.1:1/"
      assert.same({ 1, 1 }, { code, select(2, out:gsub("\n", "\n")) }, out)
      assert.equal(2, select(2, run "nonsense://"))
   end)
end)

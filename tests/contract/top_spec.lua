--- top: a full screen about a running process, at a real terminal.
-- Covers: lua/moonrabbit/cli/top.lua by top
-- Covers: lua/moonrabbit/cli/curses.lua by terminal
local broker = require "broker"
local mr = require "moonrabbit"
local pane = require "pane"
local place = require "place"
local process = require "process"
local shell = require "shell"
local text_width = require "moonrabbit.cli.text_width"
local eventually = require("waits").eventually

-- ncurses keeps some memory until the process ends.
local NO_LEAKS = 'ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"'

local function read(path)
   local file = io.open(path)
   local text = file and file:read "*a"
   if file then file:close() end
   return text
end

describe("top", function()
   local folder, first, second, conn, ch

   before_each(function()
      first, second = broker.name "top-a", broker.name "top-b"
      folder = place.make { ["shop.lua"] = ([[
local mr = require "moonrabbit"
local function handler(msg)
   if msg.body == "spin" then
      local till = mr.now() + 5
      while mr.now() < till do end
   end
end
mr.consumer { queue = %q, handler = handler }
mr.consumer { queue = %q, handler = handler }
]]):format(first, second) }
      conn = mr.connect(broker.tcp_url)
      ch = conn:channel()
      ch:confirm_select()
   end)
   after_each(function()
      pane.end_all()
      process.end_all()
      for _, queue in ipairs { first, second } do ch:queue_delete { queue = queue } end
      conn:close()
      place.remove(folder)
   end)

   local function run(options)
      local one = process.start(("%s run --log-level info %s %s/shop.lua"):format(broker.command, options or "", folder),
         ("AMQP_URL=%s XDG_RUNTIME_DIR=%s"):format(broker.tcp_url, folder))
      one:says("msg=consuming", options and 4 or 2)
      return one
   end

   -- Its pid is in the file top.pid, the terminal's settings before and after in others.
   local function top(arguments, environment, size)
      local script = ("trap : INT; stty -a >%s/before; sh -c 'echo $$ >%s/top.pid; exec %s top %s'; code=$?; stty -a >%s/after; "
         .. "exit $code"):format(folder, folder, broker.command, arguments or "", folder)
      return pane.start(("sh -c '%s'"):format(script:gsub("'", "'\\''")),
         ("%s XDG_RUNTIME_DIR=%s %s"):format(NO_LEAKS, folder, environment or ""), size)
   end
   -- Its exit code; it may be at the top of the screen, or behind a "^C".
   local function exit_code(terminal)
      terminal:has "exit "
      return tonumber(terminal:shows():match "exit (%d+)")
   end
   local function publish(queue, body, times)
      for _ = 1, times or 1 do assert(ch:publish("", queue, body)) end
   end
   local function line_of(terminal, queue)
      for line in terminal:shows():gmatch "[^\n]+" do
         if line:find(queue:sub(1, 8), 1, true) and line:find(queue:sub(1, 5), 1, true) == 3 then return line end
      end
      return ""
   end
   -- The line of a queue has this, in time.
   local function becomes(terminal, queue, pattern)
      local line
      local ok = pcall(eventually, pattern, function()
         mr.sleep(0.03)
         line = line_of(terminal, queue)
         return line:find(pattern)
      end, 60)
      if not ok then error(("%s: not %q but\n%s"):format(queue, pattern, terminal:shows()), 2) end
   end

   it("shows in 80 by 24 the state, the consumers and the keys, anew each interval", function()
      local running = run()
      local terminal = top "shop --interval 0.3"
      terminal:has "q quit  Tab list"
      local text = terminal:has "shop.lua (pid" -- with the first page, which may come after the first drawing
      assert.truthy(text:find(("^shop.lua %%(pid %d%%): healthy"):format(running.pid)), text)
      assert.truthy(text:find "\n%d of %d connections? open, 0 lost", text)
      assert.truthy(text:find "  QUEUE +STATE +IN/S DONE/S FLIGHT +P50 +P99 RETRY +DEAD +LAG\n", text)
      becomes(terminal, first, "^> top%-a.*1 on")
      becomes(terminal, second, "^  top%-b.*1 on")
      assert.equal("1", terminal:is "alternate_on")
      publish(first, "x", 20)
      becomes(terminal, first, " %d+m?us? ")
      terminal:presses "q"
      assert.equal(0, exit_code(terminal))
   end)

   it("keeps its columns straight below wide characters, in any locale", function()
      local wide = first .. "\230\156\136\229\133\142\240\159\144\135e\204\129"
      local file = assert(io.open(folder .. "/shop.lua", "a"))
      file:write(("mr.consumer { queue = %q, handler = handler }\n"):format(wide))
      file:close()
      local running = process.start(("%s run --log-level info %s/shop.lua"):format(broker.command, folder),
         ("AMQP_URL=%s XDG_RUNTIME_DIR=%s"):format(broker.tcp_url, folder))
      running:says("msg=consuming", 3)
      for _, locale in ipairs { "C.UTF-8", "C" } do
         local terminal = top("", "LC_ALL=" .. locale, { columns = 120 })
         terminal:has "/ filter"
         becomes(terminal, second, " 1 on ")
         local function column(line) return text_width.of(line:match "^(.-) 1 on " or "") end
         local at = column(line_of(terminal, second))
         local count = 0
         for line in terminal:shows():gmatch "[^\n]+" do
            if line:find(" 1 on ", 1, true) then
               count = count + 1
               assert.equal(at, column(line), line)
            end
         end
         assert.equal(3, count)
         assert.truthy(terminal:shows():find("\230\156\136\229\133\142\240\159\144\135", 1, true))
         terminal:presses "q"
         assert.equal(0, exit_code(terminal))
         pane.end_all()
      end
      running:stop()
      ch:queue_delete { queue = wide }
   end)

   it("orders, filters and lists connections by keys", function()
      run()
      local terminal = top "--interval 0.3"
      becomes(terminal, first, "^>")
      terminal:presses("S", "S")
      local text = terminal:has "by QUEUE, a first"
      assert.truthy(text:find "top%-a.*top%-b", text)
      terminal:presses "r"
      text = terminal:has "by QUEUE, z first"
      assert.truthy(text:find "top%-b.*top%-a", text)
      terminal:types "/top-B"
      terminal:has "\n/top-B_"
      terminal:presses "Enter"
      terminal:has 'only "top-B"'
      assert.same({ "", true }, { line_of(terminal, first), line_of(terminal, second) ~= "" })
      terminal:presses "Escape"
      becomes(terminal, first, "top%-a")
      terminal:presses "Tab"
      terminal:has "[connections]"
      terminal:has "open "
      terminal:presses "h"
      terminal:has "Any key goes back."
      terminal:presses("x", "q")
      assert.equal(0, exit_code(terminal))
   end)

   it("pauses the selected consumer by a key, and has it go on", function()
      run()
      local terminal = top "--interval 0.3"
      becomes(terminal, first, "^>")
      terminal:presses("S", "S", "Down")
      becomes(terminal, second, "^> .*1 on")
      terminal:presses "p"
      becomes(terminal, second, "^> .*paused")
      publish(second, "kept")
      assert.equal(1, broker.count(ch, second))
      publish(first, "goes")
      eventually("the other consumer", function() return broker.count(ch, first) == 0 end)
      assert.equal(1, broker.count(ch, second))
      terminal:presses "p"
      becomes(terminal, second, "^> .*1 on")
      eventually("its message", function() return broker.count(ch, second) == 0 end)
   end)

   it("goes by the terminal's size", function()
      run()
      local terminal = top()
      becomes(terminal, first, "1 on")
      terminal:resize(50, 10)
      eventually("the small screen", function() return not terminal:shows():find("LAG", 1, true) end)
      terminal:has "QUEUE"
      terminal:resize(120, 30)
      terminal:has "LAG"
      terminal:has "h help"
   end)

   for _, signal in ipairs { "q", "C-c", "TERM", "HUP" } do
      it("leaves the terminal as it was after " .. signal, function()
         run()
         local terminal = top()
         becomes(terminal, first, "1 on")
         assert.same({ "1", "0" }, { terminal:is "alternate_on", terminal:is "cursor_flag" })
         if #signal < 4 and signal ~= "HUP" then
            terminal:presses(signal)
         else
            os.execute(("kill -%s %s"):format(signal, read(folder .. "/top.pid"):match "%d+"))
         end
         assert.equal(({ TERM = 143, HUP = 129 })[signal] or 0, exit_code(terminal))
         assert.same({ "0", "1" }, { terminal:is "alternate_on", terminal:is "cursor_flag" })
         assert.equal(read(folder .. "/before"), read(folder .. "/after"))
         assert.is_nil(terminal:shows():find "QUEUE")
      end)
   end

   it("shows where a script is stuck", function()
      run()
      local terminal = top "--interval 0.3"
      becomes(terminal, first, "1 on")
      publish(first, "spin")
      local text = terminal:has "! script busy for"
      assert.truthy(text:find("shop.lua:2", 1, true), text)
   end)

   it("says so when the process dies, and goes on with the next one of that name", function()
      local running = run()
      local terminal = top "shop --interval 0.3"
      becomes(terminal, first, "1 on")
      running:signal "KILL"
      terminal:has "! no answer any more: "
      running:wait()
      local after = run()
      terminal:has(("(pid %d): healthy"):format(after.pid))
      terminal:presses "q"
      assert.equal(0, exit_code(terminal))
   end)

   it("shows all workers of a supervisor together or apart, and pauses in all", function()
      local group = run "--workers 2"
      local terminal = top "--interval 0.3"
      becomes(terminal, first, "2 on")
      terminal:has(("shop.lua (pid %d): healthy"):format(group.pid))
      terminal:presses "w"
      becomes(terminal, second, " [12] 1 on")
      terminal:presses "w"
      becomes(terminal, second, " 2 on")
      terminal:presses("S", "S", "Home", "p")
      becomes(terminal, first, "^> .*paused")
      publish(first, "kept", 3)
      assert.equal(3, broker.count(ch, first))
      terminal:presses "p"
      becomes(terminal, first, "2 on")
      eventually("the messages", function() return broker.count(ch, first) == 0 end)
   end)

   it("has colours on a terminal, and none with NO_COLOR", function()
      local running = run()
      local coloured = top("--interval 0.3", "TERM=xterm-256color")
      coloured:has "q quit"
      assert.truthy(coloured:shows(true):find "\27%[3[0-7]m", coloured:shows(true))
      pane.end_all()
      local plain = top("--interval 0.3", "TERM=xterm-256color NO_COLOR=1")
      plain:has "q quit"
      assert.is_nil(plain:shows(true):find "\27%[3[0-7]m")
      running:stop()
   end)

   it("refuses what cannot be, in a line", function()
      local function refused(text, out, code)
         assert.same({ 2, true }, { code, out:find(text, 1, true) ~= nil }, out)
      end
      refused("it needs a terminal", shell(("XDG_RUNTIME_DIR=%s %s top </dev/null"):format(folder, broker.command)))
      refused('--interval takes a number of seconds', shell(("%s top --interval soon"):format(broker.command)))
      local terminal = top()
      terminal:has "no process of this user has a console"
      assert.equal(2, exit_code(terminal))
      run()
      terminal = top(nil, "TERM=nonsense")
      terminal:has 'no full screen on a terminal of the type "nonsense"'
      assert.equal(2, exit_code(terminal))
   end)

   it("is not needed to watch: status --watch ends by Ctrl-C", function()
      run()
      local terminal = pane.start(("%s status --watch"):format(broker.command), "XDG_RUNTIME_DIR=" .. folder)
      terminal:has("Consumers by queue", 2)
      terminal:presses "C-c"
      assert.equal(0, exit_code(terminal))
   end)
end)

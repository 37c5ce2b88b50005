--- cli.top_text: the lines of top for a screen.
local text_width = require "moonrabbit.cli.text_width"
local top_state = require "moonrabbit.cli.top_state"
local top_text = require "moonrabbit.cli.top_text"

local function page(time, more)
   local p = { version = "1", pid = 7, time = time, uptime = 65, status = "healthy", stopping = false,
      script = { state = "idle", busy = 0, memory = 2097152 },
      messages = { delivered = 100 * time, settled = 100 * time, in_flight = 2 },
      publishes = { published = 4, confirmed = 3, confirm = { p99 = 0.01 } },
      queues = { { queue = "orders", handled = 1, failed = 0, retried = 2, dead = 3, messages = 123456,
         handler = { p50 = 0.00025, p99 = 1.5 } } },
      connections = { { number = 1, state = "waiting", since = 4, host = "h:5672", virtual_host = "/", user = "u", opened = 3,
         channels = {}, error = "refused" } }, publishers = {},
      consumers = { { connection = 1, channel = 1, number = 1, queue = "orders", state = "consuming", delivered = 1234.5 * time,
         in_flight = 2, settled = 3 * time } } }
   for k, v in pairs(more or {}) do p[k] = v end
   return p
end

local function drawn(state, columns, rows)
   local lines, texts = top_text.lines(state, columns or 80, rows or 24), {}
   for i, line in ipairs(lines) do
      assert(text_width.of(line.text) <= (columns or 80), line.text)
      assert.is_nil(line.text:find "%c")
      texts[i] = line.text
   end
   assert(#lines <= (rows or 24), #lines)
   return table.concat(texts, "\n"), lines
end

describe("top's lines", function()
   local state
   before_each(function()
      state = top_state.new()
      state.name = "shop.lua"
      state:show(page(10))
      state:show(page(12))
   end)

   it("fill 80 by 24: the head, the list with its columns, the keys", function()
      local text, lines = drawn(state)
      assert.equal(24, #lines)
      assert.equal("shop.lua (pid 7): healthy, up 1m05s, script idle, Lua 2.0 MiB", lines[1].text)
      assert.equal("in 100/s  done 100/s  in flight 2   published 0/s  confirmed 0/s", lines[2].text)
      assert.equal("0 of 1 connections open, 2 lost so far", lines[3].text)
      assert.truthy(text:find("\n  QUEUE             STATE      IN/S DONE/S FLIGHT   P50   P99 RETRY  DEAD    LAG\n", 1, true), text)
      assert.truthy(text:find("\n> orders            1 on       1234    3.0      2 250us  1.5s     2     3   123k\n", 1, true)
         or text:find("\n> orders            1 on       1235    3.0      2 250us  1.5s     2     3   123k\n", 1, true), text)
      assert.truthy(lines[24].text:find "^q quit")
   end)

   it("fit any other size: columns go where there is no room, and the keys stay", function()
      for columns = 1, 200, 7 do
         for rows = 1, 40, 3 do drawn(state, columns, rows) end
      end
      local text = drawn(state, 50, 10)
      assert.truthy(text:find "P50" and not text:find "LAG", text)
      assert.truthy(text:find "\nq quit[^\n]*$", text)
   end)

   it("say in words what their styles say, and where a script is stuck", function()
      state:show(page(13, { status = "unhealthy", reasons = { "stalled: for 9 s" }, script = { state = "stalled", busy = 9, memory = 1,
         where = 'the handler of queue "q", a.lua:3', traceback = "a.lua:4: in function\nmore" } }))
      local text, lines = drawn(state)
      local told = '! script stalled for 9.0s: the handler of queue "q"\n    a.lua:3\n    a.lua:4: in function\n! stalled: for 9 s'
      assert.truthy(text:find(told, 1, true), text)
      assert.equal("bad", lines[4].style)
      local busy = page(14, { script = { state = "busy", busy = 2, memory = 1 } })
      state:show(page(14, { workers = { { worker = 2, pid = 8, page = busy } } }))
      assert.truthy(drawn(state):find("! worker 2: script busy for 2.0s", 1, true))
   end)

   it("show no control characters of names, and cut long ones", function()
      local evil = "x\27[2J" .. ("y"):rep(100)
      state:show(page(15, { queues = {}, consumers = { { connection = 1, channel = 1, number = 1, queue = evil, state = "away" } } }))
      local text = drawn(state)
      assert.truthy(text:find("> x\\x1b[2Jyyyyyyyy~ away ", 1, true), text)
   end)

   it("stand straight below wide and combining characters, and keep to the screen", function()
      local moon, acute = "\230\156\136", "e\204\129"
      local consumers = {}
      for i, queue in ipairs { moon .. acute, moon:rep(100), acute:rep(100), "plain" } do
         consumers[i] = { connection = 1, channel = 1, number = i, queue = queue, state = "away" }
      end
      local place = "/" .. moon:rep(60) .. "/a.lua:3"
      state:show(page(15, { queues = {}, consumers = consumers, script = { state = "stalled", busy = 9, memory = 1,
         where = 'the handler of queue "q", ' .. place } }))
      local _, lines = drawn(state)
      local at = {}
      for _, line in ipairs(lines) do
         assert.truthy(text_width.of(line.text) <= 80, line.text)
         local before = line.text:match "^(. .*)1 away"
         if before then at[#at + 1] = text_width.of(before) end
         if line.text:find("/a.lua:3", 1, true) then assert.truthy(line.text:find("^    ~[\128-\255]+/a%.lua:3$"), line.text) end
      end
      assert.same({ at[1], at[1], at[1], at[1] }, at)
   end)

   it("show the filter that is typed, a message, and why there is no new page", function()
      state:key "/"
      state:key "z"
      local text = drawn(state)
      assert.truthy(text:find "\n/z_$" and text:find("none has that name", 1, true), text)
      state:key "enter"
      assert.truthy(drawn(state):find('only "z"', 1, true))
      state.message, state.trouble = "paused: a\27", "no answer any more: refused"
      text = drawn(state)
      assert.truthy(text:find "\npaused: a\\x1b$" and text:find("! no answer any more: refused", 1, true), text)
   end)

   it("list connections with their state and losses, and help", function()
      state:key "tab"
      local text = drawn(state, 120)
      assert.truthy(text:find("[connections]", 1, true) and text:find "> h:5672 +1 waiting +4.0s +2 ", text)
      assert.truthy(text:find("refused", 1, true), text)
      state:key "tab"
      assert.truthy(drawn(state):find("no publishers", 1, true))
      state:key "?"
      assert.truthy(drawn(state):find "Any key goes back%.$")
   end)

   it("are there before the first page", function()
      local fresh = top_state.new()
      fresh.name = "shop"
      assert.truthy(drawn(fresh):find "^moonrabbit top: shop")
   end)
end)

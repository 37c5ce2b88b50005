--- Tests moonrabbit.uv in Neovim: the example, an editor that stays responsive, and its end.
-- SPDX-License-Identifier: MIT
-- Covers: lua/moonrabbit/uv.lua by start
local broker = require "broker"
local mr = require "moonrabbit"
local process = require "process"

-- What each script begins with: report(...) writes a line.
local PRELUDE = [[
local mr = require "moonrabbit"
local function report(...) io.stdout:write(table.concat({ ... }, " "), "\n") io.stdout:flush() end
local function eventually(what, condition)
   if not vim.wait(20000, condition, 2) then report("in vain waited for " .. what) vim.cmd "cquit" end
end
]]

-- Runs scripts one after the other in an editor without a terminal; returns the process.
local function edit(...)
   local commands = {}
   for _, path in ipairs { ... } do commands[#commands + 1] = ('-c "luafile %s"'):format(path) end
   return process.start("nvim --headless -u NONE -i NONE " .. table.concat(commands, " "), "AMQP_URL=" .. broker.tcp_url)
end

local function script(text) return broker.script(PRELUDE .. text) end

describe("Neovim", function()
   after_each(function()
      process.end_all()
      broker.close_all()
   end)

   it("consumes and calls beside the editing, by the example", function()
      local ch = broker.channel()
      local served = mr.rpc.serve { queue = "deploy", connection = ch.connection, handler = function(service)
         if service == "nothing" then return nil, "no such service" end
         mr.sleep(0.05)
         return service .. " is deployed"
      end }
      local nvim = edit("examples/hosts/neovim/deploys.lua", script [[
         local told = {}
         vim.notify = function(text, level) told[#told + 1] = text .. (level and " !" or "") end
         local buffer = vim.fn.bufnr "[deploys]"
         local function lines() return vim.api.nvim_buf_get_lines(buffer, 0, -1, true) end
         vim.cmd "Deploy shop"
         report("at once", #told)
         eventually("the answer", function() return #told == 1 end)
         report("told", told[1])
         vim.cmd "Deploy nothing"
         eventually("the refusal", function() return #told == 2 end)
         report("told", told[2])
         report "ready"
         eventually("the event", function() return #lines() == 2 end)
         report("line", lines()[2])
         vim.cmd "qa!"
      ]])
      nvim:says "ready"
      assert(ch:publish("amq.topic", "deploys.shop", "version 2"))
      local out, code = nvim:wait()
      served:close()
      assert.equal(0, code, out)
      assert.truthy(out:find("at once 0", 1, true), out)
      assert.truthy(out:find("told shop is deployed\n", 1, true), out)
      assert.truthy(out:find("told [^\n]*no such service[^\n]* !\n"), out)
      assert.truthy(out:find("line deploys.shop: version 2", 1, true), out)
   end)

   it("stays responsive while messages come and calls wait, and handlers may call the editor's API", function()
      local nvim = edit(script [[
         require("moonrabbit.uv").start()
         local conn = mr.connect()
         local gap, last, beats = 0, vim.loop.hrtime(), 0
         local timer = vim.loop.new_timer()
         timer:start(0, 2, vim.schedule_wrap(function()
            local now = vim.loop.hrtime()
            gap, last, beats = math.max(gap, now - last), now, beats + 1
         end))
         local handled, is_fast = 0, false
         coroutine.wrap(function()
            local ch = assert(conn:channel())
            assert(ch:confirm_select())
            local q = assert(ch:queue_declare { exclusive = true }).queue
            assert(ch:consume(q, function()
               is_fast = is_fast or vim.in_fast_event()
               vim.api.nvim_buf_set_lines(0, 0, -1, true, { tostring(handled) })
               local till = mr.now() + 0.0005
               while mr.now() < till do end
               handled = handled + 1
            end))
            for i = 1, 1000 do assert(ch:publish("", q, "message " .. i, nil, { wait = false })) end
            assert(ch:wait_for_confirms())
         end)()
         eventually("the messages", function() return handled == 1000 end)
         report("handled in a fast event:", tostring(is_fast))
         report("beats", beats, "longest gap", math.floor(gap / 1e5) / 10, "ms")
         vim.cmd "qa!"
      ]])
      local out, code = nvim:wait()
      assert.equal(0, code, out)
      assert.truthy(out:find("handled in a fast event: false", 1, true), out)
      local beats, gap = out:match "beats (%d+) longest gap ([%d.]+) ms"
      print(("note: Neovim: 1000 messages of 0.5 ms, longest gap of a 2 ms timer %s ms"):format(gap))
      assert.is_true(tonumber(beats) > 50, out)
   end)

   it("shows the log's lines as notifications, not on the screen", function()
      local nvim = edit(script [[
         require("moonrabbit.uv").start()
         local told = {}
         vim.notify = function(text, level) told[#told + 1] = { text, level, vim.in_fast_event() } end
         coroutine.wrap(function()
            mr.sleep(0.01)
            error "deliberate"
         end)()
         eventually("the line", function() return #told == 1 end)
         report("level", told[1][2], "fast", tostring(told[1][3]), (told[1][1]:gsub("error=.*: ", "")))
         vim.cmd "qa!"
      ]])
      local out, code = nvim:wait()
      assert.equal(0, code, out)
      assert.truthy(out:find('^level 4 fast false moonrabbit: msg="coroutine failed" '), out)
   end)

   it("ends clean at :qa: the message in hand is settled, what was published is there", function()
      local ch, q = broker.confirming()
      local nvim = edit(script(([[
         require("moonrabbit.uv").start()
         local conn = mr.connect()
         coroutine.wrap(function()
            local ch = assert(conn:channel())
            for i = 1, 100 do assert(ch:publish("", %q, "message " .. i)) end
            report "published"
            mr.sleep(3600)
         end)()
         vim.defer_fn(function() vim.cmd "qa!" end, 300)
      ]]):format(q)))
      nvim:says "published"
      local out, code = nvim:wait()
      assert.equal(0, code, out)
      assert.equal(100, broker.count(ch, q))
      assert.is_nil(out:find("rror", 1, true), out)
   end)
end)

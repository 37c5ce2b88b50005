-- Tests that Debian's nginx runs here, with and without ngx_lua, and that its helper tells what it does.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local nginx = require "nginx"
local peer = require "peer"
local process = require "process"

local function page(n, path)
   local status, body = n:ask(path)
   return { status, body }
end

describe("a private nginx", function()
   after_each(nginx.end_all)

   it("answers from Lua, reloads, and stops", function()
      local n = nginx.start { modules = nginx.LUA, workers = 2, files = { ["page.lua"] = "return 'first'" },
         server = "location / { content_by_lua_block { ngx.say(require 'page') } }" }
      assert.same({ 200, "first\n" }, page(n, "/"))
      n:configure { modules = nginx.LUA, workers = 2, files = { ["page.lua"] = "return 'second'" },
         server = "location / { content_by_lua_block { ngx.say(require 'page') } }" }
      local drained = n:reload()
      drained()
      assert.same({ 200, "second\n" }, page(n, "/"))
      local code, log = n:stop()
      assert.equal(0, code)
      assert.truthy(log:find("reconfiguring", 1, true))
   end)

   it("says what is wrong with a configuration", function()
      local out, code = nginx.test { server = "location / { no_such_directive; }" }
      assert.equal(1, code)
      assert.truthy(out:find("no_such_directive", 1, true))
   end)
end)

describe("an example that a failed test has left", function()
   after_each(process.end_all)

   it("is ended, with its nginx, the workers and the broker", function()
      local port, broker_port = peer.closed_port(), peer.closed_port()
      local example = process.start("sh examples/hosts/nginx-lua/try.sh",
         ("PORT=%d BROKER_PORT=%d AMQP_URL="):format(port, broker_port))
      broker.eventually("a page", function() return nginx.ask({ port = port }, "/price?of=apple") end)
      local pids = {}
      local function note(pid)
         pids[#pids + 1] = pid
         local file = io.open(("/proc/%s/task/%s/children"):format(pid, pid))
         if not file then return end
         for child in file:read "*a":gmatch "%d+" do note(child) end
         file:close()
      end
      note(tostring(example.pid))
      assert.is_true(#pids >= 4, table.concat(pids, " "))
      process.end_all()
      for _, pid in ipairs(pids) do
         broker.eventually("the end of " .. pid, function()
            local file = io.open(("/proc/%s/stat"):format(pid))
            local state = file and file:read "*a":match "%) (%a)"
            if file then file:close() end
            return not state or state == "Z"
         end)
      end
   end)
end)

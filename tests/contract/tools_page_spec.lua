--- docs/tools.md: each command of the page, run in order; its output is what the page shows.
-- Feature: the page of the tools
local broker = require "broker"
local mr = require "moonrabbit"

local PAGE = "docs/tools.md"

-- What differs from one run to the next: durations, rates, times, and the space that aligns them.
local function plain(text)
   return (text:gsub("in [%d.]+ s %(%d+/s%)", "in T"):gsub("in [%d.]+ s", "in T"):gsub("%d+ s\n", "N s\n"):gsub("%d+ s +", "N s ")
      :gsub("[%d.]+ ms", "N ms"):gsub("%d+/s", "N/s"):gsub("published %d+ messages of", "published N messages of")
      :gsub("consumed %d+ at", "consumed N at"):gsub(" +", " "):gsub(" \n", "\n"))
end

-- The commands of the page with the output that follows each.
local function sessions()
   local list, is_inside = {}, false
   for line in io.lines(PAGE) do
      if line:find "^```" then
         is_inside = line == "```console"
      elseif is_inside and line:find "^%$ " then
         list[#list + 1] = { command = line:sub(3), output = "" }
      elseif is_inside then
         local last = list[#list]
         last.output = last.output .. line .. "\n"
      end
   end
   return list
end

if broker.kind ~= "memory" then return end -- it serves its own brokers

describe(PAGE, function()
   local served, archive, folder
   setup(function()
      served = assert(mr.testing.broker { name = "page", listen = "127.0.0.1:0" })
      archive = assert(mr.testing.broker { name = "archive", listen = "127.0.0.1:0" })
      for _, one in ipairs { served, archive } do
         local ch = assert(broker.connect { url = one.url }:channel())
         for _, name in ipairs { "orders", "orders.old" } do assert(ch:queue_declare { queue = name, durable = true }) end
      end
      folder = os.tmpname()
      os.remove(folder)
      os.execute(("mkdir %s && ln -s %s %s/moonrabbit"):format(folder, broker.command, folder))
      local file = assert(io.open(folder .. "/invoices.lua", "w"))
      file:write [[
local mr = require "moonrabbit"
mr.consumer { queue = "invoices", bindings = { { exchange = "amq.topic", routing_key = "invoice.*" } },
   handler = function(msg) prin(msg.body) end }
]]
      file:close()
   end)
   teardown(function()
      broker.close_all()
      served:close()
      archive:close()
      os.execute("rm -r " .. folder)
   end)

   it("shows what the commands print", function()
      local list = sessions()
      assert.is_true(#list > 12)
      for _, one in ipairs(list) do
         local out = broker.shell(([[cd %s; export PATH="$PWD:$PATH"
            export AMQP_URL=amqp://guest:guest@127.0.0.1:%d/ ARCHIVE=amqp://guest:guest@127.0.0.1:%d/
            %s]]):format(folder, served.port, archive.port, one.command))
         if os.getenv "MR_SHOW_PAGE" then io.write("$ ", one.command, "\n", out) end
         assert.equal(plain(one.output), plain(out), one.command)
      end
   end)
end)

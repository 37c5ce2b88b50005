--- The scripts of the pages, run as a reader runs them; what a page shows as output is what they print.
local broker = require "broker"

local PAGES = { "publishing", "topologies" }

-- The scripts of a page, each with the output that stands right under it, if any.
local function scripts_of(page)
   local text = assert(io.open("docs/" .. page .. ".md")):read "*a"
   local list, at = {}, 1
   while true do
      local _, stop, script = text:find("\n```lua\n(.-)```\n", at)
      if not stop then return list end
      at = stop
      if script:find '^local mr = require "moonrabbit"' then
         local output = text:match("^\n```\n(.-)```\n", stop + 1)
         local line = select(2, text:sub(1, stop):gsub("\n", "")) - select(2, script:gsub("\n", ""))
         list[#list + 1] = { name = ("docs/%s.md:%d"):format(page, line), script = script, output = output }
      end
   end
end

local at -- a place of their own: the queues of the pages are durable and have everyday names

local function run(page)
   local left, results = 0, {}
   for _, one in ipairs(scripts_of(page)) do
      left = left + 1
      require("moonrabbit").spawn(function()
         local out, code = broker.shell(("AMQP_URL=%s %s run --log-level error %s 2>&1"):format(at, broker.command,
            broker.script(one.script)), 30)
         results[#results + 1] = { one = one, out = out, code = code }
         left = left - 1
      end)
   end
   broker.eventually("the scripts to end", function() return left == 0 end, 60)
   return results
end

describe("the scripts of docs/", function()
   setup(function()
      at = "memory://"
      if not broker.is_rabbitmq then return end
      broker.ctl "add_vhost pages"
      broker.ctl "set_permissions -p pages guest .\\* .\\* .\\*"
      at = broker.url:gsub("/[^/]*$", "/pages")
   end)
   teardown(function()
      if broker.is_rabbitmq then broker.ctl "delete_vhost pages" end
      broker.none_left()
   end)

   for _, page in ipairs(PAGES) do
      if broker.is_rabbitmq or broker.kind == "memory" then
         it(page .. ".md run, and print what the page says", function()
            local results = run(page)
            assert.is_true(#results >= 4)
            for _, r in ipairs(results) do
               assert.equal(0, r.code, r.one.name .. " failed:\n" .. r.out)
               if r.one.output then assert.equal(r.one.output, r.out, r.one.name) end
            end
         end)
      end
   end
end)

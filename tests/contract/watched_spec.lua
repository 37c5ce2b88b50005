--- status: what it costs the process that is looked at.
-- Covers: runtime/health/status.c by status
local broker = require "broker"
local process = require "process"
local shell = require "shell"

local PAGES = 40
local SHARE = 0.05 -- of a processor, for one page each second

-- Seconds of processor that all threads of a process have used.
local function used(pid)
   local total = 0
   for ns in shell(("cat /proc/%d/task/*/schedstat"):format(pid)):gmatch "(%d+) %d+ %d+" do total = total + tonumber(ns) end
   return total / 1e9
end

describe("a status --watch", function()
   after_each(process.end_all)

   it("costs a busy process with hundreds of consumers at most 5 % of a processor", function()
      local path = os.tmpname()
      os.remove(path)
      local script = broker.script [[
local mr = require "moonrabbit"
local conn = mr.connect "memory://"
for i = 1, 300 do
   local ch = conn:channel()
   local queue = "status-" .. i
   ch:queue_declare { queue = queue, exclusive = true }
   ch:consume(queue, function() end)
   for _ = 1, 20 do ch:publish("", queue, "x") end
end
mr.every(3600, function() end)
print "up"
]]
      local one = process.start(("%s run --console %s %s"):format(broker.command, path, script))
      one:says "up"
      local function pages(count)
         return shell(("for i in $(seq %d); do curl -s --unix-socket %s -o /dev/null -w '%%{http_code} ' http://x/status; done"):format(
            count, path))
      end
      pages(2)
      local before = used(one.pid)
      local answers = pages(PAGES)
      local cost = (used(one.pid) - before) / PAGES
      assert.equal(("200 "):rep(PAGES), answers)
      assert.truthy(cost < SHARE, ("%.1f ms for a page"):format(cost * 1000))
      one:stop()
   end)
end)

--- overseer: `moonrabbit status` asked once shows all workers of a supervisor.
-- Covers: lua/moonrabbit/cli/overseer.lua by workers
-- Covers: lua/moonrabbit/cli/processes.lua by page
local broker = require "broker"
local cjson = require "cjson"
local mr = require "moonrabbit"
local place = require "place"
local process = require "process"
local shell = require "shell"
local eventually = require("waits").eventually

describe("a supervisor's console", function()
   local folder, queue

   before_each(function()
      queue = broker.name "overseer"
      folder = place.make { ["group.lua"] = ([[
local mr = require "moonrabbit"
mr.consumer { queue = %q, prefetch = 1, handler = function(msg)
   mr.inspect.last = msg.body
   if msg.body == "spin" then
      local till = mr.now() + 3
      while mr.now() < till do end
   end
end }
]]):format(queue) }
   end)
   after_each(function()
      process.end_all()
      place.remove(folder)
      local conn = mr.connect(broker.tcp_url)
      conn:channel():queue_delete { queue = queue }
      conn:close()
   end)

   local function start(options)
      local group = process.start(("%s run --workers 2 --log-level info %s %s/group.lua"):format(broker.command, options or "", folder),
         ("AMQP_URL=%s XDG_RUNTIME_DIR=%s"):format(broker.tcp_url, folder))
      group:says("msg=consuming", 2)
      return group
   end
   local function moonrabbit(arguments) return shell(("XDG_RUNTIME_DIR=%s %s %s"):format(folder, broker.command, arguments)) end
   local function page(which) return cjson.decode((moonrabbit("status --json " .. (which or "")))) end
   local function publish(body, times)
      local conn = mr.connect(broker.tcp_url)
      local ch = conn:channel()
      ch:confirm_select()
      for _ = 1, times or 1 do assert(ch:publish("", queue, body)) end
      conn:close()
   end

   it("shows all workers with their pids, and the sums; each is reachable by its pid, too", function()
      local group = start()
      publish("one", 10)
      eventually("ten messages", function() return page().messages.settled == 10 end)
      local sum = page "group"
      assert.same({ group.pid, 2, 2, 2 }, { sum.pid, #sum.workers, #sum.connections, #sum.consumers })
      local handled = 0
      for number, worker in ipairs(sum.workers) do
         assert.same({ number, "healthy", worker.pid }, { worker.worker, worker.page.status, worker.page.pid })
         handled = handled + worker.page.queues[1].handled
         local own = page(worker.pid)
         assert.same({ worker.pid, true }, { own.pid, own.workers == nil })
         assert.equal(0, select(2, moonrabbit("attach " .. worker.pid .. " -e 1")))
      end
      assert.same({ 10, 10 }, { handled, sum.queues[1].handled })
      local text = moonrabbit "status"
      assert.truthy(text:find(("group.lua (pid %d): healthy"):format(group.pid), 1, true), text)
      assert.truthy(text:find(("\n       2  %d  healthy"):format(sum.workers[2].pid), 1, true), text)
      group:stop()
      assert.equal("", (shell("ls " .. folder .. "/moonrabbit")))
   end)

   it("answers while a worker's script spins, and says where", function()
      local group = start()
      publish "spin"
      local text = eventually("the spinning", function()
         local out = moonrabbit "status"
         return out:find("busy for", 1, true) and out
      end)
      assert.truthy(text:find "worker %d is busy with the handler of queue", text)
      assert.truthy(text:find("group.lua:2", 1, true), text)
      group:stop()
   end)

   it("says which worker has died, and shows the one that comes after it", function()
      local group = start()
      local victim = page().workers[1].pid
      os.execute("kill -9 " .. victim)
      eventually("the death", function()
         local sum = page()
         return sum.status == "unhealthy" and table.concat(sum.reasons, "\n"):find "worker 1 "
      end)
      local after = eventually("its successor", function()
         local worker = page().workers[1]
         return worker.page and worker.page.consumers[1] and worker
      end)
      assert.are_not.equal(victim, after.pid)
      group:stop()
   end)

   it("is not one that runs expressions: attach asks for a worker", function()
      local group = start()
      local out, code = moonrabbit "attach -e 1"
      assert.same({ 2, true, nil }, { code, out:find "2 processes; which one%?" ~= nil, out:find "workers" })
      out, code = moonrabbit(("attach %d -e 1"):format(group.pid))
      assert.same({ 1, true }, { code, out:find "ask one of its workers: %d+ %(worker 1%), %d+ %(worker 2%)" ~= nil })
      group:stop()
   end)

   it("passes a change on to all workers, unless it is read-only", function()
      local group = start(("--console %s/c.sock"):format(folder))
      local function pause()
         return shell(("curl -s -X POST -w '%%{http_code}' --unix-socket %s/c.sock 'http://x/control?do=pause&consumer=%s'"):format(folder,
            queue))
      end
      local out = pause()
      assert.truthy(out:find("worker 1: paused", 1, true) and out:find("worker 2: paused", 1, true) and out:find "200$", out)
      local conn = mr.connect(broker.tcp_url)
      local ch = conn:channel()
      local function of_queue() return ch:queue_declare { queue = queue, passive = true } end
      eventually("the pause of both", function() return of_queue().consumer_count == 0 end)
      publish "later"
      eventually("a message that waits", function() return of_queue().message_count == 1 end)
      conn:close()
      assert.equal(0, page(folder .. "/c.sock").messages.delivered)
      assert.equal(0, select(2, moonrabbit("status " .. folder .. "/c.sock.2")))
      group:stop()
      group = start(("--console %s/c.sock --console-read-only"):format(folder))
      out = pause()
      assert.truthy(out:find "read%-only" and out:find "403$", out)
      group:stop()
   end)

   it("is not there with --no-console", function()
      local group = start "--no-console"
      assert.equal("", (shell(("ls %s/moonrabbit 2>/dev/null || true"):format(folder))))
      group:stop()
   end)
end)

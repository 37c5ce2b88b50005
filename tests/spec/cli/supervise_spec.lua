--- cli.supervise: when workers are started again, and what they end with; the processes are made up.
local mr = require "moonrabbit"
local spawn = require "moonrabbit.cli.spawn"
local supervise = require "moonrabbit.cli.supervise"

local HUP, INT, TERM, CHLD, KILL = 1, 2, 15, 17, 9

describe("a group of workers", function()
   local real, dead, started, sent, group = {}, {}, {}, {}, nil

   setup(function()
      for name, fn in pairs(spawn) do real[name] = fn end
      function spawn.start(arguments, changes)
         if started.refused then return nil, "no more processes" end
         table.insert(started, { at = mr.now(), arguments = arguments, changes = changes })
         return #started
      end
      function spawn.ended(pid)
         local how = dead[pid]
         dead[pid] = nil
         return how
      end
      function spawn.signal(pid, number) table.insert(sent, pid .. ":" .. number) end
      mr.log.configure "off"
   end)
   teardown(function()
      for name, fn in pairs(real) do spawn[name] = fn end
      mr.log.configure "warn"
   end)

   local function begin(workers, more)
      dead, started, sent = {}, {}, {}
      local wanted = { workers = workers, drain = 10, script = "s.lua", log_level = "info", log_format = "json",
         arguments = { "a", "-b" }, args = { [0] = "s.lua", "a", "-b", key = "x=y" } }
      for k, v in pairs(more or {}) do wanted[k] = v end
      group = supervise.group(wanted)
      group:start()
   end
   local function die(pid, how)
      dead[pid] = how
      group:on_signal(CHLD)
   end

   it("tells each its number and what was wanted; the URL goes by the environment", function()
      begin(2, { url = "amqp://u:secret@h", watch = true, queue_type = "quorum" })
      assert.equal("run --drain 10 --log-level info --log-format json --watch --queue-type quorum --set key=x=y -- s.lua a -b",
         table.concat(started[2].arguments, " "))
      local changes = started[2].changes
      assert.same({ "2", "amqp://u:secret@h", false, false }, { changes.MOONRABBIT_WORKER, changes.MOONRABBIT_URL,
         changes.MOONRABBIT_WORKERS, changes.MOONRABBIT_HTTP })
      assert.equal(tostring(real.pid()), changes.MOONRABBIT_SUPERVISOR)
   end)

   it("tells each what its console is to be, at a path of its own", function()
      begin(2, { console = "/run/c.sock", console_read_only = true })
      local text = table.concat(started[2].arguments, " ")
      assert.truthy(text:find(" --console-read-only --console /run/c.sock.2 ", 1, true), text)
      assert.is_false(started[2].changes.MOONRABBIT_CONSOLE)
      begin(1, { no_console = true })
      text = table.concat(started[1].arguments, " ")
      assert.truthy(text:find(" --no-console ", 1, true), text)
   end)

   it("starts one that died after 1, 2, 4 ... 30 s, and after 1 s again when it lived for a minute", function()
      begin(1)
      for n, delay in ipairs { 1, 2, 4, 8, 16, 30, 30 } do
         die(n, { code = 1 })
         mr.testing.advance(delay - 0.1, 0.1)
         assert.equal(n, #started)
         mr.testing.advance(0.2, 0.1)
         assert.equal(n + 1, #started)
      end
      mr.testing.advance(61)
      die(8, { signal = 11 })
      mr.testing.advance(1.1, 0.1)
      assert.equal(9, #started)
      assert.equal(8, group.restarts)
      group:on_signal(TERM)
      die(9, { code = 0 })
      assert.is_true(group:is_over())
   end)

   it("takes one that cannot be started for one that died", function()
      begin(1)
      started.refused = true
      die(1, { code = 1 })
      mr.testing.advance(1.1, 0.1)
      assert.equal(2, group.restarts)
      started.refused = nil
      mr.testing.advance(2.1, 0.1)
      assert.equal(2, #started)
      group:on_signal(TERM)
      die(2, { code = 0 })
   end)

   it("does not start one again that ended well, and is over when all have", function()
      begin(2)
      die(1, { code = 0 })
      mr.testing.advance(40, 1)
      assert.same({ 2, false }, { #started, group:is_over() })
      die(2, { code = 0 })
      assert.same({ true, 0 }, { group:is_over(), group:worst() })
   end)

   it("passes signals on; stopping, it starts none, kills what takes too long, and at a second signal", function()
      begin(3)
      group:on_signal(HUP)
      assert.same({ "1:1", "2:1", "3:1" }, sent)
      die(3, { code = 1 })
      group:on_signal(INT)
      assert.same({ "1:2", "2:2" }, { sent[4], sent[5] })
      mr.testing.advance(15.9, 0.5)
      assert.same({ 3, 5 }, { #started, #sent })
      mr.testing.advance(0.2, 0.1)
      assert.same({ "1:9", "2:9" }, { sent[6], sent[7] })
   end)

   it("at a second signal lets them say what is lost, then kills", function()
      begin(2)
      group:on_signal(INT)
      group:on_signal(TERM)
      assert.same({ "1:2", "2:2" }, sent) -- another one so soon would be taken for the same
      mr.testing.advance(1.2, 0.1)
      assert.same({ "1:15", "2:15" }, { sent[3], sent[4] })
      assert.equal(4, #sent)
      mr.testing.advance(2, 0.1)
      assert.same({ "1:" .. KILL, "2:" .. KILL }, { sent[5], sent[6] })
      die(1, { code = 75 })
      die(2, { code = 0 })
      assert.is_true(group:is_over())
   end)

   it("ends with the worst: 0, then 75, then any other", function()
      for _, case in ipairs { { {}, {}, 0 }, { { code = 0 }, { code = 75 }, 75 }, { { code = 75 }, { code = 1 }, 1 },
         { { code = 1 }, { code = 75 }, 1 }, { { code = 75 }, { code = 74 }, 74 }, { { code = 74 }, { code = 75 }, 74 },
         { { code = 74 }, { code = 1 }, 1 }, { { signal = 9 }, { code = 0 }, 137 } } do
         begin(2)
         group.workers[1].how, group.workers[2].how = case[1], case[2]
         assert.equal(case[3], group:worst())
      end
   end)
end)

--- dot: commands of a prompt.
-- Covers: lua/moonrabbit/cli/dot_views.lua by consumers
local dot = require "moonrabbit.cli.dot"

describe("a command of a prompt", function()
   it("is a line that begins with a dot and a name; its arguments are words, or texts in quotes", function()
      assert.same({ "help", {} }, { dot.parse ".help" })
      assert.same({ "prefetch", { "my queue", "5" } }, { dot.parse '  .prefetch  "my queue" 5 ' })
      assert.same({ "log", { "debug" } }, { dot.parse ".log debug" })
      assert.same({ "pause", { "a.b-c" } }, { dot.parse ".pause a.b-c" })
      assert.same({ "", {} }, { dot.parse "." })
      for _, line in ipairs { "1 + 1", ".5", "..", "x.help", ".help()", ".a.b", "", ".status;" } do assert.is_nil(dot.parse(line), line) end
   end)

   it("is unknown in one line, with the nearest one", function()
      assert.same({ nil, "no command .stauts: did you mean .status?" }, { dot.run({}, "stauts", {}) })
      assert.same({ nil, "no command .zzzzzzzz: .help lists them" }, { dot.run({}, "zzzzzzzz", {}) })
      assert.same({ nil, "no command .: .help lists them" }, { dot.run({}, "", {}) })
   end)

   it("says how it is used", function()
      assert.same({ nil, "usage: .prefetch CONSUMER N" }, { dot.run({}, "prefetch", { "x" }) })
      assert.same({ nil, "usage: .status" }, { dot.run({}, "status", { "x" }) })
   end)

   it("asks for an action with its arguments", function()
      local target = {}
      function target.control(_, name, fields)
         target.got = { name, fields }
         return "done"
      end
      for line, got in pairs {
         [".pause orders"] = { "pause", { consumer = "orders" } }, [".resume orders"] = { "resume", { consumer = "orders" } },
         [".prefetch orders 7"] = { "prefetch", { consumer = "orders", number = "7" } },
         [".concurrency orders 2"] = { "concurrency", { consumer = "orders", number = "2" } },
         [".cancel orders"] = { "cancel", { consumer = "orders" } }, [".log info"] = { "log", { level = "info" } },
         [".reconnect"] = { "reconnect", {} }, [".quiet"] = { "quiet", {} }, [".quiet off"] = { "quiet", { off = "off" } },
         [".reload"] = { "reload", {} }, [".drain"] = { "drain", {} },
      } do
         local name, arguments = dot.parse(line)
         assert.equal("done", dot.run(target, name, arguments))
         assert.same(got, target.got)
      end
      assert.equal(dot.QUIT, dot.run(target, "quit", {}))
   end)

   it("can be added, is in the help, and completes", function()
      dot.add("weather", "[PLACE]", "how it is outside", function(target, place) return target.sky .. (place or "") end)
      assert.equal("grey", dot.run({ sky = "grey" }, "weather", {}))
      assert.equal("grey here", dot.run({ sky = "grey" }, "weather", { " here" }))
      assert.truthy(dot.run({}, "help", {}):find "%.weather %[PLACE%] +how it is outside")
      assert.same({ ".weather" }, dot.words ".wea")
      assert.same({ ".pause", ".pools", ".prefetch" }, dot.words ".p")
      assert.is_true(dot.takes("pause", "CONSUMER"))
      assert.is_false(dot.takes("weather", "CONSUMER"))
      assert.is_false(dot.takes("nothing", "CONSUMER"))
   end)

   it("shows consumers, channels, handlers and pools as columns", function()
      local page = {
         consumers = { { queue = "b", tag = "t2", state = "away", connection = 1, channel = 2 },
            { queue = "a", tag = "t\27[2J", state = "consuming", connection = 1, channel = 1 } },
         connections = { { number = 1, state = "open", since = 5, host = "h", virtual_host = "/", user = "u", opened = 2,
            channels = { { number = 1, prefetch = 10 }, { number = 2, confirms = true } } } },
         queues = { { queue = "ab", handled = 0, failed = 0, retried = 0, dead = 0, paused = 1, handler = {} } },
      }
      page.pools = { { strategy = "pooled", active = 1, idle = 2, limit = 10, waiting = 0 } }
      local target = { status = function() return page end, handlers = function()
         return { { queue = "a", tag = 7, seconds = 2, message_id = "m", origin = "x.lua:1", at = "x.lua:3" } }
      end }
      local text = dot.run(target, "consumers", {})
      assert.truthy(text:find "a +t\\x1b%[2J +consuming +1 +1\nab +paused\nb +t2 +away +1 +2$", text)
      text = dot.run(target, "connections", {})
      assert.truthy(text:find "\n +1 +1 +10\n +1 +2 +yes$", text)
      assert.truthy(dot.run(target, "handlers", {}):find "a +7 +2%.0s +m +x%.lua:1 +x%.lua:3")
      assert.truthy(dot.run(target, "pools", {}):find "pooled +1 +2 +10 +0")
      page.pools = nil
      assert.equal("no pools", dot.run(target, "pools", {}))
      assert.equal("a", dot.run(target, "queues", {}):match "\n(a)")
   end)

   it("shows of a script that spins the handler that does, and the oldest of each queue, of all workers", function()
      local script = { busy = 3, where = 'the handler of queue "a", x.lua:1', queue = "a", traceback = "\tx.lua:4: in loop\n\tx.lua:9" }
      local page = { script = script, queues = { { queue = "b", oldest = 65 }, { queue = "c" } } }
      local target = { handlers = function() return nil, nil, page end }
      local text = dot.run(target, "handlers", {})
      assert.truthy(text:find "\na +3%.0s +1 +x%.lua:1 +x%.lua:4: in loop\nb +1m05s +the oldest$", text)
      page.workers = { { page = { script = script } }, { page = { script = { busy = 0 } } }, { reason = "ended" } }
      assert.truthy(dot.run(target, "handlers", {}):find "^QUEUE[^\n]*\na [^\n]*\nb [^\n]*$")
      page.workers, page.queues = { { page = { script = { busy = 0 } } } }, {}
      assert.equal("no handlers at work", dot.run(target, "handlers", {}))
   end)

   it("tells what is wrong with the process", function()
      local target = { status = function() return nil, "gone" end, handlers = function() return nil, "gone" end }
      for _, name in ipairs { "status", "connections", "consumers", "queues", "handlers", "pools" } do
         assert.same({ nil, "gone" }, { dot.run(target, name, {}) })
      end
   end)
end)

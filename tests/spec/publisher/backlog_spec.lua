--- backlog: the open publishes of publishers, as the page /status shows them.
local ask = require "moonrabbit.cli.ask"
local backlog = require "moonrabbit.publisher.backlog"
local cjson = require "cjson"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local eventually = require("waits").eventually

local function publisher(exchange, routing_key)
   return { exchange = exchange, routing_key = routing_key, in_line = 0, in_flight = 0, aside = 0 }
end

describe("the backlog of publishers", function()
   before_each(function()
      loop.close(1)
      mr.log.configure "off"
   end)
   after_each(function()
      loop.close(1)
      mr.log.configure "error"
   end)

   it("is counted together for one exchange, and by queue for the default one", function()
      local a, b, c, d = publisher "out", publisher "out", publisher("", "jobs"), publisher ""
      for _, p in ipairs { a, b, c, d } do backlog.accept(p) end
      backlog.add(a, "in_line", 1)
      backlog.add(b, "in_line", 1)
      backlog.add(b, "in_flight", 1)
      backlog.add(a, "in_line", -1)
      assert.same({ 0, 1, 1, 1, 2 }, { a.in_line, b.in_line, a.words.in_line, a.words.in_flight, a.words.accepted })
      assert.same({ 1, 1 }, { c.words.accepted, d.words.accepted })
   end)

   it("goes on without words when the runtime ends", function()
      local p = publisher "out"
      backlog.add(p, "aside", 1)
      backlog.accept(p)
      backlog.forget(p)
      backlog.add(p, "aside", -1)
      assert.same({ 0, true }, { p.aside, p.words == nil })
   end)

   it("is on the page, also of a real publisher whose broker is away", function()
      local path = os.tmpname()
      os.remove(path)
      assert(mr.console { path = path })
      local out = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1/", exchange = "far", routing_key = "k" }
      out:publish_async "x"
      out:publish_async "y"
      local page = eventually("the two", function()
         local now = cjson.decode((select(2, ask.page(path, "/status", 10))))
         return now.publishers[1] and now.publishers[1].in_line == 2 and now
      end)
      assert.same({ publisher = "far", accepted = 2, in_line = 2, in_flight = 0, aside = 0 }, page.publishers[1])
      out:close { timeout = 0.01 }
      page = cjson.decode((select(2, ask.page(path, "/status", 10))))
      assert.equal(0, page.publishers[1].in_line)
   end)
end)

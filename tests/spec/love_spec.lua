--- moonrabbit.love, in a game that is a table: what it does with LÖVE's functions. The real one is tests/host/love_spec.lua.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local loop = require "moonrabbit.loop.loop"
local process = require "process"
local broker = require "broker"

local eventually = broker.eventually
local server, url -- a broker of its own process: it outlives the runtime of this one
local game, quits, frames, host

-- What LÖVE does for each frame, and with a request to quit.
local function frame() game.update(1 / 60) end
local function quit(how)
   if not game.quit or not game.quit() then return how or 0 end
   game.handlers.quit(how)
end

local function play_until(what, condition)
   local deadline = mr.now() + 30
   while not condition() do
      assert(mr.now() < deadline, "in vain waited for: " .. what)
      frame()
   end
end

local function run_until_quit()
   play_until("love.event.quit", function() return #quits > 0 end)
   return table.remove(quits)[1]
end

before_each(function()
   quits, frames = {}, 0
   game = {
      update = function() frames = frames + 1 end,
      errorhandler = function(why) return "shown: " .. why end,
      event = { quit = function(how) quits[#quits + 1] = { how } end },
      handlers = { quit = function() end },
      filesystem = { getSourceBaseDirectory = function() return "/nowhere" end },
   }
   rawset(_G, "love", game)
   package.loaded["moonrabbit.love"] = nil
   host = require "moonrabbit.love"
end)

setup(function()
   server = process.start(broker.command .. " broker --listen 127.0.0.1:0")
   server:says "amqp://"
   url = server:output():match "amqp:[^%s;]+"
end)
teardown(function() server:stop() end)

after_each(function()
   require("moonrabbit.loop.host").run = nil
   loop.close(1)
   rawset(_G, "love", nil)
end)

-- A queue with `count` messages and the channel of a connection to it.
local function filled(count)
   local ch = assert(mr.connect(url):channel())
   local queue = assert(ch:queue_declare { queue = broker.name "game" }).queue
   assert(ch:confirm_select())
   for i = 1, count do assert(ch:publish_async("", queue, tostring(i))) end
   assert(ch:wait_for_confirms(10))
   return ch, queue
end

-- What the queue has after the game: its messages and its consumers.
local function left_in(queue)
   local ch = assert(mr.connect(url):channel())
   local found
   eventually("no consumer", function()
      found = assert(ch:queue_declare { queue = queue, passive = true })
      return found.consumer_count == 0
   end)
   return found.message_count
end

describe("moonrabbit.love", function()
   it("gives messages their budget of each frame, before the game's own update", function()
      local ch, queue = filled(50)
      assert.equal(mr, host.start { budget = 0.002 })
      local got, most = 0, 0
      mr.spawn(function()
         assert(ch:consume(queue, function()
            local until_ = mr.now() + 0.001
            while mr.now() < until_ do end -- a handler that computes
            got = got + 1
         end))
      end)
      local was_behind = false
      local before = 0
      play_until("all messages", function()
         most, was_behind, before = math.max(most, got - before), was_behind or host.is_behind, got
         return got == 50
      end)
      assert(most >= 1 and most <= 2, most .. " of 1 ms each in 2 ms")
      assert.is_true(was_behind)
      frame()
      assert(host.took >= 0 and host.took < 0.5)
      assert(frames >= 25)
   end)

   it("goes on for some frames when the game quits, then quits with the same argument", function()
      local ch, queue = filled(3)
      host.start { stop = 2 }
      local begun, handled, stops = 0, 0, 0
      mr.spawn(function()
         assert(ch:consume(queue, function(msg)
            begun = begun + 1
            if msg.body == "2" then mr.sleep(0.05) end -- it ends during the stop
            handled = handled + 1
         end))
      end)
      mr.on_stop(function() stops = stops + 1 end)
      play_until("all messages", function() return begun == 3 end)
      assert.is_nil(quit "restart")
      assert.equal("restart", run_until_quit())
      assert.equal(1, stops)
      assert.equal("restart", quit "restart") -- now LÖVE may end
      assert.equal(3, handled)
      frame() -- LÖVE may ask for one more
      assert.equal(0, left_in(queue))
   end)

   it("leaves it to the game whether it quits", function()
      local may = false
      game.quit = function() return not may end
      host.start()
      assert.is_nil(quit(3))
      frame()
      assert.equal(0, #quits)
      may = true
      assert.is_nil(quit())
      assert.is_nil(run_until_quit())
      assert.equal(0, quit())
   end)

   it("quits in time although a handler does not end", function()
      local ch, queue = filled(1)
      host.start { stop = 0.2 }
      local has_begun = false
      mr.spawn(function()
         assert(ch:consume(queue, function()
            has_begun = true
            mr.sleep(60)
         end))
      end)
      play_until("the handler", function() return has_begun end)
      mr.log.configure "off"
      local began = mr.now()
      quit()
      run_until_quit()
      mr.log.configure "warn"
      assert(mr.now() - began < 3)
      assert.equal(1, left_in(queue))
   end)

   it("gives back what is not handled when the game fails, and shows the error", function()
      local ch, queue = filled(1)
      host.start { stop = 0.2 }
      local has_begun = false
      mr.spawn(function()
         assert(ch:consume(queue, function()
            has_begun = true
            mr.sleep(60)
         end))
      end)
      play_until("the handler", function() return has_begun end)
      mr.log.configure "off"
      assert.equal("shown: oh", game.errorhandler "oh")
      mr.log.configure "warn"
      assert.equal(1, left_in(queue))
   end)

   it("runs the command's script beside the game, until the game quits", function()
      local ch, queue = filled(3)
      local to = assert(ch:queue_declare { queue = broker.name "to" }).queue
      local path = broker.script [[
         local mr = require "moonrabbit"
         local conn = mr.connect(mr.args.url)
         local ch = assert(conn:channel())
         assert(ch:consume(mr.args.from, function(msg) assert(ch:publish("", mr.args.to, arg_one .. msg.body)) end))
         arg_one = ...
         mr.run()
         script_has_ended = true
      ]]
      host.start { stop = 2, script = path, args = { "from script ", url = url, from = queue, to = to } }
      local found
      play_until("what the script does", function()
         found = assert(ch:queue_declare { queue = to, passive = true }).message_count
         return found == 3
      end)
      assert.is_nil(rawget(_G, "script_has_ended"))
      quit()
      run_until_quit()
      assert.is_true(rawget(_G, "script_has_ended"))
      assert.equal(0, left_in(queue))
      local msg = assert(assert(mr.connect(url):channel()):get(to, { no_ack = true }))
      assert.equal("from script ", msg.body:sub(1, 12))
      rawset(_G, "script_has_ended", nil)
      rawset(_G, "arg_one", nil)
      os.remove(path)
   end)

   it("reports a script that fails, and the game goes on", function()
      local lines = {}
      mr.log.sink(function(_, line) lines[#lines + 1] = line end)
      host.start { script = broker.script "error 'no such luck'" }
      frame()
      play_until("the line", function() return #lines > 0 end)
      mr.log.sink(nil)
      assert.truthy(lines[1]:find("the script failed", 1, true) and lines[1]:find("no such luck", 1, true), lines[1])
      quit()
      run_until_quit()
   end)

   it("says where it is to be started", function()
      game.update = nil
      assert.error_matches(function() host.start() end, "call start in love.load")
      game.update = function() end
      assert.error_matches(function() host.start { bugdet = 1 } end, 'did you mean "budget"')
      host.start()
      assert.error_matches(function() host.start() end, "has started already")
   end)
end)

--- From inside every kind of callback: close, release, drop everything, collect garbage, lose the connection.
local mr = require "moonrabbit"
local broker = require "broker"
local embedded = require "embedded"
local recovering = require "recovering"

if broker.kind ~= "memory" then return end

local eventually = broker.eventually

-- What is done there; each may fail, and must end.
local ACTIONS = {
   ["closes the connection"] = function(w) w.conn:close { timeout = 1 } end,
   ["releases the connection"] = function(w) w.conn:release() end,
   ["closes the channel"] = function(w) if w.ch then w.ch:close() end end,
   ["cancels the consumer"] = function(w) if w.consumer then w.consumer:cancel() end end,
   ["collects garbage"] = function(w)
      w.ch, w.consumer = nil, nil
      collectgarbage()
      collectgarbage()
   end,
   ["loses the connection"] = function(w)
      w.broker:drop()
      mr.sleep(0.01)
   end,
   ["closes the broker"] = function(w) w.broker:close() end,
   ["declares and publishes"] = function(w)
      local ch = w.conn:channel()
      if ch then
         ch:queue_declare { queue = "inner" }
         ch:publish("", "inner", "x", { timeout = 1 })
         ch:close()
      end
   end,
   ["raises an error"] = function() error "on purpose" end,
}

-- A connection to a broker of its own, with a channel, a queue and a message in it.
local function world(w, options)
   w.broker = embedded.broker()
   local all = { url = w.broker.url, close_timeout = 0.5, transport_options = recovering.at_once }
   for k, v in pairs(options or {}) do all[k] = v or nil end
   w.conn = embedded.connect(all)
   w.ch = assert(w.conn:channel())
   assert(w.ch:queue_declare { queue = "q" })
   assert(w.ch:publish("", "q", "x"))
   return w
end

-- How one gets into each kind of callback: fn(act, w) arranges that act() is called there, once.
local CALLBACKS = {
   ["a handler"] = function(act, w)
      world(w)
      w.consumer = assert(w.ch:consume("q", act))
   end,
   ["a handler that has waited"] = function(act, w)
      world(w)
      w.consumer = assert(w.ch:consume("q", function()
         mr.sleep(0.005)
         act()
      end))
   end,
   ["a messages() loop"] = function(act, w)
      world(w)
      mr.spawn(function()
         local iterator
         iterator, w.consumer = w.ch:messages "q"
         for msg in assert(iterator) do
            msg:ack()
            act()
         end
      end)
   end,
   ["on_return"] = function(act, w)
      world(w)
      w.ch:on_return(act)
      assert(w.ch:publish("", "nowhere", "x", { mandatory = true }))
   end,
   ["a timer"] = function(act, w)
      world(w)
      mr.after(0.001, act)
   end,
   ["a periodic timer"] = function(act, w)
      world(w)
      local timer
      timer = mr.every(0.001, function()
         timer:cancel()
         act()
      end)
   end,
   ["a task that waits for a confirm"] = function(act, w)
      world(w)
      assert(w.ch:confirm_select())
      mr.spawn(function()
         w.ch:publish("", "q", "y", { timeout = 1 })
         act()
      end)
   end,
   ["errback"] = function(act, w)
      world(w)
      w.broker:refuse_logins()
      local other = embedded.connect { url = w.broker.url, recover = false }
      mr.spawn(function() other:ensure_connection { max_retries = 1, interval_start = 0, interval_step = 0, errback = act } end)
   end,
   ["a function of ensure"] = function(act, w)
      world(w)
      mr.spawn(function()
         w.conn:ensure(function()
            act()
            return true
         end, { max_retries = 0 })()
      end)
   end,
   ["a function of with"] = function(act, w)
      world(w)
      mr.spawn(function() w.conn:with(act) end)
   end,
   ["a password function"] = function(act, w)
      local calls = 0
      world(w, { password = function()
         calls = calls + 1
         if calls == 2 then act() end
         return "guest"
      end })
      w.broker:drop()
   end,
   ["a retry policy"] = function(act, w)
      local calls = 0
      world(w, { transport_options = false, retry = function()
         calls = calls + 1
         if calls == 1 then act() end
         return 0.01
      end })
      w.broker:drop()
   end,
   ["a function of a pool"] = function(act, w)
      world(w)
      local p = embedded.keep(assert(mr.pool { url = w.broker.url, max_connections = 1 }))
      mr.spawn(function() p:with(act, { timeout = 1 }) end)
   end,
}
for _, event in ipairs { "connected", "lost", "retrying", "recovered", "channel_closed", "consumer_cancelled" } do
   CALLBACKS["on_event, told of " .. event] = function(act, w)
      local left = event == "connected" and 2 or 1 -- not the first one: that is world's own
      world(w, { on_event = function(ev)
         if ev.type ~= event then return end
         left = left - 1
         if left == 0 then act() end
      end })
      if event == "channel_closed" then
         mr.spawn(function() w.ch:queue_declare { queue = "missing", passive = true } end)
      elseif event == "consumer_cancelled" then
         w.consumer = assert(w.ch:consume("q", function() end))
         mr.spawn(function()
            local other = embedded.connect { url = w.broker.url }
            local ch = other:channel()
            if ch then ch:queue_delete { queue = "q" } end
         end)
      else
         w.broker:drop()
      end
   end
end

-- While it connects for the first time: a task waits for the channel meanwhile.
CALLBACKS["on_event, told of the first connected"] = function(act, w)
   w.broker = embedded.broker()
   local told
   w.conn = embedded.connect { url = w.broker.url, close_timeout = 0.5, transport_options = recovering.at_once, on_event = function(ev)
      if told or ev.type ~= "connected" then return end
      told = true
      act()
   end }
   mr.spawn(function()
      local ch = w.conn:channel()
      if ch then ch:queue_declare { queue = "q" } end
      w.conn:default_channel()
   end)
end

local function sorted(t)
   local names = {}
   for name in pairs(t) do names[#names + 1] = name end
   table.sort(names)
   return names
end

describe("a program", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   for _, where in ipairs(sorted(CALLBACKS)) do
      it("inside " .. where .. " may do anything, and it ends (T18, T37)", function()
         for _, what in ipairs(sorted(ACTIONS)) do
            local w, began, done = {}, 0, 0
            CALLBACKS[where](function()
               began = began + 1
               if began > 1 then return end
               local ok, why = pcall(ACTIONS[what], w)
               done = done + 1
               if not ok then
                  assert(tostring(why):find "on purpose", tostring(why))
                  error(why, 0)
               end
            end, w)
            eventually(("%s: %s, to begin"):format(where, what), function() return began > 0 end)
            eventually(("%s: %s, to end"):format(where, what), function() return done > 0 end)
            mr.sleep(0)
            -- The runtime is as good as new: another connection works, and this one can be ended.
            local fresh = embedded.connect { url = embedded.broker().url }
            assert(assert(fresh:channel()):queue_declare { queue = "after" })
            assert.is_true(w.conn:release())
            embedded.close_all()
         end
      end)
   end
end)

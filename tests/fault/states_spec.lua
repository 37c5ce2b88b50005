--- Every call in every state: each public method of connection, channel, consumer, message, ticket, iterator, simple queue,
-- publisher, topology and pool, and remote calls, in each state that they can be in: it does what it should or gives nil
-- and an error with the reason, in time.
local mr = require "moonrabbit"
local broker = require "broker"
local channel = require "moonrabbit.channel.channel"
local connection = require "moonrabbit.connection.connection"
local embedded = require "embedded"
local loop = require "moonrabbit.loop.loop"
local message = require "moonrabbit.channel.message"

if broker.kind ~= "memory" then return end

local eventually = broker.eventually

-- ---- what there is to call ----

local SHORT = { timeout = 0.05 }
local function with_timeout(options)
   options.timeout = 0.05
   return options
end
local once = { max_retries = 0, timeout = 0.5 }

-- method -> how it is called: fn(object, world)
local CONNECTION = {
   acquire = function(c) return c:acquire() end,
   channel = function(c) return c:channel() end,
   clone = function(c) return embedded.keep((c:clone())) end,
   close = function(c) return c:close(SHORT) end,
   connect = function(c) return c:connect() end,
   default_channel = function(c) return c:default_channel() end,
   drain_events = function(c) return c:drain_events(SHORT) end,
   ensure = function(c) return c:ensure(function() return c:default_channel() end, once)() end,
   ensure_connection = function(c) return c:ensure_connection(once) end,
   handover = function(c) return c:handover { drain = 0.1 } end,
   info = function(c) return c:info() end,
   release = function(c) return c:release() end,
   simple_buffer = function(c) return c:simple_buffer "buffer" end,
   simple_queue = function(c) return c:simple_queue "simple" end,
   update_secret = function(c) return c:update_secret("guest", SHORT) end,
   with = function(c) return c:with(function() return true end) end,
}
local CHANNEL = {
   close = function(ch) return ch:close() end,
   confirm_select = function(ch) return ch:confirm_select(SHORT) end,
   consume = function(ch) return ch:consume("q", function() end, SHORT) end,
   exchange_bind = function(ch) return ch:exchange_bind(with_timeout { destination = "amq.fanout", source = "amq.direct" }) end,
   exchange_declare = function(ch) return ch:exchange_declare(with_timeout { exchange = "x" }) end,
   exchange_delete = function(ch) return ch:exchange_delete(with_timeout { exchange = "y" }) end,
   exchange_unbind = function(ch) return ch:exchange_unbind(with_timeout { destination = "amq.fanout", source = "amq.direct" }) end,
   get = function(ch) return ch:get("q", SHORT) end,
   messages = function(ch) return ch:messages("q", SHORT) end,
   on_return = function(ch)
      ch:on_return(function() end)
      return true
   end,
   publish = function(ch) return ch:publish("", "q", "x", SHORT) end,
   publish_async = function(ch) return ch:publish_async("", "q", "x", SHORT) end,
   qos = function(ch) return ch:qos(with_timeout { prefetch_count = 5 }) end,
   queue_bind = function(ch) return ch:queue_bind(with_timeout { queue = "q", exchange = "amq.fanout" }) end,
   queue_declare = function(ch) return ch:queue_declare(with_timeout { queue = "q" }) end,
   queue_delete = function(ch) return ch:queue_delete(with_timeout { queue = "other" }) end,
   queue_purge = function(ch) return ch:queue_purge(with_timeout { queue = "q" }) end,
   queue_unbind = function(ch) return ch:queue_unbind(with_timeout { queue = "q", exchange = "amq.fanout" }) end,
   recover = function(ch) return ch:recover(SHORT) end,
   tx_commit = function(ch) return ch:tx_commit(SHORT) end,
   tx_rollback = function(ch) return ch:tx_rollback(SHORT) end,
   tx_select = function(ch) return ch:tx_select(SHORT) end,
   wait_for_confirms = function(ch) return ch:wait_for_confirms(0.05) end,
}
local MESSAGE = {
   ack = function(m) return m:ack() end,
   dead_letter = function(m) return m:dead_letter "why" end,
   decode = function(m) return m:decode() end,
   view = function(m) return m:view() end,
   nack = function(m) return m:nack() end,
   reject = function(m) return m:reject() end,
   reply = function(m) return m:reply("x", SHORT) end,
   retry = function(m) return m:retry(0.01) end,
}
local TOPOLOGY = mr.topology { queues = { "t" } }
local OTHERS = {
   ["consumer:cancel"] = function(w) return w.consumer:cancel() end,
   ["ticket:wait"] = function(w) return w.ticket:wait(0.05) end,
   ["ticket that is out:wait"] = function(w) return w.out:wait(0.05) end,
   ["iterator"] = function(w)
      local msg = w.iterator()
      return msg or true
   end,
   ["consumer of the iterator:cancel"] = function(w) return w.reader:cancel() end,
   ["simple:put"] = function(w) return w.simple:put("x", SHORT) end,
   ["simple:get"] = function(w) return w.simple:get(SHORT) end,
   ["simple:get_nowait"] = function(w) return w.simple:get_nowait() end,
   ["simple:qsize"] = function(w) return w.simple:qsize() end,
   ["simple:clear"] = function(w) return w.simple:clear() end,
   ["simple:close"] = function(w) return w.simple:close() end,
   ["publisher:publish"] = function(w) return w.pub:publish("x", SHORT) end,
   ["publisher:publish_async"] = function(w) return w.pub:publish_async("x", SHORT) end,
   ["publisher:flush"] = function(w) return w.pub:flush(SHORT) end,
   ["publisher:close"] = function(w) return w.pub:close(SHORT) end,
   ["rpc.call"] = function(w) return mr.rpc.call("nobody", "x", { connection = w.conn, timeout = 0.05 }) end,
   ["rpc.serve"] = function(w) return mr.rpc.serve { queue = "calls", connection = w.conn, handler = print } end,
   ["topology:plan"] = function(w) return TOPOLOGY:plan(w.conn) end,
   ["topology:apply"] = function(w) return TOPOLOGY:apply(w.conn) end,
   ["topology:counts"] = function(w) return TOPOLOGY:counts(w.conn) end,
   ["topology:purge"] = function(w) return TOPOLOGY:purge(w.conn) end,
   ["topology:delete"] = function(w) return TOPOLOGY:delete(w.conn) end,
   ["topology:join"] = function(w) return TOPOLOGY:join(w.conn, "t", SHORT) end,
}

-- ---- the states ----

local function quick(b, options)
   local all = { url = b.url, close_timeout = 0.5, rpc_timeout = 1, connect_timeout = 2 }
   for k, v in pairs(options or {}) do all[k] = v end
   return embedded.connect(all)
end

-- A connection with all that can hang on it.
local function world(options)
   local b = embedded.broker()
   local w = { broker = b }
   w.conn = quick(b, options)
   w.ch = assert(w.conn:channel())
   assert(w.ch:queue_declare { queue = "q" })
   assert(w.ch:queue_declare { queue = "more" })
   assert(w.ch:confirm_select())
   w.ticket = assert(w.ch:publish_async("", "q", "one"))
   assert(w.ticket:wait(5))
   local take
   take, w.taker = assert(w.ch:messages "q")
   w.msg = assert(take())
   w.consumer = assert(w.ch:consume("more", function() end))
   w.iterator, w.reader = assert(w.ch:messages "more")
   w.simple = assert(w.conn:simple_queue("simple", { channel = w.ch }))
   w.pub = mr.publisher { connection = w.conn, routing_key = "q" }
   assert(w.pub:publish "x")
   return w
end

local function gone(w) return not w.conn.is_open end
local function lose(w, what)
   w.out = assert(w.ch:publish_async("", "q", "out", { timeout = 2 }))
   what()
   eventually("the loss", function() return gone(w) end)
end

-- name, how it comes about, the kinds of error that tell the reason, whether the connection can serve again at once
local STATES = {
   { "never opened", function()
      local b = embedded.broker()
      b:refuse_logins()
      return { conn = quick(b, { recover = false }) }
   end, { "authentication_failed" } },
   { "open", function()
      local w = world()
      w.out = assert(w.ch:publish_async("", "q", "out"))
      return w
   end, {}, true },
   { "lost, on its way back", function()
      local w = world { transport_options = { interval_start = 600, interval_max = 600 } }
      lose(w, function()
         w.broker:refuse_logins()
         w.broker:drop()
      end)
      return w
   end, { "stream_lost", "authentication_failed" } },
   { "lost for good", function()
      local w = world { recover = false }
      lose(w, function()
         w.broker:refuse_logins()
         w.broker:drop()
      end)
      return w
   end, { "stream_lost", "authentication_failed" } },
   { "closed by the broker", function()
      local w = world { recover = false }
      lose(w, function()
         w.broker:refuse_logins()
         w.broker:close_connections(320, "CONNECTION_FORCED - maintenance")
      end)
      return w
   end, { "connection_forced", "authentication_failed" } },
   { "given up after its retries", function()
      local over
      local w = world { transport_options = { max_retries = 1, interval_start = 0, interval_step = 0 },
         on_event = function(ev) over = over or ev.type == "gave_up" end }
      lose(w, function()
         w.broker:refuse_logins()
         w.broker:drop()
      end)
      eventually("the end", function() return over end)
      return w
   end, { "authentication_failed", "stream_lost" } }, -- the cut may hit the last try, too
   { "closed by the program", function()
      local w = world()
      lose(w, function() assert(w.conn:close()) end)
      return w
   end, { "closed" }, true },
   { "released", function()
      local w = world()
      lose(w, function() assert(w.conn:release()) end)
      return w
   end, { "closed" } },
   { "with a channel that the broker closed", function()
      local w = world()
      for _, consumer in ipairs { w.consumer, w.reader, w.taker } do assert(consumer:cancel()) end
      w.out = assert(w.ch:publish_async("no-such-exchange", "q", "out"))
      eventually("the end of the channel", function() return not w.ch.is_open end)
      return w
   end, { "not_found" }, true },
   { "with a channel that the program closed", function()
      local w = world()
      w.out = assert(w.ch:publish_async("", "q", "out"))
      assert(w.ch:close())
      return w
   end, { "closed" }, true },
   { "after the end of the loop", function()
      local w = world()
      w.out = assert(w.ch:publish_async("", "q", "out"))
      loop.close(1)
      return w
   end, { "closed" } },
}

-- What may be said besides the reason: of the call itself, whatever the state.
local OWN = {
   drain_events = { "timeout" }, get = { "empty" }, ["simple:get"] = { "empty" }, ["simple:get_nowait"] = { "empty" },
   wait_for_confirms = { "lost", "timeout", "bad_argument" }, tx_select = { "precondition_failed" },
   tx_commit = { "precondition_failed" }, tx_rollback = { "precondition_failed" }, reply = { "bad_argument" },
   ["publisher:publish"] = { "lost", "timeout" }, ["publisher:flush"] = { "lost", "timeout" },
   ["publisher:close"] = { "timeout" }, ["rpc.call"] = { "returned", "timeout" },
   ["ticket that is out:wait"] = { "lost" }, publish = { "lost" },
   ack = { "stale", "settled" }, nack = { "stale", "settled" }, reject = { "stale", "settled" }, retry = { "stale", "settled" },
   dead_letter = { "stale", "settled" }, handover = { "closed" }, update_secret = { "closed" },
}
-- What never needs the broker.
local ALWAYS = { acquire = true, clone = true, info = true, close = true, release = true, update_secret = true,
   ["consumer:cancel"] = true,
   ["consumer of the iterator:cancel"] = true, ["ticket:wait"] = true, decode = true, view = true, on_return = true, with = true,
   iterator = true, ["simple:close"] = true, ["publisher:publish_async"] = true, ["publisher:flush"] = true,
   ["publisher:close"] = true,
   wait_for_confirms = true, ["ticket that is out:wait"] = true } -- the word may have come before the end did
-- What reads a message: its memory went with the loop, which is the one thing that raises.
local READS = { decode = true, view = true, reply = true }

local function allowed(kind, lists)
   for _, list in ipairs(lists) do
      for _, k in ipairs(list or {}) do if k == kind then return true end end
   end
end

-- Runs one call in a task of its own; its results, or what it raised.
local function ends(what, fn)
   local result
   mr.spawn(function() result = { n = 3, pcall(fn) } end)
   if not pcall(eventually, what, function() return result end, 1) then
      mr.testing.advance(11) -- some have no timeout of their own: they wait 10 s
      eventually(what .. " to end", function() return result end)
   end
   return result
end

-- One call in one state, judged.
local function judge(state, name, call)
   local where = ("%s, %s"):format(name, state[1])
   local w = state[2]()
   local r = ends(where, function() return call(w) end)
   if state[1] == "after the end of the loop" and READS[name] then
      assert(not r[1] and tostring(r[2]):find("this message is gone", 1, true), where .. ": " .. tostring(r[2]))
      return embedded.close_all()
   end
   assert(r[1], ("%s: raised %s"):format(where, tostring(r[2])))
   if r[2] == nil then
      local err = r[3]
      assert(mr.is_error(err), ("%s: no error but %s"):format(where, tostring(err)))
      assert(allowed(err.kind, { state[3], OWN[name] }), ("%s: %s"):format(where, tostring(err)))
      assert(#err.text > 0 and (#err.hint > 0 or err.kind == "empty"), where)
   elseif not state[4] then
      assert(ALWAYS[name], ("%s: it worked"):format(where))
   end
   embedded.close_all()
end

local function public(methods)
   local names = {}
   for name, fn in pairs(methods) do
      if type(fn) == "function" and not name:find "^_" then names[#names + 1] = name end
   end
   table.sort(names)
   return names
end

describe("every call", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      embedded.close_all()
      broker.close_all()
      mr.log.configure "warn"
   end)

   it("is in the table of calls", function()
      for _, case in ipairs { { connection.methods, CONNECTION }, { channel.methods, CHANNEL }, { message.methods, MESSAGE } } do
         local listed = {}
         for name in pairs(case[2]) do listed[#listed + 1] = name end
         table.sort(listed)
         assert.same(public(case[1]), listed)
      end
   end)

   for _, state in ipairs(STATES) do
      it(("on a connection %s: ends in time and for the original reason (T42)"):format(state[1]), function()
         for _, name in ipairs(public(CONNECTION)) do
            judge(state, name, function(w) return CONNECTION[name](w.conn) end)
         end
         if state[1] == "never opened" then return end
         for _, name in ipairs(public(CHANNEL)) do judge(state, name, function(w) return CHANNEL[name](w.ch) end) end
         for _, name in ipairs(public(MESSAGE)) do judge(state, name, function(w) return MESSAGE[name](w.msg) end) end
         for _, name in ipairs(public(OTHERS)) do
            local waits = name == "iterator" and (state[1] == "open" or state[1]:find "^lost, on") -- for a message
            if not waits then judge(state, name, OTHERS[name]) end
         end
      end)
   end
end)

-- Of a pool: what it is told in each of its states, by both strategies.
local POOL = {
   acquire = function(p)
      local item, err = p:acquire { timeout = 0.3 }
      if item then p:release(item) end
      return item and true, err
   end,
   with = function(p) return p:with(function(ch) return ch:queue_declare { exclusive = true } end, SHORT) end,
   ensure = function(p) return p:ensure(function(ch) return ch:queue_declare { exclusive = true } end, once)() end,
   grow = function(p) return p:grow(1, { connect = true }) end,
   resize = function(p)
      p:resize(2)
      return true
   end,
   close = function(p)
      p:close()
      return true
   end,
}
local POOL_STATES = {
   { "fresh", function() end, {} },
   { "of a broker that refuses", function(_, b) b:refuse_logins() end, { "authentication_failed" } },
   { "closed", function(p) p:close() end, {} }, -- it can be used again
   { "exhausted", function(p) embedded.keep { item = assert(p:acquire()), close = function(kept) pcall(p.release, p, kept.item) end } end,
      { "timeout", "pool_exhausted", "pool_limit_exceeded" } },
   { "after the end of the loop", function() loop.close(1) end, { "closed" } },
}

describe("every call of a pool", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      embedded.close_all()
      mr.log.configure "warn"
   end)

   for _, state in ipairs(POOL_STATES) do
      for _, strategy in ipairs { "pooled", "shared" } do
         it(("%s, %s: ends in time and says why it cannot (T42)"):format(strategy, state[1]), function()
            local calls = public(POOL)
            if state[1] == "exhausted" then table.remove(calls, 3) end -- ensure: it waits its turn, however long
            assert.equal(state[1] == "exhausted" and "grow" or "ensure", calls[3])
            for _, name in ipairs(calls) do
               local where = ("%s, %s, %s"):format(name, strategy, state[1])
               local b = embedded.broker()
               local p = assert(mr.pool { url = b.url, strategy = strategy, [strategy == "shared" and "max_channels"
                  or "max_connections"] = 1, transport_options = { max_retries = 0 } })
               embedded.keep { close = function() p:close() end }
               state[2](p, b)
               local r = ends(where, function() return POOL[name](p) end)
               assert(r[1], ("%s: raised %s"):format(where, tostring(r[2])))
               if r[2] == nil then
                  assert(mr.is_error(r[3]), ("%s: no error but %s"):format(where, tostring(r[3])))
                  assert(allowed(r[3].kind, { state[3] }), ("%s: %s"):format(where, tostring(r[3])))
                  assert(#r[3].text > 0 and #r[3].hint > 0, where)
               end
               embedded.close_all()
            end
         end)
      end
   end
end)

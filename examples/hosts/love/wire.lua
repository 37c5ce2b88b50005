--- wire: the world's events through the broker: a topic exchange, and an exclusive queue for each window.
-- SPDX-License-Identifier: MIT
-- What all should know is published as all.KIND.ID, what is for one window as to.ID.KIND; messages are transient and not acked,
-- because the next one replaces them. A window that comes (or comes back) says hello: each other one answers with what it knows.
-- While there is no connection nothing is kept for later: at the return, the worlds merge.
local codec = require "codec"

local wire = {}

local EXCHANGE = "moonrabbit.garden"
local HOPS = 1 / 12      -- seconds between two messages of a rabbit that moves
local ALIVE = 1          -- the same, of one that sits
local ORDERS = "amq.topic"
local COLOUR_OF = { command = 3, nginx = 4, game = 8 }
local STALE = "5000"     -- milliseconds until a message that no window took is dropped

--- What the badge shows: state, host, err, delay and attempt of the next try, and since when.
wire.status = { state = "connecting", host = "", since = 0, count = 0, strange = 0 }

local mr, w, conn, ch
local status = wire.status
local sent = {} -- rabbit -> when, and what

local function set(state, event)
   status.state, status.since = state, mr.now()
   status.err, status.delay, status.attempt = event and event.err, event and event.delay, event and event.attempt
end

local function send(key, event)
   if not ch or not conn.is_open or conn.is_blocked then return end
   -- One that has to wait for room waits in a task of its own, not in the frame.
   mr.spawn(function()
      ch:publish_async(EXCHANGE, key, codec.encode(event), { content_type = "text/plain", expiration = STALE,
         persistent = false, timeout = 1 })
   end)
end

--- Tells all windows of an event; this one knows it already.
function wire.tell(event) send(("all.%s.%s"):format(event.kind, event.from), event) end

local function greet()
   wire.tell { kind = "hello", from = w.me.id }
   wire.tell(w:snapshot())
   sent = {}
end

-- An order that some host has handled, of examples/hosts/shared/orders.lua: a parcel, at the same place in each window.
local function on_order(msg)
   local id, by = msg.body:match '"id":"?([%w_.-]+)', msg.routing_key:match "[^.]+$"
   if not id then return end
   local seed = 0
   for i = 1, #id do seed = (seed * 31 + id:byte(i)) % 9973 end
   status.orders = (status.orders or 0) + 1
   w:apply { kind = "plant", from = "orders", id = "order." .. id, what = "parcel", x = 80 + seed * 7 % 640, y = 350 + seed * 3 % 190,
      age = 0, colour = COLOUR_OF[by] or 6 }
end

local function on_message(msg)
   status.count = status.count + 1
   if msg.exchange == ORDERS then return on_order(msg) end
   local event = codec.decode(msg.body)
   if not event then
      status.strange = status.strange + 1
      return
   end
   local r = w.rabbits[event.from]
   if r and r.is_ours and not r.is_bot then return end -- an echo: it happened here when it was sent
   if event.kind == "hello" then
      sent = {}                                        -- so that the newcomer sees our rabbits with the next frame
      return send(("to.%s.snapshot"):format(event.from), w:snapshot())
   end
   if not w:apply(event) then status.strange = status.strange + 1 end
end

local function on_event(event)
   if event.type == "connecting" then set "connecting"
   elseif event.type == "connected" and not ch then set "connecting"
   elseif event.type == "recovered" then
      set "connected"
      greet()
   elseif event.type == "lost" then set("lost", event)
   elseif event.type == "retrying" then set("retrying", event)
   elseif event.type == "blocked" then set("blocked", event)
   elseif event.type == "unblocked" then
      set "connected"
      greet()
   end
end

local function open()
   conn:ensure_connection { interval_start = 0.5, interval_step = 0.5, interval_max = 3, errback = function(err, delay)
      status.tries = (status.tries or 0) + 1
      set("retrying", { err = err, delay = delay, attempt = status.tries })
   end }
   local channel = assert(conn:channel())
   assert(channel:exchange_declare { exchange = EXCHANGE, type = "topic", auto_delete = true })
   local queue = assert(channel:queue_declare { exclusive = true, arguments = { ["x-max-length"] = 20000 } }).queue
   for _, key in ipairs { "all.#", ("to.%s.#"):format(w.me.id) } do
      assert(channel:queue_bind { queue = queue, exchange = EXCHANGE, routing_key = key })
   end
   assert(channel:queue_bind { queue = queue, exchange = ORDERS, routing_key = "orders.done.#" })
   assert(channel:consume(queue, on_message, { no_ack = true }))
   ch = channel
   set "connected"
   greet()
end

--- Connects in the background; nothing here waits.
-- @tparam table library moonrabbit
-- @tparam string url
-- @tparam table of the world
function wire.start(library, url, of)
   mr, w = library, of
   status.url = mr.redact(url)
   conn = mr.connect { url = url, name = "moonrabbit game", heartbeat = 10, on_event = on_event,
      retry = mr.retry.exponential { first = 0.5, factor = 1.6, max = 4 } }
   status.host = conn.host
   wire.connection = conn
   mr.spawn(function()
      local ok, why = pcall(open)
      if ok then return end
      set("failed", { err = why })
      mr.log.error("the garden cannot be entered", { error = why })
   end)
end

--- Tells the others, now and then, where this window's rabbits are.
function wire.step()
   local now = mr.now()
   for _, r in pairs(w.rabbits) do
      if r.is_ours then
         local last = sent[r]
         local stars = w:stars_of(r.id)
         local has_changed = not last or last.carry ~= r.carry or last.stars ~= stars
         if has_changed or now - last.at >= (r.is_moving and HOPS or ALIVE) or last.is_moving ~= r.is_moving then
            sent[r] = { at = now, carry = r.carry, stars = stars, is_moving = r.is_moving }
            wire.tell(w:hop(r))
         end
      end
   end
end

--- Takes leave.
function wire.bye()
   for _, r in pairs(w.rabbits) do
      if r.is_ours then wire.tell { kind = "bye", from = r.id } end
   end
end

return wire

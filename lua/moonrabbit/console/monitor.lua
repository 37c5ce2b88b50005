--- monitor: tells the clients of a console of each message that is settled, while there is one who wants to know.
-- SPDX-License-Identifier: MIT
-- The page /monitor of the console: one JSON object a line, for `moonrabbit monitor` and curl -N. The lines go straight to the I/O
-- thread, so a client has all of what was settled before the script began to spin. They wait in a pipe of bounded size: of a client
-- that reads slowly, what finds no room there is counted instead, and the consumer goes on.
local C = require("moonrabbit.base.ffi").C
local bit = require "bit"
local copies = require "moonrabbit.redelivery.copy"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local handling = require "moonrabbit.channel.delivery"
local host_pages = require "moonrabbit.health.host_pages"
local lifecycle = require "moonrabbit.consumer.lifecycle"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local message = require "moonrabbit.channel.message"
local monitor_filter = require "moonrabbit.console.monitor_filter"
local monitor_line = require "moonrabbit.console.monitor_line"
local observer = require "moonrabbit.channel.observer"
local redact = require "moonrabbit.base.redact"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"
local timing = require "moonrabbit.channel.timing"

local monitor = {}

local KIND, ROOM = "application/x-ndjson", 2 ^ 20 -- bytes that wait for one client
local MOST = 8       -- clients: a console has 16 places, and others are to find one
local AGAIN = 1      -- seconds after which a client that is behind is told how far
local LEVELS = 60    -- of a stack that are looked at for the handler
local COPIED = "_copied" -- the slot of a message: what has become of it
local SOME = 10      -- queues that an error names

local NACK, REJECT = C.MR_NACK, C.MR_REJECT
local SETTLED, NO_ACK = C.MR_DELIVERY_SETTLED, C.MR_DELIVERY_NO_ACK
local REQUEUE, MULTIPLE = C.MR_SETTLE_REQUEUE, C.MR_SETTLE_MULTIPLE

local clients = {} -- a list
local has_failed = false

-- ---- lines ----

local remind

-- True if the client has read so much that it was told what it has missed, if anything: what it misses is not even written.
local function is_up(client)
   if client.left_out == 0 then return true end
   if not client.write(('{"not_shown":%d}\n'):format(client.left_out)) then return false end
   client.left_out = 0
   return true
end

local function miss(client)
   client.left_out = client.left_out + 1
   if not client.timer then remind(client) end
end

function remind(client)
   loop.soft = loop.soft + 1
   client.timer = loop.after(AGAIN, function()
      loop.soft = loop.soft - 1
      client.timer = nil
      if not client.is_gone and not is_up(client) then remind(client) end
   end)
end

local function is_wanted(filter, queue, key)
   return (not filter.queue or queue and filter.queue(queue)) and (not filter.key or filter.key(key))
end

local function tell(msg, about)
   local key, fields = msg.routing_key, nil
   for i = 1, #clients do
      local client = clients[i]
      local filter = client.filter
      local is_shown = is_wanted(filter, about.queue, key)
      if is_shown and not is_up(client) then
         miss(client)
      elseif is_shown then
         local start, size = message.start(msg, monitor_line.needed(filter))
         if not fields then
            about.time, about.size = copies.now() / 1000, size
            fields = monitor_line.fields(msg, about)
         end
         if not client.write(monitor_line.text(fields, msg, filter, start)) then miss(client) end
      end
   end
end

-- ---- what is seen ----

local function word(how, flags)
   if (how == NACK or how == REJECT) and bit.band(flags, REQUEUE) ~= 0 then return "requeue" end
   return how == NACK and "nack" or how == REJECT and "reject" or "ack"
end

-- What is known of it besides: its copy, and why.
local function complete(about, msg, err)
   local copied = rawget(msg, COPIED)
   if copied then
      about.outcome, about.delay, about.dead_letter = copied.what, copied.info.delay, copied.info.queue
      err = copied.info.error or copied.info.reason or err
   end
   about.error = err and monitor_line.short(err)
   return about
end

local function failure(ok, a, b)
   if ok and (a ~= nil and a ~= false and type(a) ~= "string" or b == nil) then return nil end
   local why = b
   if not ok then why = type(a) == "table" and a.raised or a end
   if why == message.HELD then return nil end
   return errors.words(why)
end

local function on_handled(consumer, d, msg, how, flags, began, ok, a, b)
   if consumer.is_exit or rawget(msg, message.FAILED) == message.HELD then return end
   if not message.is_held(msg) then return end
   local took, is_lost = C.mr_now() - began, not C.mr_delivery_is_live(loop.current(), d)
   local outcome = how and word(how, flags)
   if bit.band(d.flags, SETTLED) ~= 0 then
      if bit.band(d.flags, NO_ACK) == 0 then return end -- by the program, which was told of
      outcome = "no_ack"
   elseif is_lost then outcome = "lost"
   elseif not how then return end -- the program settles it later
   tell(msg, complete({ queue = consumer.queue, outcome = outcome, seconds = took }, msg, failure(ok, a, b)))
end

-- How long the handler of a message has run that settles it itself; nil: it is not its handler that does.
local function seconds_of(msg)
   for level = 3, LEVELS do
      local info = debug.getinfo(level, "f")
      if not info then return nil end
      if info.func == handling.handle then
         local found, i = {}, 1
         local name, v = debug.getlocal(level, i)
         while name do
            found[name] = v
            i = i + 1
            name, v = debug.getlocal(level, i)
         end
         return found.msg == msg and C.mr_now() - found.began or nil
      end
   end
end

local function on_settling(msg, d, how, flags)
   local consumer = subscription.known(d.consumer)
   if consumer and consumer.is_exit then return nil end
   local about = complete({ queue = consumer and consumer.queue or msg.queue, outcome = word(how, flags), seconds = seconds_of(msg),
      multiple = bit.band(flags, MULTIPLE) ~= 0 or nil }, msg)
   return function() tell(msg, about) end -- the message can still be read then
end

local function on_unseen(d)
   local consumer = subscription.known(d.consumer)
   if not consumer or consumer.is_exit then return end
   local msg = message.new(d, consumer.channel)
   if msg.is_live then tell(msg, { queue = consumer.queue, outcome = "requeue" }) end
end

local function on_copied(msg, what, info) rawset(msg, COPIED, { what = what, info = info }) end

-- Nothing of this may end a handler.
local function safely(fn)
   return function(...)
      local ok, result = pcall(fn, ...)
      if ok then return result end
      if not has_failed then task.report("a monitor", result) end
      has_failed = true
   end
end

local hooks = { handled = safely(on_handled), settling = safely(on_settling), unseen = safely(on_unseen), copied = safely(on_copied) }

local function watch(is_on)
   for name, fn in each(hooks) do observer[name] = is_on and fn end
   timing.is_exact = is_on
end

-- ---- clients ----

local function remove(client)
   for i, one in ipairs(clients) do
      if one == client then table.remove(clients, i) end
   end
   client.is_gone = true
   client.finish()
   if #clients == 0 then watch(false) end
end

local function add(filter, request)
   local write_, finish = request.stream(KIND, ROOM)
   if not write_ then return nil end
   local client = { filter = filter, write = write_, finish = finish, left_out = 0 }
   request.on_left = function() remove(client) end
   clients[#clients + 1] = client
   watch(true)
   return client
end

local function queues()
   local known, list = {}, {}
   for _, worker in ipairs(lifecycle.list()) do known[worker.queue] = true end
   subscription.each(function(consumer) known[consumer.queue] = not consumer.is_exit or known[consumer.queue] or nil end)
   for name in each(known) do list[#list + 1] = name end
   table.sort(list)
   return list
end

-- What is wrong with a filter for queues that none has.
local function no_such_queue(fits, text)
   local list = queues()
   for _, name in ipairs(list) do
      if fits(name) then return nil end
   end
   local some = table.concat(list, ", ", 1, math.min(#list, SOME))
   return ('no consumer of a queue "%s"%s'):format(text, some ~= "" and "; there are: " .. some .. (#list > SOME and "..." or "") or "")
end

--- The page.
-- @tparam table query queue, key, headers, body: see monitor_filter
-- @tparam table request of host_pages
function monitor.page(query, request)
   local filter, why = monitor_filter.read(query)
   if not filter then return host_pages.json(400, { error = why }) end
   why = filter.queue and no_such_queue(filter.queue, query.queue)
   if why then return host_pages.json(400, { error = why }) end
   if #clients == MOST then return host_pages.json(503, { error = ("there are %d monitors already"):format(MOST) }) end
   log.info("monitored by console", { queue = query.queue and redact(query.queue), key = query.key and redact(query.key),
      headers = filter.headers or nil, body = filter.body, uid = request.uid, pid = request.pid })
   if add(filter, request) then return nil end
   return host_pages.json(503, { error = "out of memory" })
end

--- The number of clients.
function monitor.count() return #clients end

loop.on_close(function()
   if clients[1] then watch(false) end
   clients, has_failed = {}, false -- their pipes end with the runtime
end)

return monitor

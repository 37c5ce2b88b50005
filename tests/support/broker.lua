--- broker: what contract specs need of the broker they run against, and of time.
-- SPDX-License-Identifier: MIT
--
-- MR_BROKER says which: "rabbitmq" (the private one; default), "memory" (memory://, and the same broker on
-- a port for those who need one), "tcp" or "tls" (`moonrabbit broker`, at MR_BROKER_URL), "redis" (the private one).
local differences = require "redis_differences"
local mr = require "moonrabbit"
local shell = require "shell"
local waits = require "waits"

local broker = { eventually = waits.eventually, shell = shell }

local function env(name)
   return os.getenv(name) or error(name .. " is not set: run the contract tests by tests/run.sh", 2)
end

broker.kind = os.getenv "MR_BROKER" or "rabbitmq"
broker.command = env "MOONRABBIT_COMMAND"
--- Is it RabbitMQ? What only rabbitmqctl can do, or what is RabbitMQ's alone, is for it.
broker.is_rabbitmq = broker.kind == "rabbitmq"
broker.is_redis = broker.kind == "redis"

local handle -- of the embedded broker in this process
if broker.is_rabbitmq then
   broker.url, broker.port = env "MR_RABBITMQ_URL", tonumber(env "MR_RABBITMQ_PORT")
elseif broker.is_redis then
   broker.url = env "MR_REDIS_URL"
elseif broker.kind == "memory" then
   handle = assert(mr.testing.broker { name = "contract", listen = "127.0.0.1:0" })
   broker.url, broker.port = handle.url, handle.port
else
   broker.url, broker.port = env "MR_BROKER_URL", tonumber(env "MR_BROKER_PORT")
end
--- For what needs a port of its own to be named: the same broker by TCP.
broker.tcp_url = handle and ("amqp://guest:guest@127.0.0.1:%d/"):format(broker.port) or broker.url
--- Can this suite look into the broker and make it do things?
broker.is_open_to_us = broker.is_rabbitmq or handle ~= nil

--- A test for those brokers that can be looked into.
function broker.it_inside(it, name, fn)
   if broker.is_open_to_us then it(name, fn) end
end

--- What marks the connections of this process at the broker.
broker.mark = ("spec-%d-"):format(os.time()) .. tostring({}):sub(8)

local opened, scripts = {}, {}

--- Connects, with more options than the URL; closed by broker.close_all.
function broker.connect(options)
   local all = { url = broker.url }
   for k, v in pairs(options or {}) do all[k] = v end
   local client_properties = { spec = broker.mark }
   for k, v in pairs(all.client_properties or {}) do client_properties[k] = v end
   all.client_properties = client_properties
   local conn = mr.connect(all)
   opened[#opened + 1] = conn
   return conn
end

--- A channel on a connection of its own.
function broker.channel(options)
   return assert(broker.connect(options):channel())
end

--- A queue of the channel's connection.
function broker.queue(ch, arguments)
   return assert(ch:queue_declare { queue = broker.name "queue", exclusive = true, arguments = arguments }).queue
end

--- A channel in confirm mode (what is published has reached its queue), and a queue of its connection.
function broker.confirming(arguments)
   local ch = broker.channel()
   local q = broker.queue(ch, arguments)
   assert(ch:confirm_select())
   return ch, q
end

--- How many messages a queue has that are ready.
function broker.count(ch, queue)
   return assert(ch:queue_declare { queue = queue, passive = true }).message_count
end

local users = {}
local blocked = false -- did a test make the broker block publishers?

--- Closes what broker.connect opened, removes the scripts and the users, and lets the broker take publishes again.
function broker.close_all()
   for _, conn in ipairs(opened) do conn:release() end
   for _, path in ipairs(scripts) do os.remove(path) end
   for _, name in ipairs(users) do broker.ctl("-q delete_user " .. name) end
   opened, scripts, users = {}, {}, {}
   if blocked then broker.block(false) end
end

local count = 0
--- A name that no other test uses.
function broker.name(what)
   count = count + 1
   return ("%s-%d-%d"):format(what, os.time(), count) .. tostring({}):sub(8)
end

--- A test that is about RabbitMQ.
function broker.it_rabbitmq(it, name, fn)
   if broker.is_rabbitmq then it(name, fn) end
end

--- A test that needs a port without TLS.
function broker.it_plain(it, name, fn)
   if broker.port and broker.kind ~= "tls" then it(name, fn) end
end

--- A test, or a describe, that is left out on redis:// for a reason of redis_differences; not if that is false.
-- @tparam function it busted's, or its describe, which only a spec sees
function broker.unless_redis(it, reason, name, fn)
   assert(not reason or differences[reason], reason)
   if not (reason and broker.is_redis) then it(name, fn) end
end

--- rabbitmqctl of the private broker.
function broker.ctl(arguments)
   assert(broker.is_rabbitmq, "rabbitmqctl is RabbitMQ's alone")
   return broker.shell(("sh %s ctl %s %s"):format(env "MR_RABBITMQ_SH", env "MR_RABBITMQ_DIR", arguments))
end

--- A connection of a user that lives until close_all. RabbitMQ only.
-- @tparam string permissions patterns in quotes, for the shell: configure, write, read
function broker.connect_user(permissions)
   local name = broker.name "modest"
   users[#users + 1] = name
   broker.ctl("-q add_user " .. name .. " secret")
   broker.ctl("-q set_permissions " .. name .. " " .. permissions)
   return broker.connect { url = ("amqp://%s:secret@127.0.0.1:%d/"):format(name, broker.port) }
end

--- What the broker says of our connections: a list of {timeout, client_properties as text or table}.
function broker.connections()
   if handle then return handle:report().connections end
   local list = {}
   for line in broker.ctl("list_connections -q timeout client_properties"):gmatch "[^\n]+" do
      local timeout, properties = line:match "^(%d+)\t(.*)"
      if timeout then list[#list + 1] = { timeout = tonumber(timeout), client_properties = properties } end
   end
   return list
end

local function as_text(t)
   if type(t) ~= "table" then return tostring(t) end
   local all = {}
   for k, v in pairs(t) do all[#all + 1] = ('{"%s",%s}'):format(k, type(v) == "string" and '"' .. v .. '"' or as_text(v)) end
   return table.concat(all, ",")
end

--- The connection whose client says `text` of itself, or nil.
function broker.connection_with(text)
   for _, c in ipairs(broker.connections()) do
      local properties = as_text(c.client_properties)
      if properties:find(text, 1, true) then return c, properties end
   end
end

--- A time among headers, in seconds. On Redis it is text, of UTC.
function broker.seconds(time)
   if not broker.is_redis then return tonumber(time.value) end
   local year, month, day, hour, min, sec = time:match "^(%d+)%-(%d+)%-(%d+)T(%d+):(%d+):(%d+)$"
   local here = os.time { year = year, month = month, day = day, hour = hour, min = min, sec = sec, isdst = false }
   return here + os.difftime(here, os.time(os.date("!*t", here)))
end

--- Makes the broker close every connection (320); of Redis, those of all processes to it, which ends ours so.
function broker.close_connections(reason)
   if broker.is_redis then
      for _, kind in ipairs { "normal", "pubsub" } do
         assert(0 == select(2, broker.shell(("redis-cli -s %s client kill type %s"):format(env "MR_REDIS_SOCKET", kind))))
      end
   elseif handle then
      handle:close_connections(320, "CONNECTION_FORCED - " .. reason)
   else
      broker.ctl("close_all_connections " .. reason)
   end
end

local is_blocking = false -- is a rabbitmqctl under way for it?

--- Makes the broker block publishers, or unblocks them. Of two calls at once the later one holds in the end: a
--- rabbitmqctl takes seconds on a busy machine, and a broker that stays blocked fails all tests that come after.
function broker.block(on)
   broker.eventually("the end of the call before", function() return not is_blocking end, 150)
   if on == blocked then return end
   blocked = on
   if handle then return handle:block(on) end
   is_blocking = true
   local is_done, out, code = pcall(broker.ctl, "set_vm_memory_high_watermark " .. (on and "absolute 1MB" or "0.4"))
   is_blocking = false
   assert(is_done and code == 0, out)
end

--- Takes the next message of a queue, waiting until there is one; settled unless `options` says otherwise.
function broker.take(ch, queue, options)
   return broker.eventually("a message of " .. queue, function()
      local msg, err = ch:get(queue, options or { no_ack = true })
      if not msg and err.kind ~= "empty" then error(tostring(err), 0) end
      return msg
   end)
end

--- Runs fn with the log off, for what is meant to go wrong.
function broker.quietly(fn)
   mr.log.configure "off"
   local ok, why = pcall(fn)
   mr.log.configure "warn"
   if not ok then error(why, 0) end
end

--- Fails when the broker still has a connection of this process. (Other processes may have theirs.)
function broker.none_left()
   broker.close_all()
   if not broker.is_open_to_us then return end
   broker.eventually("no connection at the broker", function() return not broker.connection_with(broker.mark) end)
end

--- A script on disk for the command; returns its path.
function broker.script(text)
   local path = os.tmpname()
   local f = assert(io.open(path, "w"))
   f:write(text)
   f:close()
   scripts[#scripts + 1] = path
   return path
end

return broker

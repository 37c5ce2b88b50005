--- control: what a console changes in the running program. Each change is a line of the log, with who made it.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local connection = require "moonrabbit.connection.connection"
local each = require "moonrabbit.base.each"
local lifecycle = require "moonrabbit.consumer.lifecycle"
local log = require "moonrabbit.loop.log"
local quiet = require "moonrabbit.program.quiet"
local shutdown = require "moonrabbit.program.shutdown"
local subscription = require "moonrabbit.channel.subscription"

local control = {}

local QUIETER = { off = true, error = true, warn = true } -- levels at which a change is not logged

local actions = {}

--- Adds an action, or replaces it.
-- @tparam string name
-- @tparam function fn fn(request) -> text, or nil and what is wrong. request: the client's arguments, strings. It may wait
function control.add(name, fn) actions[name] = fn end

--- The names of the actions.
-- @treturn table sorted
function control.names()
   local list = {}
   for name in each(actions) do list[#list + 1] = name end
   table.sort(list)
   return list
end

-- The consumers that a name means: that of a consumer, its tag, or its queue. Those of mr.consumer stand for the ones below them.
local function named(name)
   local list = {}
   for _, worker in ipairs(lifecycle.list()) do
      if worker.name == name or worker.tag == name or worker.queue == name then list[#list + 1] = worker end
   end
   subscription.each(function(c)
      local is_free = not c.owner and not c.is_service and not c.is_exit
      if is_free and (c.tag == name or c.queue == name) then list[#list + 1] = c end
   end)
   return list
end

local function each_named(request, fn)
   if not request.consumer then return nil, "which consumer? Give its name, its tag or its queue" end
   local list = named(request.consumer)
   if not list[1] then return nil, ('no consumer "%s": by its name, its tag or its queue'):format(request.consumer) end
   local told = {}
   for _, consumer in ipairs(list) do
      local text, why = fn(consumer)
      if not text then return nil, why end
      told[#told + 1] = text
   end
   return table.concat(told, "\n")
end

local function label(consumer) return ("%s of %q"):format(consumer.name or consumer.tag, consumer.queue) end

control.add("pause", function(request)
   return each_named(request, function(consumer)
      quiet.pause(consumer, true)
      return "paused: " .. label(consumer)
   end)
end)

control.add("resume", function(request)
   return each_named(request, function(consumer)
      quiet.pause(consumer, false)
      return "consuming again: " .. label(consumer)
   end)
end)

control.add("cancel", function(request)
   return each_named(request, function(consumer)
      consumer:cancel()
      return "cancelled: " .. label(consumer)
   end)
end)

local function whole(request, what)
   local n = tonumber(request.number)
   if n and n >= 1 and n <= 65535 and n % 1 == 0 then return n end
   return nil, ("the %s is a whole number from 1 to 65535"):format(what)
end

-- Sets an option of a consumer of mr.consumer for its next start. The script may have given several the same table.
local function set_option(consumer, name, n)
   if not consumer.options then return end
   local copy = {}
   for key, v in each(consumer.options) do copy[key] = v end
   copy[name] = n
   consumer.options = copy
end

-- The broker heeds it when a consumer begins: it begins anew, and is away for a moment.
local function set_prefetch(consumer, n)
   local is_begun = false
   if consumer.channel then
      local ok, err = consumer.channel:qos { prefetch_count = n + (consumer.room or 0) }
      if not ok then return nil, tostring(err) end
      if consumer.options and not consumer.options.concurrency and consumer.room > 0 then subscription.limit(consumer.inner, n) end
      is_begun = quiet.renew(consumer)
   elseif not consumer.options then
      return nil, label(consumer) .. " does not consume at the moment"
   end
   set_option(consumer, "prefetch", n)
   return ("prefetch %d: %s%s"):format(n, label(consumer), is_begun and "" or "; it holds from its next start on")
end

control.add("prefetch", function(request)
   local n, why = whole(request, "prefetch")
   if not n then return nil, why end
   return each_named(request, function(consumer) return set_prefetch(consumer, n) end)
end)

control.add("concurrency", function(request)
   local n, why = whole(request, "concurrency")
   if not n then return nil, why end
   return each_named(request, function(consumer)
      local inner = consumer.inner or not consumer.options and consumer
      if inner and inner.is_iterating then return nil, label(consumer) .. " has no handlers: a loop takes its messages" end
      if inner then subscription.limit(inner, n) end
      set_option(consumer, "concurrency", n)
      return ("concurrency %d: %s"):format(n, label(consumer))
   end)
end)

control.add("log", function(request)
   if not request.level then return nil, "which level? off, error, warn, info or debug" end
   local text = "log level " .. request.level
   if QUIETER[request.level] then request.note(text) end -- while such a line is still written
   local ok, why = pcall(log.configure, request.level)
   if not ok then return nil, tostring(why):gsub("^[^:]*:%d+: ", "") end
   return text
end)

control.add("reconnect", function()
   local count = 0
   connection.each(function(conn)
      if conn.state ~= "retrying" then return end
      count = count + 1
      C.mr_connection_retry(conn.handle, 0)
   end)
   return count == 0 and "no connection waits for its next try" or ("connecting now: %d"):format(count)
end)

control.add("quiet", function(request)
   quiet.set(request.off == nil)
   return request.off == nil and "taking no more messages" or "taking messages again"
end)

local function stop()
   shutdown.ask()
   return "stopping: handlers at work finish first"
end

control.add("stop", stop)
control.add("drain", stop)

-- One line of the log, with who made the change.
local function noter(name, request)
   local has_noted = false
   return function(text)
      if has_noted then return end
      has_noted = true
      local fields = { action = name, consumer = request.consumer, result = text, uid = request.uid, pid = request.pid }
      log.info(request.uid and "changed by console" or "changed by page", fields)
   end
end

--- Does an action and logs it.
-- @tparam string name
-- @tparam table request strings; uid and pid of the console's client are numbers; without them it is the page for browsers
-- @treturn[1] string what was done
-- @treturn[2] nil, string what is wrong
function control.run(name, request)
   local fn = actions[name]
   if not fn then return nil, ('no action "%s"; there are: %s'):format(tostring(name), table.concat(control.names(), ", ")) end
   request.note = noter(name, request)
   local text, why = fn(request)
   if not text then return nil, why end
   request.note(text)
   return text
end

return control

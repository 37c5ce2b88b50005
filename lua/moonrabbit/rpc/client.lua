--- client: remote calls: sends a request and waits for the answer, over RabbitMQ's direct reply-to.
-- SPDX-License-Identifier: MIT
-- A client is one channel of a connection: it sends all requests and receives all answers.
local C = require("moonrabbit.base.ffi").C
local body_of = require "moonrabbit.base.body"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local home = require "moonrabbit.connection.default"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local server = require "moonrabbit.rpc.server"
local task = require "moonrabbit.loop.task"

local rpc = { serve = server.serve }

local REPLY_TO = "amq.rabbitmq.reply-to"
local KIND, CODE = server.KIND, server.CODE
local PATIENCE = 10 -- seconds for an answer

-- The server's answer: a value, or an error.
local function read(msg)
   local kind = msg.headers[KIND]
   if kind then return nil, errors.remote(tostring(kind), msg.body, tonumber(msg.headers[CODE])) end
   return msg:decode()
end

local function on_answer(client, msg)
   local id = msg.properties.correlation_id
   local call = id and client.waiting[id]
   if not call then return end -- too late: the call has ended
   client.waiting[id] = nil
   call.result, call.err = read(msg)
   call.has_ended = true
   task.wake(call.token, true)
end

-- Ends the open requests: they will not be answered any more.
local function on_away(client, why)
   local waiting = client.waiting
   client.waiting = {}
   for _, call in each(waiting) do
      call.err = errors.new("lost", "message", "the connection went before the answer came: " .. why.text)
      call.has_ended = true
      task.wake(call.token, true)
   end
end

-- Returns a function that is true when all calls that wait now have ended.
local function pending(client)
   local calls = {}
   for _, call in each(client.waiting) do calls[#calls + 1] = call end
   return function()
      for _, call in ipairs(calls) do
         if not call.has_ended then return false end
      end
      return true
   end
end

-- The broker refused or lost the request: ends the call without an answer.
local function on_end(ticket, state)
   if state ~= "acked" then task.wake(ticket.call.token, true) end
end

local function open(client, conn)
   local ch, ok, consumer, err
   ch, err = conn:channel()
   if not ch then return nil, err end
   ok, err = ch:confirm_select()
   if ch.book then ch.book.keeps = nil end -- `republish` must not make a call that was reported as lost
   if ok then consumer, err = ch:consume(REPLY_TO, function(msg) on_answer(client, msg) end, { no_ack = true }) end
   if not consumer then
      ch:close()
      return nil, err
   end
   consumer.is_service = true
   if consumer.is_holding then -- answers that no call waits for do not keep the program running
      consumer.is_holding, loop.holds = false, loop.holds - 1
   end
   ch.on_away = function(why) on_away(client, why) end
   ch.pending = function() return pending(client) end
   client.channel, client.consumer = ch, consumer
   return true
end

local function is_ready(client)
   local state = client.consumer and client.consumer.state
   return state == "consuming" and client.channel.handle ~= nil or state == "recovering"
end

-- Opens it, and resumes all tasks that wait for it.
local function reopen(client, conn)
   client.openers, client.err = {}, nil
   task.background(function()
      if client.channel then client.channel:close() end
      local ok, err = open(client, conn)
      local openers = client.openers
      client.openers, client.err = nil, not ok and err or nil
      for _, token in ipairs(openers) do task.wake(token, true) end
   end)
end

-- The client of a connection, opened at the first call.
local function client_of(conn, deadline)
   local client = conn.rpc_client or { waiting = {}, count = 0 }
   conn.rpc_client = client
   while not is_ready(client) do
      if not client.openers then reopen(client, conn) end
      if client.openers then -- unless it has failed at once
         if not loop.wait_in(client.openers, math.max(deadline - C.mr_now(), 0)) then
            return nil, errors.new("timeout", "message", "no channel for the request in time",
               "nothing was sent: is the broker there?")
         end
      end
      if client.err then return nil, client.err end
   end
   return client
end

local function await(client, call, id, deadline)
   local function forget() client.waiting[id], call.has_ended = nil, true end
   while not call.has_ended do
      local state = call.ticket.state
      local is_refused = state ~= "waiting" and state ~= "acked"
      if is_refused or not loop.wait(call.token, deadline - C.mr_now(), nil, forget) and not call.has_ended then
         forget()
         if is_refused then return call.ticket:wait() end
         return nil, errors.new("timeout", "message", "no answer in time",
            "is a server consuming that queue, and is the timeout long enough? It may still handle the request")
      end
   end
   return call.result, call.err
end

local CALL = { timeout = "number", connection = "table", serializer = "string", properties = "table" }
local TARGET = { exchange = "string", routing_key = "string" }

--- Sends a request and waits for the answer. Many calls may wait concurrently; they share one channel.
-- @tparam string|table to the server's queue, or {exchange=, routing_key=}
-- @param body a string is sent unchanged, a table, number or boolean as JSON
-- @tparam[opt] table opts timeout=10 (seconds in total; the request expires with it), connection (the connection to
-- use; default: the program's own), serializer ("json" or "raw"; default: strings unchanged, other values as JSON),
-- properties (as of publish: headers, priority...; default: none)
-- @treturn[1] any the answer: a string, or the decoded JSON
-- @treturn[2] nil, error of the server: its kind and text, with scope "remote"
-- @treturn[3] nil, error of kind returned (the queue does not exist), timeout, lost (the connection was lost), nacked...
function rpc.call(to, body, opts)
   opts = options.check(opts, CALL)
   options.seconds("timeout", opts.timeout)
   if opts.connection then home.check('option "connection"', opts.connection) end
   if type(to) == "string" then to = { exchange = "", routing_key = to } end
   if type(to) ~= "table" then options.blame("a call goes to a queue's name or to {exchange=, routing_key=}") end
   options.check(to, TARGET, { "routing_key" })
   body_of.check(opts.serializer)
   local text, kind = body_of.encode(body, opts.serializer)
   if not text then options.blame(kind) end
   task.check()
   local conn = home.connection(opts.connection)
   local deadline = C.mr_now() + (opts.timeout or PATIENCE)
   local client, err = client_of(conn, deadline)
   if not client then return nil, err end
   client.count = client.count + 1
   local id = tostring(client.count)
   local left = math.max(deadline - C.mr_now(), 0.001)
   local props = merged({ content_type = kind, persistent = false }, opts.properties)
   props.reply_to, props.correlation_id, props.mandatory, props.timeout = REPLY_TO, id, true, left
   props.expiration = props.expiration or ("%d"):format(math.ceil(left * 1000))
   local ticket
   ticket, err = client.channel:publish_async(to.exchange or "", to.routing_key, text, props)
   if not ticket then return nil, err end
   local call = { token = task.token(), ticket = ticket }
   ticket.call, ticket.on_end = call, on_end
   client.waiting[id] = call
   return await(client, call, id, deadline)
end

return rpc

--- server: answers the requests in a queue.
-- SPDX-License-Identifier: MIT
-- An error answer has the error's kind in the header x-mr-error; its body is the text.
local C = require("moonrabbit.base.ffi").C
local body_of = require "moonrabbit.base.body"
local errors = require "moonrabbit.base.errors"
local generation = require "moonrabbit.loop.generation"
local home = require "moonrabbit.connection.default"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local message = require "moonrabbit.channel.message"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"

local KIND, CODE = "x-mr-error", "x-mr-code"
local rpc_server = { KIND = KIND, CODE = CODE }

local CLOSING = 30  -- seconds for handlers when a server closes

local Server = { __name = "moonrabbit.rpc_server.server" }
Server.__index = Server
function Server.__tostring(s)
   return ("rpc server of %q (%s)"):format(s.queue, s.consumer and s.consumer.state or "not started")
end

-- An error as an answer: its text, and headers.
local function refuse(err)
   if type(err) ~= "table" then err = { text = err } end
   return errors.words(err.text or err.kind and "the server failed" or err), "text/plain",
      { [KIND] = tostring(err.kind or "remote"), [CODE] = tonumber(err.code) }
end

-- The text, its content type and headers of the answer to a request.
local function answer_of(server, msg)
   local request, why = msg:decode()
   if request == nil then return refuse(why) end
   local ok, result, err = xpcall(server.handler, errors.trace, request, msg)
   if not ok then
      local message_id, correlation_id = message.ids(msg)
      log.error("rpc handler failed", { queue = server.queue, message_id = message_id, correlation_id = correlation_id,
         error = result })
      return refuse { kind = "internal_error", text = tostring(result):match "^[^\n]*" }
   end
   if result == nil and err ~= nil then return refuse(err) end
   if result == nil then result = true end
   local text, kind = body_of.encode(result, server.serializer)
   if text then return text, kind end
   log.error("rpc handler gave what is no answer", { queue = server.queue, error = kind })
   return refuse { kind = "internal_error", text = kind }
end

local function send(server, asked, text, kind, headers)
   return server.channel:publish_async("", asked.reply_to, text, { correlation_id = asked.correlation_id,
      content_type = kind, headers = headers, persistent = false })
end

local function serve(server, msg)
   local asked = msg.properties
   local text, kind, headers = answer_of(server, msg)
   if not asked.reply_to then return end
   local ok, err = send(server, asked, text, kind, headers)
   if not ok and (err.kind == "content_too_large" or err.kind == "bad_argument") then
      ok, err = send(server, asked, refuse(err))
   end
   if not ok then error("the answer could not be sent: " .. tostring(err), 0) end -- the request is requeued
end

local SERVE = { queue = "string", connection = "table", handler = "function", prefetch = "number", concurrency = "number",
   queue_opts = "table", declare = "boolean", serializer = "string" }

local function start(server, opts)
   local ch, err = home.connection(opts.connection):channel()
   if not ch then return nil, err end
   server.channel = ch
   local queue = merged({ durable = true }, opts.queue_opts)
   queue.queue = opts.queue
   local ok = opts.declare == false
   if not ok then ok, err = ch:queue_declare(queue) end
   if ok then ok, err = ch:qos { prefetch_count = opts.prefetch or 100 } end
   if ok then
      server.consumer, err = ch:consume(opts.queue, function(msg) serve(server, msg) end, { concurrency = opts.concurrency })
   end
   if server.consumer then
      server.consumer.owner = { options = opts } -- reports name the program's handler
      log.info("serving", { queue = opts.queue, tag = server.consumer.tag })
      return server
   end
   ch:close()
   return nil, err
end

--- Answers the requests in a queue. A request is acked after its answer was sent. If the connection is lost before the ack,
-- the request is delivered again: a handler must tolerate the same request twice. The handler gets the decoded body, and
-- returns the answer (nothing: true), or nil and an error: a text, or a table with kind and text. An error that it raises is
-- logged, and the caller gets internal_error.
-- @tparam table opts queue (required; its name), handler (required; function(request, msg)), connection (the
-- connection to use; default: the program's own),
-- prefetch=100 (maximum number of unsettled requests), concurrency (maximum number of concurrent handlers; default: the
-- prefetch), queue_opts (as of queue_declare; default: durable), declare=true (false: the queue exists), serializer (of
-- answers, "json" or "raw"; default: strings unchanged, other values as JSON)
-- @treturn[1] server fields queue, channel, consumer; method close
-- @treturn[2] nil, error
function rpc_server.serve(opts)
   opts = options.check(opts, SERVE, { "queue", "handler" })
   options.whole("prefetch", opts.prefetch, 0, 65535)
   options.whole("concurrency", opts.concurrency, 1, 65535)
   body_of.check(opts.serializer)
   if opts.connection then home.check('option "connection"', opts.connection) end
   local server = setmetatable({ queue = opts.queue, handler = opts.handler, serializer = opts.serializer }, Server)
   generation.own(server, function() task.background(Server.close, server) end)
   if not generation.is_staging() then return start(server, opts) end
   -- After a reload it starts when the old one has stopped, so that no request is lost.
   generation.later(function()
      local ok, err = start(server, opts)
      if not ok then log.error("rpc server not started", { queue = opts.queue, error = tostring(err) }) end
   end)
   return server
end

--- Accepts no more requests, waits for running handlers, and closes its channel.
-- @tparam[opt] table opts timeout=30 (seconds for the handlers)
-- @treturn[1] true
-- @treturn[2] nil, error of kind timeout: some handlers did not finish, their requests go back to the queue
function Server:close(opts)
   opts = options.check(opts, { timeout = "number" })
   options.seconds("timeout", opts.timeout)
   if self.consumer then task.check() end
   generation.disown(self)
   if not self.consumer then return true end
   local deadline = C.mr_now() + (opts.timeout or CLOSING)
   self.consumer:cancel()
   while self.consumer.running > 0 and C.mr_now() < deadline do loop.sleep(0.01) end
   local left = self.consumer.running
   self.channel:close()
   if left == 0 then return true end
   return nil, errors.new("timeout", "channel", ("%d handlers had not answered yet"):format(left),
      "give them more time: what they answer now is lost")
end

return rpc_server

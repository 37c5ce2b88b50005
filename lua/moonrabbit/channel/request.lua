--- request: a channel's requests to the broker, and their errors.
-- SPDX-License-Identifier: MIT
local bit = require "bit"
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"
local value = require "moonrabbit.base.value"
local way = require "moonrabbit.channel.way"

local asking = {}

local CLOSED = errors.numbers.closed

local request_box = ffi.new "mr_request"
local error_box = ffi.new "mr_error"
local TOO_LONG = "a name or routing key is longer than 255 bytes"

-- The error of a call on a channel that is not open: the original reason if there is one.
function asking.refusal(self, status)
   if status == CLOSED then
      if self.err then return self.err end
      if self.handle and C.mr_channel_error(self.handle, error_box) ~= 0 then return errors.of_c(error_box) end
   end
   return errors.of_status(status, "channel", status == errors.numbers.bad_argument and TOO_LONG or nil)
end

local FLAGS = {
   passive = C.MR_PASSIVE, durable = C.MR_DURABLE, exclusive = C.MR_EXCLUSIVE, auto_delete = C.MR_AUTO_DELETE,
   internal = C.MR_INTERNAL, if_unused = C.MR_IF_UNUSED, if_empty = C.MR_IF_EMPTY, no_ack = C.MR_NO_ACK,
   global = C.MR_GLOBAL, requeue = C.MR_REQUEUE, unrecorded = C.MR_UNRECORDED, asking = C.MR_ASKING,
}

local function set(slot, text)
   slot.data, slot.size = text, #text
end

--- The options of a method that sends a request: `spec`, and a timeout.
function asking.spec(spec)
   spec.timeout = "number"
   return spec
end

--- The result of a request without further data: true, or nil and the error.
function asking.done(reply, err)
   if reply then return true end
   return nil, err
end

local PATIENCE = 10 -- seconds to wait for a suspended channel

-- Fills the C request; the caller owns its table until it is sent.
local function fill(operation, opts, name, extra, key, number)
   local r = request_box
   r.operation, r.flags, r.number, r.timeout = operation, 0, number or 0, opts.timeout or 0
   for flag, bits in each(FLAGS) do
      if opts[flag] then r.flags = bit.bor(r.flags, bits) end
   end
   set(r.name, name or "")
   set(r.extra, extra or "")
   set(r.routing_key, key or "")
   r.arguments = opts.arguments and value.encode(opts.arguments) or nil
   return r
end

local function send(self, token, ...)
   local r = fill(...)
   local status = C.mr_channel_request(self.handle, token, r)
   if status ~= 0 and r.arguments ~= nil then C.mr_table_free(r.arguments) end
   return status
end

local witness -- for lint

--- Calls fn(operation, options, name, extra, key) before each request; nil: none.
function asking.hear(fn) witness = fn end

--- Sends a request and waits for the answer. If the channel is lost with its connection, it first waits for the recovery.
function asking.ask(self, operation, opts, name, extra, key, number)
   if not self.handle then return nil, asking.refusal(self, CLOSED) end
   options.seconds("timeout", opts.timeout)
   time_limit.heed()
   if witness then witness(operation, opts, name, extra, key) end
   local deadline = C.mr_now() + (opts.timeout or PATIENCE)
   local token = task.token()
   local status = send(self, token, operation, opts, name, extra, key, number)
   while status == CLOSED and self.handle and C.mr_channel_is_suspended(self.handle) do
      if not way.wait(self.connection, deadline - C.mr_now()) then break end
      if not self.handle then break end
      status = send(self, token, operation, opts, name, extra, key, number)
   end
   if status ~= 0 then return nil, asking.refusal(self, status) end
   local reply = task.wait(token)
   if not reply.err then return reply end
   -- The channel had ended before the request was sent, and the host had not heard of it: it knows why by now.
   return nil, reply.err.kind == "closed" and asking.refusal(self, CLOSED) or reply.err
end

return asking

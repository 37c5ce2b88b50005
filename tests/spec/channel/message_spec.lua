--- message: reading and settling, on deliveries made here and with a C library that only notes calls.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local lib = require "moonrabbit.base.ffi"
local value = require "moonrabbit.base.value"

local calls, status                -- what was asked of C, and what it answers
local fake = setmetatable({
   mr_delivery_settle = function(_, d, how, flags)
      calls[#calls + 1] = { how, flags }
      if bit.band(flags, 4) ~= 0 then d.generation = d.generation + 1 end
      return status
   end,
   mr_delivery_release = function(_, d)
      calls[#calls + 1] = "release"
      d.generation = d.generation + 1
   end,
   mr_delivery_is_live = function() return true end,
}, { __index = lib.C })

package.loaded["moonrabbit.base.ffi"] = { C = fake, version = lib.version }
for _, name in ipairs { "loop.loop", "channel.message", "redelivery.message" } do package.loaded["moonrabbit." .. name] = nil end
local message = require "moonrabbit.channel.message"
require("moonrabbit.base.install")(message.methods, require("moonrabbit.redelivery.message").methods, "reply")
package.loaded["moonrabbit.base.ffi"] = lib

local ACK, NACK, REJECT = 0, 1, 2
local MULTIPLE, REQUEUE, RELEASE = 1, 2, 4
local keep = {}                    -- what deliveries point to

local function encoded(props)
   local properties = require "moonrabbit.base.properties"
   local buffer, size = properties.encode(props)
   return ffi.string(buffer, size)
end

local function delivery(of)
   local d = ffi.new "mr_delivery"
   local texts = { body = of.body or "the body", exchange = of.exchange or "ex", routing_key = of.routing_key or "key",
      consumer_tag = of.consumer_tag or "tag", properties = encoded(of.props or {}) }
   keep[#keep + 1] = texts
   for name, text in pairs(texts) do
      d[name] = text
      d[name .. "_size"] = #text
   end
   d.tag, d.generation, d.flags, d.message_count = of.tag or 7, 1, of.flags or 0, of.message_count or 0
   return d
end

local function recycle(d) -- as C does when the memory is used for the next message
   d.generation = d.generation + 1
   d.body, d.body_size = "another's", 9
end

describe("a message", function()
   local channel = { published = {} }
   function channel:publish(...)
      self.published = { ... }
      return true
   end

   before_each(function()
      calls, status, keep = {}, 0, {}
      channel.settled_below = nil
   end)

   it("shows what came", function()
      local msg = message.new(delivery { body = "a\0b", props = { content_type = "text/plain", headers = { n = 1 } } }, channel)
      assert.same({ "a\0b", "ex", "key", "tag", 7, false }, { msg.body, msg.exchange, msg.routing_key, msg.consumer_tag,
         msg.delivery_tag, msg.redelivered })
      assert.equal("text/plain", msg.properties.content_type)
      assert.equal(2, msg.properties.delivery_mode)
      assert.same({ n = 1 }, msg.headers)
      assert.equal(channel, msg.channel)
      assert.is_true(msg.is_live)
      assert.is_nil(msg.reply_code)
      assert.is_truthy(tostring(msg):find('exchange "ex", routing key "key", 3 bytes', 1, true))
   end)

   it("gives the start of its body, with its size, before and after it is settled", function()
      for _, is_standing in ipairs { false, true } do
         local msg = message.new(delivery { body = "a\0bc" }, channel, is_standing)
         assert.same({ "a\0", 4 }, { message.start(msg, 2) })
         assert.same({ "", 4 }, { message.start(msg, 0) })
         assert.is_false(rawget(msg, 3)) -- it was not copied as a whole
         assert.is_true(msg:ack())
         assert.same({ "a\0bc", 4 }, { message.start(msg, 9) })
      end
   end)

   it("has each of the 14 properties as a field, before and after it is settled (FIELD-W40)", function()
      local props = { content_type = "a/b", content_encoding = "gzip", correlation_id = "c-1", reply_to = "r", expiration = "60000",
         message_id = "m-1", type = "order", user_id = "guest", app_id = "app", cluster_id = "cl", delivery_mode = 1, priority = 3,
         timestamp = 1700000000, headers = { n = 1 } }
      for _, is_standing in ipairs { false, true } do
         local msg = message.new(delivery { props = props }, channel, is_standing)
         if is_standing then assert.is_true(msg:ack()) end
         for name, wanted in pairs(props) do assert.same(wanted, msg[name], name) end
      end
      local bare = message.new(delivery {}, channel)
      for name in pairs(props) do
         if name ~= "headers" and name ~= "delivery_mode" then assert.is_nil(bare[name], name) end
      end
   end)

   it("raises for a field that there is not, with the line and the nearest name (FIELD-W40)", function()
      local msg = message.new(delivery {}, channel)
      for name, wanted in pairs { mesage_id = "message_id", payload = "body", tag = "delivery_tag", acknowledge = "ack", id = "message_id",
         key = "routing_key", routing_ky = "routing_key", rejct = "reject" } do
         local line = debug.getinfo(1, "l").currentline + 1
         local ok, why = pcall(function() return msg[name] end)
         assert.is_false(ok)
         assert.equal(('message_spec.lua:%d: a message has no field "%s": did you mean "%s"?'):format(line, name, wanted),
            why:match "message_spec.*")
      end
      local _, why = pcall(function() return msg.wwwwwwwwwwwwww end)
      assert.truthy(why:find("known are ack, ", 1, true))
      _, why = pcall(function() return msg[99] end)
      assert.truthy(why:find('has no field "99"', 1, true))
   end)

   it("lets a program keep a field of its own by rawset, and look for it by rawget (FIELD-W40)", function()
      local msg = message.new(delivery {}, channel)
      assert.is_nil(rawget(msg, "user"))
      rawset(msg, "user", "ada")
      assert.equal("ada", msg.user)
      assert.has_error(function() msg.other = 1 end)
   end)

   it("has headers even when none came, and an empty body", function()
      local msg = message.new(delivery { body = "" }, channel)
      assert.same({}, msg.headers)
      assert.equal("", msg.body)
      assert.is_nil(msg.properties.content_type)
   end)

   it("gives the same properties each time", function()
      local msg = message.new(delivery { props = { headers = { a = {} } } }, channel)
      assert.equal(msg.properties, msg.properties)
      assert.equal(msg.headers, msg.headers)
   end)

   it("counts its deliveries as far as that is known", function()
      assert.equal(0, message.new(delivery {}, channel).delivery_count)
      assert.is_nil(message.new(delivery { flags = 1 }, channel).delivery_count)
      assert.equal(3, message.new(delivery { flags = 1, props = { headers = { ["x-delivery-count"] = 3 } } }, channel).delivery_count)
   end)

   it("is read-only", function()
      local msg = message.new(delivery {}, channel)
      assert.has_error(function() msg.body = "x" end)
      assert.has_error(function() return msg.nonsense end)
   end)

   it("settles as it is told", function()
      for _, case in ipairs {
         { "ack", nil, ACK, 0 }, { "ack", { multiple = true }, ACK, MULTIPLE }, { "nack", nil, NACK, REQUEUE },
         { "nack", { requeue = false, multiple = true }, NACK, MULTIPLE }, { "reject", nil, REJECT, 0 },
         { "reject", { requeue = true }, REJECT, REQUEUE },
      } do
         calls = {}
         local msg = message.new(delivery {}, {})
         assert.is_true(msg[case[1]](msg, case[2]))
         assert.same({ { case[3], case[4] } }, calls)
      end
   end)

   it("refuses unknown options of settling", function()
      local msg = message.new(delivery {}, channel)
      local ok, why = pcall(function() msg:nack { requeu = true } end)
      assert.is_false(ok)
      assert.is_truthy(why:find('message_spec.lua:%d+: unknown option "requeu": did you mean "requeue"?'))
      assert.same({}, calls)
   end)

   it("passes on why C would not settle", function()
      local errors = require "moonrabbit.base.errors"
      for _, kind in ipairs { "stale", "settled", "forked" } do
         status = errors.numbers[kind]
         local ok, err = message.new(delivery {}, channel):ack()
         assert.is_nil(ok)
         assert.equal(kind, err.kind)
         assert.equal("message", err.scope)
      end
   end)

   it("cannot be settled when it arrived settled", function()
      local ok, err = message.new(delivery { flags = 2 }, channel):ack()
      assert.is_nil(ok)
      assert.equal("settled", err.kind)
      assert.same({}, calls)
   end)

   it("never shows another message's bytes once its memory is used again", function()
      local d = delivery {}
      local msg = message.new(d, channel)
      recycle(d)
      for _, name in ipairs { "body", "routing_key", "exchange", "properties", "headers", "redelivered", "consumer_tag" } do
         local ok, why = pcall(function() return msg[name] end)
         assert.is_false(ok)
         assert.is_truthy(why:find("this message is gone", 1, true))
      end
      assert.is_false(msg.is_live)
      assert.equal("message (gone)", tostring(msg))
      local ok, err = msg:ack()
      assert.is_nil(ok)
      assert.equal("settled", err.kind)
      assert.same({}, calls)
   end)

   it("keeps what was read before", function()
      local d = delivery { props = { message_id = "m" } }
      local msg = message.new(d, channel)
      local body, id = msg.body, msg.properties.message_id
      recycle(d)
      assert.same({ body, id }, { msg.body, msg.properties.message_id })
   end)

   it("copies itself when it is detached, and gives the memory back once", function()
      local d = delivery { flags = 1, message_count = 4, props = { headers = { at = value.timestamp(5) } } }
      local msg = message.new(d, channel)
      message.detach(msg)
      message.detach(msg)
      assert.same({ "release" }, calls)
      recycle(d)
      assert.same({ "the body", "key", true, 4, 7 }, { msg.body, msg.routing_key, msg.redelivered, msg.message_count,
         msg.delivery_tag })
      assert.equal(value.timestamp(5), msg.headers.at)
      assert.is_truthy(tostring(msg):find("8 bytes", 1, true))
      assert.is_false(msg.is_live)
   end)

   it("that stands for itself stays readable after it was settled", function()
      local msg = message.new(delivery { props = { app_id = "a" } }, channel, true)
      assert.is_true(message.is_held(msg))
      assert.is_true(msg:ack())
      assert.same({ { ACK, RELEASE } }, calls)
      assert.is_false(message.is_held(msg))
      assert.same({ "the body", "key", "a" }, { msg.body, msg.routing_key, msg.properties.app_id })
      local ok, err = msg:ack()
      assert.is_nil(ok)
      assert.equal("settled", err.kind)
   end)

   it("that was settled together with a later one is settled", function()
      local ch = {}
      local first, second = message.new(delivery { tag = 1 }, ch), message.new(delivery { tag = 2 }, ch, true)
      local third, fourth = message.new(delivery { tag = 3 }, ch), message.new(delivery { tag = 4 }, ch)
      assert.is_true(third:ack { multiple = true })
      for _, msg in ipairs { first, second } do
         assert.is_false(msg.is_live)
         local ok, err = msg:ack()
         assert.is_nil(ok)
         assert.equal("settled", err.kind)
      end
      assert.same({ { ACK, MULTIPLE }, "release" }, calls) -- the second stood for itself
      assert.equal("the body", second.body)
      assert.is_true(fourth:ack())
   end)

   it("of ours that came back says why", function()
      local msg = message.new(delivery { flags = 8, tag = 0, consumer_tag = "NO_ROUTE", message_count = 312 }, channel)
      message.detach(msg)
      assert.same({ "NO_ROUTE", 312 }, { msg.reply_text, msg.reply_code })
      assert.is_nil(msg.consumer_tag)
      assert.is_nil(msg.message_count)
   end)

   it("does not decode what is compressed, and says so", function()
      local function of(compression, kind)
         return message.new(delivery { body = "[1]", props = { content_type = kind, headers = { compression = compression } } }, channel)
      end
      for _, name in ipairs { "application/x-gzip", "application/x-bz2", "application/x-own", "zlib", "XZ" } do
         for _, kind in ipairs { "application/json", "text/plain" } do
            local msg = of(name, kind)
            local result, err = msg:decode()
            assert.is_nil(result)
            assert.equal("not_implemented", err.kind)
            assert.truthy(err.text:find(name, 1, true), err.text)
            assert.truthy(err.hint:find("msg.body", 1, true), err.hint)
            assert.equal("[1]", msg.body)
         end
      end
      for _, other in ipairs { "none", 5, "" } do assert.same({ 1 }, of(other, "application/json"):decode()) end
   end)

   it("decodes JSON, and nothing that is none", function()
      local function decoded(body, kind)
         return message.new(delivery { body = body, props = { content_type = kind } }, channel):decode()
      end
      assert.same({ a = { 1, 2 } }, decoded('{"a":[1,2]}', "application/json"))
      assert.same({ 1 }, decoded("[1]", "application/problem+json; charset=utf-8"))
      assert.equal("[1]", decoded("[1]", "text/plain"))
      assert.equal("[1]", decoded("[1]"))
      local result, err = decoded("{", "application/json")
      assert.is_nil(result)
      assert.equal("bad_argument", err.kind)
   end)

   it("is answered at its reply_to, with its correlation_id", function()
      local msg = message.new(delivery { props = { reply_to = "back", correlation_id = "7" } }, channel)
      assert.is_true(msg:reply("yes", { content_type = "text/plain" }))
      assert.same({ "", "back", "yes", { correlation_id = "7", content_type = "text/plain" } }, channel.published)
      local ok, err = message.new(delivery {}, channel):reply "no"
      assert.is_nil(ok)
      assert.equal("bad_argument", err.kind)
   end)

   it("of an earlier runtime is gone, its memory untouched", function()
      local msg = message.new(delivery {}, channel)
      require("moonrabbit.loop.loop").close()
      assert.is_false(msg.is_live)
      assert.has_error(function() return msg.body end)
      assert.is_nil((msg:ack()))
   end)
end)

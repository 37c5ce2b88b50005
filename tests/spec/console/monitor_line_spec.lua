--- monitor_line: a settled message as a line of JSON.
-- SPDX-License-Identifier: MIT
local base64 = require "moonrabbit.base.base64"
local json = require "moonrabbit.base.json"
local monitor_line = require "moonrabbit.console.monitor_line"
local value = require "moonrabbit.base.value"

local function message(more)
   local msg = { exchange = "shop", routing_key = "order.new", message_id = "A-17", body = "hello", redelivered = false, attempt = 1,
      headers = {} }
   for name, v in pairs(more or {}) do msg[name] = v end
   return msg
end

local function line(more, filter)
   local msg = message(more)
   local fields = monitor_line.fields(msg, { queue = "orders", time = 12.5, outcome = "ack", seconds = 0.00123456, size = #msg.body })
   filter = filter or {}
   return monitor_line.text(fields, msg, filter, msg.body:sub(1, monitor_line.needed(filter)))
end

describe("a line of a monitor", function()
   it("has its fields in order, and neither headers nor body unless asked for", function()
      assert.equal('{"time":12.5,"queue":"orders","exchange":"shop","routing_key":"order.new","message_id":"A-17","size":5,'
         .. '"redelivered":false,"attempt":1,"outcome":"ack","seconds":0.001235}\n', line())
      local text = line({ headers = { b = 1, a = { "x" } } }, { headers = true, body = 3 })
      assert.truthy(text:find('"headers":{"a":["x"],"b":1},"body":"hel"}\n', 1, true), text)
      assert.truthy(line({}, { headers = true }):find('"headers":{}}\n', 1, true))
   end)

   it("cuts a body between characters, and has base64 of what is no UTF-8", function()
      assert.truthy(line({ body = "gr\195\188n" }, { body = 3 }):find('"body":"gr"}', 1, true))
      assert.truthy(line({ body = "\0\255\1\2" }, { body = 3 }):find('"body_base64":"AP8B"}', 1, true))
      assert.truthy(line({ body = "" }, { body = 3 }):find('"body":""}', 1, true))
      -- Text is text, wherever a long body is cut.
      local long = ("\226\130\172"):rep(2000)
      for size = 1, 9 do
         local shown = json.decode(line({ body = long }, { body = size })).body
         assert.equal(("\226\130\172"):rep(math.floor(size / 3)), shown)
      end
   end)

   it("has no secrets, also where it cuts", function()
      local url = "amqp://u:hunter2@host/"
      for before = 0, 40 do
         local text = line({ body = (" "):rep(before) .. url, message_id = url, routing_key = url, exchange = url,
            headers = { password = "hunter2", url = url, nested = { secret = "hunter2" } } }, { headers = true, body = 20 })
         assert.is_nil(text:find("hunter", 1, true), text)
      end
      assert.is_nil(monitor_line.short(url .. "\nmore"):find "hunter")
      assert.is_nil(monitor_line.short(url .. "\nmore"):find "more")
   end)

   it("has no passwords in base64, nor those whose end is far away", function()
      for before = 0, 40 do
         local body = "\255\0" .. (" "):rep(before) .. "amqp://u:hunter2@host/"
         local shown = base64.decode(json.decode(line({ body = body }, { body = 40 })).body_base64)
         assert.is_nil(shown:find("hunter", 1, true), shown)
         assert.equal("\255\0", shown:sub(1, 2))
      end
      for _, rest in ipairs { "", "@more", " more" } do
         for _, first in ipairs { "", "\255" } do
            local text = line({ body = first .. '{"a":"http://h:80/","url":"amqp://u:' .. ("x"):rep(3000) .. rest }, { body = 64 })
            local entry = json.decode(text)
            local shown = entry.body or base64.decode(entry.body_base64)
            assert.equal(first .. '{"a":"http://h:80/","url":"amqp://u:***', shown)
         end
      end
      assert.equal("a://b:80/x", json.decode(line({ body = "a://b:80/x" }, { body = 64 })).body)
      assert.equal("a://b:80/x", json.decode(line({ body = "a://b:80/x y" .. ("z"):rep(3000) }, { body = 10 })).body)
   end)

   it("is JSON whatever the message has", function()
      local text = line({ message_id = "\255\27", headers = { ["\255"] = "\254", n = 0 / 0, t = value.timestamp(5), null = value.null } },
         { headers = true, body = 1 })
      local headers = json.decode(text).headers
      assert.same({ "nan", 5 }, { headers.n:gsub("^-", ""):lower(), headers.t })
      local broken = setmetatable({}, { __index = function(_, key)
         if key == "message_id" or key == "attempt" or key == "headers" then error "malformed" end
         return message()[key]
      end })
      local fields = monitor_line.fields(broken, { outcome = "ack", time = 1, size = 5 })
      local entry = json.decode(monitor_line.text(fields, broken, { headers = true }, ""))
      assert.same({ "ack", nil, 5 }, { entry.outcome, entry.message_id, entry.size })
   end)
end)

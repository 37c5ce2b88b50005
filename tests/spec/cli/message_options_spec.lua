--- message_options: properties and headers on the command line.
-- SPDX-License-Identifier: MIT
local message_json = require "moonrabbit.cli.message_json"
local message_options = require "moonrabbit.cli.message_options"
local value = require "moonrabbit.base.value"

describe("the options of a message", function()
   it("have types", function()
      local raw = assert(message_options.encode { property = { "content_type=text/plain", "priority=5", "timestamp=1700000000",
         "message_id=a=b" }, header = { "s=text", "e=", "url:string=a:b=c", "i:int=-5", "d:double=2", "t:bool=true", "at:timestamp=7",
         "x:bytes=AP8=", "j:json={\"a\":[1,null]}", "n:null=", "b:b=-3", "u:u=3", "f:f=0.5" } })
      local wanted = { content_type = "text/plain", priority = 5, timestamp = 1700000000, message_id = "a=b", delivery_mode = 2,
         headers = { s = "text", e = "",
         url = "a:b=c", i = value.of_type("l", -5), d = value.of_type("d", 2), t = true, at = value.timestamp(7),
         x = value.bytes "\0\255", j = { a = value.array { value.of_type("l", 1), value.null } }, n = value.null,
         b = value.of_type("b", -3), u = value.of_type("u", 3), f = value.of_type("f", 0.5) } }
      assert.is_true(message_json.is_same(wanted, message_json.properties(raw)))
   end)

   it("are persistent unless they say otherwise", function()
      assert.same({ delivery_mode = 2 }, message_json.properties(message_options.encode {}))
      assert.same({ delivery_mode = 1 }, message_json.properties(message_options.encode { property = { "delivery_mode=1" } }))
   end)

   it("are refused with the option that is wrong", function()
      for _, case in ipairs { { { property = { "colour=red" } }, "colour" }, { { property = { "priority=high" } }, "priority=high" },
         { { property = { "priority" } }, "NAME=VALUE" }, { { header = { "a" } }, "--header a" },
         { { property = { "headers=x" } }, "--header" },
         { { header = { "a:int=x" } }, "a:int=x" }, { { header = { "a:colour=x" } }, 'no type "colour"' },
         { { header = { "a:bool=1" } }, "true or false" }, { { header = { "a:b=300" } }, "" },
         { { header = { "a:bytes=*" } }, "base64" } } do
         local raw, why = message_options.encode(case[1])
         assert.is_nil(raw)
         assert.is_truthy(why:find(case[2], 1, true), why)
      end
   end)
end)

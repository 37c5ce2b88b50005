--- json: numbers come back as they went, and the script's cjson is its own.
-- Covers: lua/moonrabbit/base/json_grammar.lua by hexadecimal
local ffi = require "ffi"
local each = require "moonrabbit.base.each"
local cjson = require "cjson"
local comma = require "comma"
local mr = require "moonrabbit"
local body = require "moonrabbit.base.body"
local json = require "moonrabbit.base.json"

local function there_and_back(v) return json.decode(json.encode(v)) end

describe("json", function()
   it("writes whole numbers as integers, and brings each number back as it was (FIELD-W5)", function()
      for text, n in pairs { ["9007199254740991"] = 2 ^ 53 - 1, ["-9007199254740991"] = 1 - 2 ^ 53, ["1700000000"] = 1.7e9,
         ["10000000000000000"] = 1e16, ["1700000000.123456"] = 1700000000.123456, ["0.1"] = 0.1, ["-0"] = -0.0, ["0"] = 0,
         ["1152921504606846976"] = 2 ^ 60, ["0.30000000000000004"] = 0.1 + 0.2, ["1e+300"] = 1e300, ["100"] = 100 } do
         assert.equal(text, json.encode(n))
         assert.equal(n, json.decode(text))
         assert.equal("number", type(json.decode(text)))
      end
      assert.equal(-math.huge, 1 / there_and_back(-0.0))
      math.randomseed(5)
      local box = ffi.new "union { double d; uint32_t u[2]; }"
      for _ = 1, 20000 do
         box.u[0], box.u[1] = math.random(0, 2 ^ 32 - 1), math.random(0, 2 ^ 32 - 1)
         if math.floor(box.u[1] / 2 ^ 20) % 2048 ~= 2047 then -- no NaN, no infinity
            local n = box.d
            assert(there_and_back(n) == n, ("%.17g"):format(n))
            assert(there_and_back({ n })[1] == n)
         end
      end
   end)

   it("writes integers of 64 bits as what they are, and reads those that no number holds as cdata (FIELD-W5)", function()
      for _, text in ipairs { "9007199254740993", "-9007199254740993", "9223372036854775807", "-9223372036854775807",
         "18446744073709551615", "1234567890123456789" } do
         local n = json.decode(text)
         assert.equal("cdata", type(n))
         assert.equal(text, json.encode(n))
         assert.equal(text, json.encode(json.decode('{"a":[' .. text .. "]}").a[1]))
      end
      assert.equal("-9223372036854775808", json.encode(ffi.cast("int64_t", 0x8000000000000000ULL)))
      assert.equal(-2 ^ 63, json.decode "-9223372036854775808")
      assert.equal("5", json.encode(5LL))
      assert.equal(2 ^ 64, json.decode "18446744073709551616") -- as near as a number can be
      assert.equal(1e30, json.decode "1000000000000000000000000000000")
   end)

   it("tells numbers within strings, names and other numbers apart (FIELD-W5)", function()
      local text = [[{"9007199254740993":"9007199254740993","s":"a \"1234567890123456789\" \\",]]
         .. [["n":-9007199254740993,"f":0.12345678901234567}]]
      local read = json.decode(text)
      assert.equal("9007199254740993", read["9007199254740993"])
      assert.equal('a "1234567890123456789" \\', read.s)
      assert.equal(-9007199254740993LL, read.n)
      assert.equal(0.12345678901234567, read.f)
      assert.equal("\255#9007199254740993", json.decode('["\255#9007199254740993",9007199254740993]')[1])
      for _, wrong in ipairs { "{9007199254740993:1}",
         "[9007199254740993", '{"a":9007199254740993', "9007199254740993 1", '"9007199254740993' } do
         local ok, why = pcall(json.decode, wrong)
         assert.is_false(ok, wrong)
         assert.is_nil(why:find("json.lua", 1, true)) -- the text tells of the body, not of us
      end
   end)

   it("reads nothing but JSON, and says what is wrong at which byte (FIELD-W5)", function()
      for text, why in each {
         ["NaN"] = "'N' where a value must be, at byte 1 of 3", ["[nan]"] = "at byte 2 of 5", ["[-nan]"] = "at byte 3 of 6",
         ["Infinity"] = "at byte 1", ["[1,-Infinity]"] = "at byte 5", ["inf"] = "at byte 1", ["-inf"] = "at byte 2",
         ["0x10"] = "at byte 2", ["[0x1p3]"] = "at byte 3", ["[1,01]"] = "a number that begins with 0, at byte 4 of 6",
         ["-01"] = "begins with 0", ["00"] = "begins with 0", ["1."] = "at byte 3", ["[1.]"] = "at byte 4", ["1.e5"] = "at byte 3",
         ["[-.5]"] = "at byte 3", [".5"] = "at byte 1", ["+1"] = "at byte 1", ["-"] = "it ends where a digit must be", ["1e"] = "at byte 3",
         ["[012345678901234567890]"] = "begins with 0, at byte 2", ["[12345678901234567890, 1.]"] = "at byte 26",
         ['["a\\nb"]'] = false, ['["a\nb"]'] = "a control character (0x0a) within a string, at byte 4", ['"\t"'] = "(0x09)",
         ['"a\0b"'] = "(0x00)", ['{"a\rb":1}'] = "(0x0d)", ['{\r\n\t"a" : [ 1 , 2 ]\n}'] = false,
         ["[1]\0[2]"] = "more behind the end, at byte 4 of 7", ["\0"] = "at byte 1", ["[1]\0"] = "more behind the end",
         ["{} {}"] = "more behind the end, at byte 4", ["1 2"] = "at byte 3", ["[1,]"] = "at byte 4", ["{,}"] = "a name in quotes",
         ['{"a":1,}'] = "a name in quotes", ["{a:1}"] = "a name in quotes", ["{'a':1}"] = "a name in quotes", ['{"a" 1}'] = "':'",
         ["[1 2]"] = "',' or ']' must be, at byte 4", [""] = "it ends where a value must be", [" "] = "it ends", ["["] = "it ends",
         ['{"a":'] = "it ends", ['"abc'] = "a string that does not end, at byte 1", ['"\\x41"'] = "an escape that JSON does not have",
         ['"\\u12g4"'] = "four hexadecimal digits", ["tru"] = "at byte 1", ["nulls"] = "at byte 5", ["True"] = "at byte 1",
         ["// x\n1"] = "at byte 1", ["\f1"] = "byte 0x0c where a value must be", ["\239\187\1911"] = "byte 0xef",
         [("["):rep(1001) .. ("]"):rep(1001)] = "nested deeper than 1000, at byte 1001", [("["):rep(1000) .. ("]"):rep(1000)] = false,
         [("["):rep(200000)] = "nested deeper than 1000", ["-0"] = false, ["0"] = false, ["-0.0e-10"] = false, ["1E+2"] = false,
         ['"\\u0000\\ud83d\\ude00/\\/"'] = false, ['"v1. x -. 1."'] = false, ["[0.5,10,100e0]"] = false,
      } do
         local ok, got = pcall(json.decode, text)
         assert.equal(not why, ok, ("%q: %s"):format(text:sub(1, 40), tostring(got)))
         if why then assert.truthy(got:find(why, 1, true), ("%q: %s"):format(text:sub(1, 40), got)) end
      end
      assert.same({ "a\nb" }, json.decode '["a\\nb"]')
      assert.same({ a = { 1, 2 } }, json.decode '{\r\n\t"a" : [ 1 , 2 ]\n}')
   end)

   it("tells who decodes a message what to mend, with kind and byte (FIELD-W5)", function()
      local conn = mr.connect "memory://json"
      local ch = assert(conn:channel())
      local queue = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
      assert(ch:publish("", queue, '{"a":01}', { content_type = "application/json" }))
      local msg = assert(ch:get(queue))
      local v, err = msg:decode()
      conn:close()
      assert.is_nil(v)
      assert.equal("bad_argument", err.kind)
      assert.equal("message", err.scope)
      assert.truthy(err.text:find("not JSON, as its content_type says: a number that begins with 0, at byte 6 of 8", 1, true), err.text)
      assert.truthy(err.hint:find("content_type", 1, true), err.hint)
      assert.is_nil(tostring(err):find("table keys", 1, true))
   end)

   it("refuses NaN and the infinities, alone and within, with the reason (FIELD-W5)", function()
      for _, n in ipairs { 0 / 0, math.huge, -math.huge } do
         for _, v in ipairs { n, { n }, { a = { b = n } }, { [n == n and n or 1.5] = n } } do
            local text, why = body.encode(v)
            assert.is_nil(text)
            assert.truthy(why:find("NaN or infinite", 1, true), why)
         end
      end
   end)

   it("writes what lua-cjson writes of everything else", function()
      local shared = { 1, 2 }
      for _, v in ipairs { {}, { 1, "two", true }, { a = {} }, "x/y\127\31\"\\\n\t\b\f\r\0", "\195\164", { shared, shared },
         { [3] = 1 }, { [1] = "a", x = "b" }, { [2.5] = 1 }, cjson.null, { cjson.null }, false, { { { {} } } } } do
         local ours = json.encode(v)
         assert.same(cjson.decode(cjson.encode { v }), cjson.decode("[" .. ours .. "]"))
         if type(v) == "string" then assert.equal(cjson.encode(v), ours) end
      end
      for _, v in ipairs { print, { print }, { [true] = 1 }, coroutine.create(print), { [1000] = 1 }, ffi.new "int[2]" } do
         assert.is_false(pcall(json.encode, v))
      end
      local round = {}
      round.again = round
      assert.is_false(pcall(json.encode, round))
   end)

   it("writes what mr.int, mr.array and their like mean", function()
      assert.equal("7", json.encode(mr.int(7)))
      assert.equal("1700000000", json.encode(mr.timestamp(1700000000)))
      assert.equal("[[],[null,1]]", json.encode { mr.array {}, mr.array { mr.null, 1 } })
      assert.equal('"x"', json.encode(mr.bytes "x"))
      assert.equal(1.25, json.decode(json.encode(mr.decimal(125, 2))))
   end)

   it("neither heeds nor changes what the script has set in its cjson (FIELD-W5)", function()
      cjson.encode_number_precision(3)
      cjson.encode_sparse_array(true)
      cjson.decode_max_depth(1)
      cjson.encode_invalid_numbers(true)
      finally(function()
         cjson.encode_number_precision(14)
         cjson.encode_sparse_array(false, 2, 10)
         cjson.decode_max_depth(1000)
         cjson.encode_invalid_numbers(false)
      end)
      assert.equal("1.23456789", json.encode(1.23456789))
      assert.same({ { { 1 } } }, json.decode "[[[1]]]")
      assert.is_nil((body.encode(0 / 0)))
      assert.equal("1.23", cjson.encode(1.23456789))
   end)

   it("reads and writes fractions under a locale with a decimal comma (FIELD-W5)", function()
      local back = comma.set()
      finally(back)
      assert.equal(1.5, there_and_back(1.5))
      assert.same({ 1, 2.25, "3,5" }, there_and_back { 1, 2.25, "3,5" })
      assert.equal(-1.5e-7, json.decode "-1.5e-7")
      back()
      assert.equal(1.5, there_and_back(1.5))
   end)
end)

describe("a content type", function()
   it("is JSON without regard to case and parameters (FIELD-W5)", function()
      for _, kind in ipairs { "application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json", "application/json;v=1",
         " APPLICATION/VND.X+JSON ; a=b", "text/json" } do assert.is_true(body.is_json(kind), kind) end
      for _, kind in ipairs { "text/plain", "application/jsonlines", "application/x; a=+json", "", "application/json-seq", "json" } do
         assert.is_false(body.is_json(kind), kind)
      end
      assert.is_false(body.is_json(nil))
   end)
end)

describe("a body", function()
   it("keeps its numbers by publishers, calls and simple queues (FIELD-W5)", function()
      local broker = assert(mr.testing.broker())
      local conn = mr.connect { url = broker.url }
      finally(function() conn:release() broker:close() end)
      local sent = { id = 2 ^ 53 - 1, at = 1700000000.123456, big = 1234567890123456789LL }
      local function check(got)
         assert.equal(sent.id, got.id)
         assert.equal(sent.at, got.at)
         assert.equal(sent.big, got.big)
      end
      local pub = mr.publisher { connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } } }
      assert(pub:publish(sent, { content_type = "Application/JSON; charset=utf-8" }))
      local ch = assert(conn:channel())
      local msg = assert(ch:get("q", { no_ack = true }))
      assert.truthy(msg.body:find('"id":9007199254740991', 1, true), msg.body)
      check(msg:decode())
      local simple = assert(conn:simple_queue "simple")
      assert(simple:put(sent))
      check(assert(simple:get { timeout = 10 }):decode())
      assert(mr.rpc.serve { queue = "calls", connection = conn, handler = function(request) check(request) return request end })
      check(assert(mr.rpc.call("calls", sent, { connection = conn, timeout = 10 })))
      assert.is_false(pcall(mr.rpc.call, "calls", 0 / 0, { connection = conn }))
      assert.is_false(pcall(pub.publish, pub, { 0 / 0 }))
      pub:close()
   end)
end)

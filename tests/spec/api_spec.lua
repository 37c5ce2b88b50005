--- docs/api.md beside the library: it names each public function, and only functions that there are.
-- Feature: docs/api.md and the tables of `mr`
local embedded = require "embedded"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local files = require "files"

-- Functions of these tables that are for the library alone.
local INSIDE = { ["mr.log.again"] = true, ["mr.log.set_worker"] = true, ["mr.topology.new"] = true }

-- One of each class, by the name that api.md calls it.
-- The functions of a module that loads in its host only, by its source.
local function adapter(name)
   local list = {}
   for fn in files.read("lua/moonrabbit/" .. name .. ".lua"):gmatch "\nfunction adapter%.([%w_]+)" do list[fn] = function() end end
   return setmetatable(list, {})
end

local function objects()
   local b = embedded.broker()
   local conn = embedded.connect { url = b.url }
   local ch = assert(conn:channel())
   assert(ch:confirm_select())
   assert(ch:queue_declare { queue = "m" })
   local all = { mr = mr, broker = b, conn = conn, ch = ch, ticket = assert(ch:publish_async("", "m", "x")) }
   assert(all.ticket:wait(5))
   all.worker = mr.consumer { queue = "q", connection = conn, handler = function() end }
   assert(all.worker:wait(5))
   all.consumer, all.msg = all.worker.inner, assert(ch:get "m")
   all.pub, all.pool = mr.publisher { connection = conn }, embedded.keep(mr.pool { url = b.url })
   all.topology, all.simple = mr.topology { queues = { t = {} } }, conn:simple_queue "s"
   all.event, all.semaphore, all.channel, all.timer = mr.event(), mr.semaphore(1), mr.channel(1), mr.every(1e6, function() end)
   all.server = mr.rpc.serve { connection = conn, queue = "r", handler = function() end }
   all.counter, all.gauge = mr.metrics.counter("own_api_total", ""), mr.metrics.gauge("own_api", "")
   all.histogram = mr.metrics.histogram("own_api_seconds", "")
   for _, name in ipairs { "love", "uv", "tarantool" } do all[name] = adapter(name) end
   return all
end

-- The functions of an object's class that are not named with an underscore.
local function methods(object)
   local list, mt = {}, getmetatable(object)
   for _, t in ipairs { mt, type(mt.__index) == "table" and mt.__index or nil } do
      for name, fn in pairs(t) do
         if type(name) == "string" and type(fn) == "function" and not name:find "^_" then list[#list + 1] = name end
      end
   end
   return list
end

describe("docs/api.md", function()
   local text, all
   setup(function()
      loop.close(1)
      mr.log.configure "off"
      text, all = files.read "docs/api.md", objects()
   end)
   teardown(function()
      all.timer:cancel()
      embedded.close_all()
      loop.close(1)
      mr.log.configure "error"
   end)

   it("names only functions that there are (FIELD-W38)", function()
      local n = 0
      for head in text:gmatch "\n### `([^`]+)`" do
         local path, name = head:match "^([%w_.]-)[.:]([%w_]+)%("
         local at = all
         for part in (path or ""):gmatch "[^.]+" do at = at[part] end
         assert(at, head .. ": what is it called on?")
         local is_there, what = pcall(function() return at[name] end)
         local mt = is_there and type(what) == "table" and getmetatable(what)
         assert.is_true(is_there and (type(what) == "function" or mt and mt.__call ~= nil), head .. " is not there")
         n = n + 1
      end
      assert.is_true(n > 150)
   end)

   it("names all public functions of mr, and of its tables (FIELD-W38)", function()
      local function walk(path, t)
         for name, v in pairs(t) do
            local full = path .. "." .. name
            if type(v) == "function" and not name:find "^_" and not INSIDE[full] then
               assert.truthy(text:find("\n### `" .. full .. "(", 1, true), full .. " is not in docs/api.md")
            elseif type(v) == "table" and path == "mr" and name ~= "args" and name ~= "null" then
               walk(full, v)
            elseif type(v) ~= "function" and type(v) ~= "table" then
               assert.truthy(text:find("`" .. full .. "`", 1, true), full .. " is not in docs/api.md")
            end
         end
      end
      walk("mr", mr)
      assert.truthy(text:find("`mr.null`", 1, true))
   end)

   it("names all methods of each class (FIELD-W38)", function()
      for called, object in pairs(all) do
         if called ~= "mr" then
            for _, name in ipairs(methods(object)) do
               assert.truthy(text:find(("\n### `%s:%s("):format(called, name), 1, true),
                  ("%s:%s is not in docs/api.md"):format(called, name))
            end
         end
      end
   end)
end)

--- Lua states that end, and modules that are forgotten, without mr.run or any goodbye.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local descriptors = require "descriptors"
local ffi = require "ffi"
local lfs = require "lfs"

ffi.cdef [[
typedef struct lua_State lua_State;
lua_State *luaL_newstate(void);
void luaL_openlibs(lua_State *L);
int luaL_loadstring(lua_State *L, const char *text);
int lua_pcall(lua_State *L, int arguments, int results, int handler);
const char *lua_tolstring(lua_State *L, int at, size_t *size);
void lua_close(lua_State *L);
]]
local lua = ffi.C

-- Runs a chunk in a state of its own and closes that; an error of the chunk is raised here.
local function in_state(text)
   local L = lua.luaL_newstate()
   lua.luaL_openlibs(L)
   local why
   if lua.luaL_loadstring(L, text) ~= 0 or lua.lua_pcall(L, 0, 0, 0) ~= 0 then
      why = ffi.string(lua.lua_tolstring(L, -1, nil))
   end
   lua.lua_close(L)
   if why then error(why, 0) end
end

local COUNT = { fd = descriptors.count, task = function() -- threads, and two for . and ..
   local n = 0
   for _ in lfs.dir "/proc/self/task" do n = n + 1 end
   return n - 2
end }

local function chunk(queue, ending)
   return ([[
      local mr = require "moonrabbit"
      local conn = assert(mr.connect %q)
      local ch = assert(conn:channel())
      mr.log.configure "off"
      assert(ch:consume(%q, function() mr.sleep(60) end, { concurrency = 5 }))
      local pool = mr.pool { url = %q, strategy = "shared" }
      local lent = assert(pool:acquire())
      mr.after(60, function() end)
      mr.spawn(function() mr.sleep(60) end)
      assert(mr.testing.broker { name = "within" })
      %s
   ]]):format(broker.url, queue, broker.url, ending or "")
end

local EMPTIED = [[
   conn, ch, pool, lent, mr = nil, nil, nil, nil, nil
   for name in pairs(package.loaded) do
      if name:find "^moonrabbit" then package.loaded[name] = nil end
   end
   for _ = 1, 4 do collectgarbage() end
]]

describe("a Lua state", function()
   local ch, queue

   before_each(function()
      ch = broker.channel()
      queue = assert(ch:queue_declare { queue = broker.name "state", auto_delete = false }).queue
      in_state(chunk(queue)) -- what a process opens once is open from here on
   end)
   after_each(function()
      ch:queue_delete { queue = queue }
      broker.close_all()
   end)

   -- The other end of a connection, a thread of this process with memory://, may take a moment longer.
   local function are_left(folder, number)
      local count
      pcall(broker.eventually, folder, function()
         count = COUNT[folder]()
         return count == number
      end)
      assert.equal(number, count, folder)
   end

   local function no_consumer()
      broker.eventually("no consumer", function()
         return assert(ch:queue_declare { queue = queue, passive = true }).consumer_count == 0
      end)
   end

   it("that is closed takes its consumers, its thread and its descriptors with it (FIELD-H6)", function()
      local threads, files = COUNT.task(), COUNT.fd()
      for _ = 1, 10 do in_state(chunk(queue)) end
      no_consumer()
      are_left("task", threads)
      are_left("fd", files)
   end)

   it("that forgets the module ends its runtime, and may begin anew (FIELD-H6)", function()
      local threads, files = COUNT.task(), COUNT.fd()
      in_state(chunk(queue, EMPTIED .. chunk(queue, EMPTIED)))
      no_consumer()
      in_state(chunk(queue, EMPTIED:rep(2) .. ([[
         local pipe = io.popen "ls /proc/$PPID/task | wc -l"
         assert(tonumber(pipe:read "*a") == %d, "a thread was left")
         pipe:close()
      ]]):format(threads)))
      are_left("task", threads)
      are_left("fd", files)
   end)

   it("that is closed gives back what it had not handled (FIELD-H6)", function()
      for i = 1, 40 do assert(ch:publish("", queue, tostring(i))) end
      in_state(chunk(queue, [[
         local deadline = mr.now() + 20
         while mr.stats().delivered < 5 and mr.now() < deadline do mr.sleep(0.01) end
      ]]))
      no_consumer()
      broker.eventually("all messages to be back", function() return broker.count(ch, queue) == 40 end)
   end)
end)

--- ffi: the Lua library in one archive, beside nothing but the shared library.
-- SPDX-License-Identifier: MIT
local build = require "build"
local shell = require "shell"

local LUA = (os.getenv "LUA_PATH"):match "^(.-)/%?%.lua"
local LIBRARY = os.getenv "MOONRABBIT_LIBRARY"
-- A plain LuaJIT cannot load a library that is instrumented.
local plain = build.is_release and it or pending

-- All modules as bytecode without names of files, in a table as games ship them.
local BUNDLE = [[
local list, out = io.popen("cd '%s' && find moonrabbit -name '*.lua' | sort"), {}
for path in list:lines() do
   local name = path:gsub("%%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
   local code = string.dump(assert(loadfile("%s/" .. path)), true)
   out[#out + 1] = ("package.preload[%%q] = loadstring(%%q)\n"):format(name, code)
end
list:close()
local bundle = io.open("bundle.lua", "wb")
bundle:write(table.concat(out))
bundle:close()
]]

describe("the Lua library", function()
   local folder

   before_each(function() folder = shell("mktemp -d"):match "^%S+" end)
   after_each(function() os.execute("rm -rf " .. folder) end)

   local function write(name, text)
      local file = assert(io.open(folder .. "/" .. name, "wb"))
      file:write(text)
      file:close()
   end

   local function run(script)
      write("make.lua", BUNDLE:format(LUA, LUA))
      write("main.lua", 'dofile "bundle.lua"\n' .. script)
      return shell(("cd %s && luajit make.lua && env -i MOONRABBIT_LIBRARY=%s luajit main.lua 2>&1"):format(folder, LIBRARY))
   end

   plain("needs no file but itself and the shared library", function()
      assert.equal("hello\n", (run [[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect("memory://"):channel())
         local q = assert(ch:queue_declare { queue = "" }).queue
         assert(ch:publish("", q, "hello"))
         print(assert(ch:get(q, { no_ack = true })).body)
         os.exit(0)
      ]]))
   end)

   it("says in one line what it needs, to Lua 5.1 and 5.4", function()
      local tried = 0
      for _, lua in ipairs { "lua5.1", "lua5.4" } do
         if os.execute(("command -v %s >/dev/null"):format(lua)) == 0 then
            tried = tried + 1
            local said = shell(([[env -i LUA_PATH='%s/?.lua;%s/?/init.lua' %s -e 'print(select(2, pcall(require, "moonrabbit")))' 2>&1]])
               :format(LUA, LUA, lua))
            assert.equal("Moonrabbit needs LuaJIT: moonrabbit run SCRIPT, luajit SCRIPT, busted --lua=luajit; this is Lua "
               .. lua:sub(4), said:match "^[^\n]*")
            assert.is_nil(said:match "\n(.+)", said)
         end
      end
      assert.is_true(tried > 0)
   end)

   plain("says so when the shared library is of another version, or is not there", function()
      local said = run [[
         local ffi = require "ffi"
         local string_of = ffi.string
         ffi.string = function(...) ffi.string = string_of return "9.9.9" end
         print(pcall(require, "moonrabbit"))
      ]]
      assert.truthy(said:find("these Lua files are of version 0.1.0, but the library is 9.9.9", 1, true), said)
      said = shell(("cd %s && env -i luajit main.lua 2>&1"):format(folder))
      assert.truthy(said:find "cannot load libmoonrabbit.so.0 %(.*MOONRABBIT_LIBRARY may name it", said)
   end)
end)

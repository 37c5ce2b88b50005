--- history: the file of the lines that were typed.
local history = require "moonrabbit.cli.history"
local shell = require "shell"

describe("the history of a prompt", function()
   local folder
   before_each(function()
      folder = os.tmpname()
      os.remove(folder)
   end)
   after_each(function() os.execute("rm -rf " .. folder) end)

   it("comes back entry by entry, also those of several lines, from folders and a file that are this user's alone", function()
      local path = folder .. "/state/moonrabbit/history"
      local entries = { "1 + 1", "for i = 1, 2 do\n   print(i)\nend", [[("\n"):rep(2)]], "\\", "a\\\nb" }
      for _, entry in ipairs(entries) do assert.is_true(history.add(path, entry)) end
      assert.same(entries, history.load(path))
      assert.equal("600\n700\n700\n", (shell(("stat -c %%a %s %s/state/moonrabbit %s/state"):format(path, folder, folder))))
   end)

   it("is empty without a file, and says why it cannot be written", function()
      assert.same({}, history.load(folder .. "/none"))
      local ok, why = history.add("/proc/nothing/history", "1")
      assert.is_nil(ok)
      assert.truthy(why:find("/proc/nothing/history: ", 1, true), why)
   end)

   it("is bounded", function()
      os.execute("mkdir " .. folder)
      local path = folder .. "/history"
      local file = assert(io.open(path, "w"))
      for i = 1, 2500 do file:write(i, "\n") end
      file:close()
      local list = history.load(path)
      assert.same({ 1000, "1501", "2500" }, { #list, list[1], list[1000] })
      assert.equal("1000\n", (shell("wc -l < " .. path)))
      assert.is_true(history.add(path, ("x"):rep(20000)))
      assert.equal(1000, #history.load(path))
   end)

   it("loses nothing that another session appends while it is made short", function()
      os.execute("mkdir " .. folder)
      local path, script = folder .. "/history", folder .. "/other.lua"
      local file = assert(io.open(script, "w"))
      file:write(([[
local history = require "moonrabbit.cli.history"
for i = 1, 20000 do assert(history.add("%s", ("%%05d "):format(i) .. ("x"):rep(200))) end
io.open("%s/over", "w"):close()
]]):format(path, folder))
      file:close()
      local other = assert(io.popen("luajit " .. script .. " 2>&1"))
      local deadline, over = os.time() + 60
      repeat
         over = io.open(folder .. "/over")
         local before
         local list = history.load(path)
         for i = 1, #list - 1 do -- the last one may be half written
            local number = tonumber(list[i]:match "^%d+")
            assert.equal(before and before + 1 or number, number)
            before = number
         end
      until over or os.time() > deadline
      assert.equal("", other:read "*a")
      other:close()
      assert.truthy(over)
      over:close()
      assert.equal(20000, tonumber(history.load(path)[1000]:match "^%d+"))
   end)

   it("is in XDG_STATE_HOME", function()
      local path = history.path()
      local state = os.getenv "XDG_STATE_HOME"
      assert.equal((state or os.getenv "HOME" .. "/.local/state") .. "/moonrabbit/history", path)
   end)
end)

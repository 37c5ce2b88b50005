--- offset_file: files with the offsets of named consumers.
local files = require "moonrabbit.consumer.offset_file"

describe("the file of an offset", function()
   local folder

   before_each(function()
      folder = os.tmpname()
      os.remove(folder)
   end)
   after_each(function() os.execute("rm -rf " .. folder) end)

   local function shell(command)
      local pipe = assert(io.popen(command))
      local text = pipe:read "*a"
      pipe:close()
      return (text:gsub("%s+$", ""))
   end

   it("is made with its folders, for its owner alone, and replaced as a whole (FIELD-C3)", function()
      local path = folder .. "/streams/q/name.offset"
      assert.same({}, { files.load(path) })
      assert.is_true(files.save(path, 41))
      assert.is_true(files.save(path, 2 ^ 40))
      assert.equal(2 ^ 40, files.load(path))
      assert.equal("600", shell("stat -c %a " .. path))
      assert.equal("700", shell("stat -c %a " .. folder))
      assert.equal("name.offset", shell("ls " .. folder .. "/streams/q"))
   end)

   it("is an error if it has no offset, and is not overwritten by that", function()
      os.execute("mkdir -p " .. folder)
      for _, content in ipairs { "", "12", "-1\n", "abc\n", "9999999999999999\n" } do
         local f = assert(io.open(folder .. "/x", "wb"))
         f:write(content)
         f:close()
         local offset, err = files.load(folder .. "/x")
         assert.is_nil(offset)
         assert.equal("bad_argument", err.kind)
         assert.is_false(err.recoverable)
         assert.truthy(err.hint:find("remove it", 1, true))
      end
   end)

   it("tells why it cannot be written", function()
      local ok, err = files.save("/proc/none/x.offset", 1)
      assert.is_nil(ok)
      assert.truthy(err.text:find("/proc/none", 1, true), err.text)
      assert.truthy(err.hint:find("MOONRABBIT_STATE", 1, true))
   end)

   it("tells what the kernel said of a folder that cannot be made, and leaves no file behind", function()
      local _, err = files.save("/sys/none/x.offset", 1)
      assert.truthy(err.text:find("^cannot make /sys/none: ") and not err.text:find("No such file", 1, true), err.text)
      os.execute("mkdir -p " .. folder .. "/x.offset") -- a folder where the file should be
      assert.is_nil((files.save(folder .. "/x.offset", 1)))
      assert.equal("x.offset", shell("ls " .. folder))
   end)

   it("stays whole if several processes write it under one name", function()
      local path = folder .. "/q/x.offset"
      assert(files.save(path, 1))
      local code = ([[local f = require "moonrabbit.consumer.offset_file"
         for i = 1, 100 do assert(f.save("%s", i %% 2 == 0 and 7 or 123456789)) end]]):format(path)
      local run = ("%s run --log-level warn %s/save.lua 2>&1"):format(os.getenv "MOONRABBIT_COMMAND", folder)
      local script = assert(io.open(folder .. "/save.lua", "w"))
      script:write(code)
      script:close()
      local one, two = io.popen(run), io.popen(run)
      for _ = 1, 300 do assert(files.load(path)) end
      assert.same({ "", "" }, { one:read "*a", two:read "*a" })
      one:close()
      two:close()
      assert(files.load(path))
   end)

   it("has a name that a file system takes, however long the queue's is", function()
      local before = os.getenv
      finally(function() os.getenv = before end) -- luacheck: ignore
      os.getenv = function(name) return name == "MOONRABBIT_STATE" and folder or before(name) end -- luacheck: ignore
      local long, seen = ("\195\182"):rep(120), {}
      for _, name in ipairs { long, long .. "a", long .. "b" } do
         local store = files.store(name)
         assert(store.save(name, #name))
         assert.equal(#name, store.load(name))
         local path = files.path(name, name)
         assert.is_nil(seen[path])
         seen[path] = true
      end
   end)

   it("is in a folder that the environment names", function()
      local function at(env) return files.folder(function(name) return env[name] end) end
      assert.equal("/a", at { MOONRABBIT_STATE = "/a", STATE_DIRECTORY = "/b", HOME = "/h" })
      assert.equal("/b", at { MOONRABBIT_STATE = "", STATE_DIRECTORY = "/b:/c", HOME = "/h" })
      assert.equal("/x/moonrabbit", at { XDG_STATE_HOME = "/x", HOME = "/h" })
      assert.equal("/h/.local/state/moonrabbit", at { HOME = "/h" })
      local folder_, err = at {}
      assert.is_nil(folder_)
      assert.equal("bad_option", err.kind)
   end)

   it("has a name for each queue and each consumer, whatever their bytes", function()
      local seen = {}
      for _, pair in ipairs { { "q", "a" }, { "q/a", "b" }, { "q", "a/b" }, { "..", "x" }, { "q%", "a" }, { "q%25", "a" } } do
         local path = assert(files.path(pair[1], pair[2]))
         assert.is_nil(seen[path])
         seen[path] = true
         assert.is_nil(path:find("..", 1, true))
      end
   end)
end)

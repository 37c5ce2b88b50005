--- cli.watch: files that have changed.
local mr = require "moonrabbit"
local task = require "moonrabbit.loop.task"
local waits = require "waits"
local watch = require "moonrabbit.cli.watch"

local function write(path, text)
   local f = assert(io.open(path, "w"))
   f:write(text)
   f:close()
end

describe("watching files", function()
   local path, changes, files, is_over, pause = nil, 0, {}, false, watch.PAUSE

   setup(function()
      watch.PAUSE = 0.005
      path = os.tmpname()
      files = { path }
      task.background(function()
         watch.start(function() return is_over and mr.sleep(1e6) or files end, function() changes = changes + 1 end)
      end)
   end)
   teardown(function()
      watch.PAUSE, is_over = pause, true
      require("moonrabbit.loop.loop").close(1)
      os.remove(path)
   end)

   local function eventually(n) waits.eventually(n .. " changes", function() return changes == n end) end

   it("tells of one that was replaced or written, once", function()
      write(path .. ".new", "a")
      os.rename(path .. ".new", path)
      eventually(1)
      write(path, "ab")
      eventually(2)
      mr.sleep(0.03)
      assert.equal(2, changes)
   end)

   it("waits for one that is away", function()
      os.remove(path)
      mr.sleep(0.03)
      assert.equal(2, changes)
      write(path, "abc")
      eventually(3)
   end)

   it("does not tell of one that joins, but of what becomes of it", function()
      local other = os.tmpname()
      files = { path, other }
      mr.sleep(0.03)
      assert.equal(3, changes)
      write(other, "x")
      eventually(4)
      files = { path }
      os.remove(other)
   end)

   it("knows files by inode, size and time", function()
      assert.equal("", watch.stamp "/nowhere/at/all")
      local before = watch.stamp(path)
      assert.equal(before, watch.stamp(path))
      write(path, "abcd")
      assert.not_equal(before, watch.stamp(path))
   end)
end)

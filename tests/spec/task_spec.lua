local mr = require "moonrabbit"

describe("tasks", function()
   it("run at once until they wait, and go on when their time has come", function()
      local order = {}
      mr.spawn(function(name)
         order[#order + 1] = name
         mr.sleep(0.01)
         order[#order + 1] = "b"
      end, "a")
      order[#order + 1] = "main"
      while #order < 3 do mr.sleep(0.002) end
      assert.same({ "a", "main", "b" }, order)
   end)

   it("do not disturb each other when one fails", function()
      local ended = false
      mr.log.configure "off"
      mr.spawn(function() error "alone" end)
      mr.spawn(function() mr.sleep(0.001) ended = true end)
      while not ended do mr.sleep(0.001) end
      mr.log.configure "warn"
   end)

   it("repeat by every until cancelled", function()
      local rounds, timer = 0, nil
      timer = mr.every(0.001, function()
         rounds = rounds + 1
         if rounds == 3 then timer:cancel() end
      end)
      while rounds < 3 do mr.sleep(0.001) end
      mr.sleep(0.01)
      assert.equal(3, rounds)
   end)

   it("wait for descriptors, with a deadline", function()
      local ffi = require "ffi"
      pcall(ffi.cdef, "int pipe(int fds[2]); long write(int fd, const void *data, size_t size); int close(int fd);")
      local fds = ffi.new "int[2]"
      assert.equal(0, ffi.C.pipe(fds))
      local ready, err = mr.wait_fd(fds[0], "r", 0.01)
      assert.is_nil(ready)
      assert.equal("timeout", err.kind)
      ffi.C.write(fds[1], "x", 1)
      assert.equal("r", mr.wait_fd(fds[0], "r", 5))
      ffi.C.close(fds[0])
      ffi.C.close(fds[1])
   end)

   it("refuse wrong arguments where they are given", function()
      assert.has_error(function() mr.spawn(1) end)
      assert.has_error(function() mr.sleep(-1) end)
      assert.has_error(function() mr.every(0, print) end)
      assert.has_error(function() mr.connect { heartbeet = 3 } end)
      assert.has_error(function() mr.connect { heartbeat = "3" } end)
      assert.has_error(function() mr.connect { retry = {} } end)
   end)
end)

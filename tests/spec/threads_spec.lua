--- threads: the names by which top -H and gdb show the library's threads.
-- SPDX-License-Identifier: MIT
-- Feature: what an operator sees of them
local mr = require "moonrabbit"
local eventually = require("waits").eventually

describe("the threads of the library", function()
   it("have names", function()
      local conn = assert(mr.connect "memory://threads":connect())
      local function names()
         local found, list = {}, io.popen "cat /proc/$PPID/task/*/comm"
         for line in list:lines() do found[line] = true end
         list:close()
         return found
      end
      eventually("all three", function()
         local found = names()
         return found["mr io"] and found["mr log"] and found["mr broker"]
      end)
      conn:release()
   end)
end)

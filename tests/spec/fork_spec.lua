--- A forked child that does not exec: what it inherited fails as forked, the parent's goes on.
-- Feature: a fork, in all of the library
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

ffi.cdef [[
int spec_fork(void) __asm__("fork");
int spec_waitpid(int pid, int *status, int options) __asm__("waitpid");
void spec_leave(int code) __asm__("_exit");
]]

-- Runs fn in a child; its exit code: 0 when fn raised nothing.
local function code_in_child(fn)
   local pid = ffi.C.spec_fork()
   if pid == 0 then ffi.C.spec_leave(pcall(fn) and 0 or 1) end
   local status = ffi.new "int[1]"
   assert.equal(pid, ffi.C.spec_waitpid(pid, status, 0))
   return status[0]
end

describe("a forked child", function()
   after_each(function() loop.close(1) end)

   it("is refused everything, and the parent goes on (FIELD-R17)", function()
      local conn = assert(mr.connect "memory://")
      local ch = assert(conn:channel())
      local queue = assert(ch:queue_declare { queue = "", exclusive = true }).queue
      assert(ch:confirm_select())
      assert(ch:publish("", queue, "x"))
      local msg = assert(ch:get(queue))
      local refused = {
         function() return ch:publish("", queue, "y") end, function() return ch:queue_declare { queue = "z" } end,
         function() return ch:get(queue) end, function() return ch:consume(queue, print) end,
         function() return msg:ack() end, function() return conn:channel() end, function() return conn:close() end,
         function() return mr.wait_fd(0, "r", 1) end,
      }
      local raised = { function() mr.sleep(0.01) end, mr.poll, mr.run, function() mr.connect "memory://" end }
      assert.equal(0, code_in_child(function()
         for _, call in ipairs(refused) do
            local result, err = call()
            assert(result == nil and err.kind == "forked")
         end
         for _, call in ipairs(raised) do
            local ok, why = pcall(call)
            assert(not ok and tostring(why):find "fork")
         end
         assert(mr.fd() == -1)
         mr.log.warn "a child's line, which is for nobody"
         loop.close(1)
      end))
      local in_task
      mr.spawn(function() -- a task's wait fails in the child as one of the main chunk does, and goes on in the parent
         in_task = code_in_child(function()
            for _, call in ipairs { function() mr.sleep(0.01) end, function() mr.event():wait(0.01) end } do
               local ok, why = pcall(call)
               assert(not ok and tostring(why):find "fork")
            end
         end)
         mr.sleep(0.001)
      end)
      assert.equal(0, in_task)
      assert(ch:publish("", queue, "still here"))
      assert(msg:ack())
      assert.equal("still here", assert(ch:get(queue)).body)
   end)
end)

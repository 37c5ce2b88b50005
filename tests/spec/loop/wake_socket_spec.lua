--- A host that reads a byte of the wake socket for each poll, as nginx does, is not left asleep with work.
-- Feature: hosts that can only watch sockets
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

ffi.cdef [[
struct wake_pollfd { int fd; short events, revents; };
typedef struct { uint16_t family; char path[108]; } wake_address;
int wake_poll(struct wake_pollfd *fds, unsigned long count, int milliseconds) __asm__("poll");
int wake_socket(int family, int type, int protocol) __asm__("socket");
int wake_connect(int fd, const void *address, unsigned size) __asm__("connect");
long wake_read(int fd, void *buffer, size_t size) __asm__("read");
int wake_close(int fd) __asm__("close");
]]

describe("a host with a wake socket", function()
   local fd, box = nil, ffi.new "char[1]"

   before_each(function()
      loop.close(1)
      mr.log.configure "error"
      mr.fd()
      local err = ffi.new "mr_error"
      assert.equal(0, C.mr_runtime_wake_socket(loop.runtime(), nil, err))
      local address = ffi.new "wake_address"
      address.family = 1
      ffi.copy(address.path, ffi.string(C.mr_runtime_wake_path(loop.runtime())))
      fd = ffi.C.wake_socket(1, 1 + 524288, 0)
      assert.equal(0, ffi.C.wake_connect(fd, ffi.cast("void *", address), ffi.sizeof(address)))
   end)
   after_each(function()
      ffi.C.wake_close(fd)
      loop.close(1)
   end)

   -- One byte, one poll; false: none came within ten seconds.
   local function turn(budget)
      if ffi.C.wake_poll(ffi.new("struct wake_pollfd[1]", { { fd, 1, 0 } }), 1, 10000) ~= 1 then return false end
      assert.equal(1, tonumber(ffi.C.wake_read(fd, box, 1)))
      mr.poll(budget)
      return true
   end
   local function turns_until(condition, budget)
      while not condition() do assert(turn(budget), "it sleeps with work left") end
   end

   -- A poll whose whole budget goes to what the one before had left asks the runtime for nothing.
   it("gets a byte for each poll that leaves something, whatever it was busy with", function()
      local handled, ready = 0, false
      mr.spawn(function()
         local conn = mr.connect "memory://"
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "wakes" })
         for _ = 1, 200 do assert(ch:publish("", "wakes", "x")) end
         assert(ch:consume("wakes", function()
            handled = handled + 1
            local till = mr.now() + 0.001
            while mr.now() < till do end
         end))
         ready = true
      end)
      turns_until(function() return ready end)
      local till = mr.now() + 10
      while mr.stats().delivered < 200 and mr.now() < till do end -- they are all in one batch then
      turns_until(function() return handled == 200 end, 0.0005)
   end)

   it("is woken for a turn that it asked for, though a timer is added after that", function()
      local began = mr.now()
      loop.ask_for_turn()
      mr.after(8, function() end)
      assert(turn())
      assert.is_true(mr.now() - began < 5)
   end)
end)

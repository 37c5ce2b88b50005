--- cli.signals: what SIGINT and SIGTERM ask of the command.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

local signals = {}

ffi.cdef "long read(int fd, void *buffer, size_t size);"

local NAMES = { [2] = "SIGINT", [15] = "SIGTERM" }

--- Asks the program to stop when a signal comes. The command's C part turns signals into bytes of a pipe.
function signals.watch(mr)
   local fd = rawget(_G, "moonrabbit_signal_fd")
   if not fd then return end
   local task, waits = require "moonrabbit.task", require "moonrabbit.waits"
   local box = ffi.new "uint8_t[1]"
   task.background(function()
      while waits.fd(fd, "r") do
         if ffi.C.read(fd, box, 1) == 1 then
            mr.log.info("stopping", { signal = NAMES[box[0]] or box[0] })
            mr.stop()
         end
      end
   end)
end

return signals

--- cli.signals: handles the command's signals.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

local signals = {}

ffi.cdef 'long mr_signal_read(int fd, void *buffer, size_t size) __asm__("read");'

local NAMES = { [1] = "SIGHUP", [2] = "SIGINT", [3] = "SIGQUIT", [10] = "SIGUSR1", [12] = "SIGUSR2", [15] = "SIGTERM",
   [17] = "SIGCHLD" }
signals.HUP, signals.INT, signals.QUIT, signals.USR1, signals.USR2, signals.TERM, signals.CHLD = 1, 2, 3, 10, 12, 15, 17

--- True if a signal has requested the stop.
signals.has_asked = false

--- The command's C part; nil in another program.
function signals.process() return rawget(_G, "moonrabbit_process") end

--- The name of a signal.
function signals.name(number) return NAMES[number] or tostring(number) end

--- Calls fn(number) for each signal. The command's C part turns signals into bytes of a pipe: SIGINT,
-- SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2 and the given ones. It must not wait.
-- @tparam table more numbers
-- @tparam function fn
function signals.each(more, fn)
   local process = signals.process()
   if not process then return end
   for _, number in ipairs(more) do process.catch(number) end
   local task, wait = require "moonrabbit.loop.task", require "moonrabbit.loop.wait"
   local box = ffi.new "uint8_t[1]"
   task.background(function()
      while wait.fd(process.signal_fd, "r") do
         if ffi.C.mr_signal_read(process.signal_fd, box, 1) == 1 then fn(box[0]) end
      end
   end)
end

--- Ends the process at SIGINT, SIGTERM or SIGQUIT.
-- @tparam[opt] function before called first
function signals.end_at_once(before)
   signals.each({}, function(number)
      if number ~= signals.INT and number ~= signals.TERM and number ~= signals.QUIT then return end
      if before then before() end
      signals.process().end_now(128 + number)
   end)
end

-- What does not end the program; nil for other signals.
local others = {
   [signals.USR1] = function(name)
      require("moonrabbit.channel.overdue").tell_all(name)
      require("moonrabbit.cli.recordings").write(name, true)
   end,
   [signals.USR2] = function(name)
      local quiet = require "moonrabbit.program.quiet"
      quiet.set(not quiet.is_on(), name)
   end,
}

--- Stops the program at SIGINT, SIGTERM or SIGQUIT, and ends it at once at a second one. SIGUSR1 writes what handlers wait at, and
-- a file of the flight recorder; SIGUSR2 has it take no more messages, or go on.
-- @tparam table mr
-- @tparam[opt] function on_hup called at SIGHUP; without it SIGHUP ends the process
function signals.watch(mr, on_hup)
   signals.each(on_hup and { signals.HUP } or {}, function(number)
      if number == signals.HUP then return on_hup() end
      if others[number] then return others[number](signals.name(number)) end
      local is_second = signals.has_asked
      signals.has_asked = true
      if is_second then return require("moonrabbit.cli.hurry").now() end
      mr.log.info("stopping", { signal = signals.name(number) })
      mr.stop()
   end)
end

return signals

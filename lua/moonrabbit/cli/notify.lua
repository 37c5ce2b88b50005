--- cli.notify: tells the service manager what the program is doing: systemd's protocol of Type=notify, by its own library.
-- SPDX-License-Identifier: MIT
-- Everything is sent by the host thread, so that a script that never comes back to its loop is missed by the manager.
local C = require("moonrabbit.base.ffi").C
local ffi = require "ffi"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local stop = require "moonrabbit.loop.stop"

local notify = {}

ffi.cdef [[
int mr_sd_notify(int unset, const char *state) __asm__("sd_notify");
int mr_sd_watchdog_enabled(int unset, uint64_t *usec) __asm__("sd_watchdog_enabled");
]]

local LIBRARY = "libsystemd.so.0"
local PAUSE = 0.5         -- seconds between two looks at the program, or less if the watchdog wants it
local START_MORE = 30     -- seconds more to wait for the start, each time

local library             -- nil: nobody has asked yet; false: nobody listens
local look                -- see begin
local watchdog            -- seconds after which the manager takes the program for stuck; nil: never
local timer, beaten_at, asked_at
local is_ready, is_stopping, is_reloading = false, false, false
local status              -- the last one that was told

local function open()
   if library ~= nil then return library end
   library = false
   if (os.getenv "NOTIFY_SOCKET" or "") == "" then return false end
   local ok, found = pcall(ffi.load, LIBRARY)
   if not ok then
      log.warn("the service manager is told nothing", { error = tostring(found), hint = "install libsystemd0" })
      return false
   end
   library = found
   local box = ffi.new "uint64_t[1]"
   if library.mr_sd_watchdog_enabled(0, box) > 0 then watchdog = tonumber(box[0]) / 1e6 end
   return library
end

-- True if the manager has it.
local function send(...) return library and library.mr_sd_notify(0, table.concat({ ... }, "\n")) > 0 end

-- One line each: a status ends at its first newline.
local function status_line(text) return "STATUS=" .. text:gsub("%c", " ") end

local function tell_status(text)
   if text == status then return end
   if send(status_line(text)) then status = text end
end

local function microseconds(seconds) return ("%.0f"):format(seconds * 1e6) end

local function beat()
   local now = C.mr_now()
   if watchdog and (not beaten_at or now - beaten_at >= watchdog / 2 - PAUSE / 2) then
      beaten_at = now
      send "WATCHDOG=1"
   end
   if not is_ready and not is_stopping and (not asked_at or now - asked_at >= START_MORE / 3) then
      asked_at = now
      send("EXTEND_TIMEOUT_USEC=" .. microseconds(START_MORE))
   end
end

-- A timer that does not keep the program running.
local function again(fn)
   loop.soft = loop.soft + 1
   timer = loop.after(math.min(PAUSE, watchdog and watchdog / 4 or PAUSE), function()
      loop.soft = loop.soft - 1
      fn()
   end)
end

local function turn()
   beat()
   local can_begin, text = look()
   if can_begin and not is_ready and not is_stopping then
      is_ready = send("READY=1", status_line(text))
      status = is_ready and text or nil
   elseif not is_reloading then
      tell_status(text)
   end
   again(turn)
end

--- Tells from now on, if a service manager listens. Call it again when the runtime is a new one.
-- @tparam function fn gives whether the program is ready for its work, and a line on what it does; it must not wait
function notify.begin(fn)
   if not open() or timer then return end
   look = fn
   turn()
end

--- A reload begins. Nothing is told of it before the program was ready.
function notify.reloading()
   if not library or not is_ready or is_stopping then return end
   is_reloading, status = true, nil
   send("RELOADING=1", "MONOTONIC_USEC=" .. microseconds(C.mr_now()), "STATUS=reloading")
end

--- The reload has ended.
-- @tparam ?string why it was refused; nil: it was not
function notify.reloaded(why)
   if not is_reloading then return end
   is_reloading = false
   send("READY=1", why and status_line("reload failed, the old script goes on: " .. why))
end

--- A stop begins.
-- @tparam number seconds that it may take
function notify.stopping(seconds)
   if not library or is_stopping then return end
   is_stopping, is_reloading = true, false
   send("STOPPING=1", "EXTEND_TIMEOUT_USEC=" .. microseconds(seconds), "STATUS=stopping")
end

--- The seconds after which the manager takes the program for stuck; nil: it does not watch.
function notify.watchdog() return open() and watchdog or nil end

--- True if somebody listens.
function notify.is_on() return open() ~= false end

loop.on_close(function() timer, is_ready, is_stopping, is_reloading = nil, false, false, false end)
stop.on_ask(function() notify.stopping(stop.patience + notify.GRACE) end)

--- Seconds beyond --drain that a stop may take: more than it takes the command to end itself.
notify.GRACE = 8

return notify

--- cli.muster: a supervisor as the service manager of its workers: which are ready, which are stuck; and what it tells its own.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local listen = require "moonrabbit.cli.listen"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local notify = require "moonrabbit.cli.notify"
local spawn = require "moonrabbit.cli.spawn"

local muster = {}

local ABORT = 6 -- SIGABRT, as systemd's watchdog
local PARTS = 4 -- looks at a worker's beats within the time of the watchdog

local Muster = {}
Muster.__index = Muster

local function path_of(self, number) return ("%s/notify.%d"):format(self.group.folder, number) end

-- ---- what workers tell ----

local function all_reloaded(self)
   for _, worker in ipairs(self.group.workers) do
      if worker.pid and worker.is_reloading then return end
   end
   notify.reloaded()
end

local function told(self, worker, name, value)
   if name == "WATCHDOG" then worker.beaten_at = C.mr_now()
   elseif name == "READY" then
      worker.is_ready, worker.is_reloading, worker.beaten_at = true, false, C.mr_now()
      all_reloaded(self)
   elseif name == "RELOADING" then worker.is_reloading = true
   elseif name == "STATUS" then worker.status = value end
end

-- ---- what the supervisor does ----

--- What the environment of a worker says instead of ours.
function Muster:environment(number)
   local path = self.closers[number] and path_of(self, number) or false
   return path, path and self.watchdog and ("%.0f"):format(self.watchdog * 1e6) or false
end

--- A worker begins, or has ended.
function Muster:forget(worker)
   worker.is_ready, worker.is_reloading, worker.beaten_at, worker.status = false, false, nil, nil
   all_reloaded(self)
end

--- All workers are told to load the script anew: the end is when each of those that were ready has done so.
function Muster:reloading()
   notify.reloading()
   for _, worker in ipairs(self.group.workers) do worker.is_reloading = worker.pid and worker.is_ready or false end
   all_reloaded(self)
end

-- Ends those that have not come back to their loops; they are started again like others that died.
local function look_for_stuck(self)
   for _, worker in ipairs(self.group.workers) do
      local silent = worker.pid and worker.is_ready and C.mr_now() - worker.beaten_at
      if silent and silent > self.watchdog then
         log.error("worker stuck", { worker = worker.number, pid = worker.pid, seconds = math.floor(silent) })
         spawn.signal(worker.pid, ABORT)
      end
   end
   loop.after(self.watchdog / PARTS, function() look_for_stuck(self) end)
end

-- A worker that has ended its work is as good as ready.
local function look(self)
   local group, ready, status = self.group, 0, nil
   for _, worker in ipairs(group.workers) do
      local is_done = not worker.pid and not worker.timer and worker.how and worker.how.code == 0
      if is_done or worker.pid and (worker.is_ready or not self.closers[worker.number]) then ready = ready + 1
      else status = status or worker.status end
   end
   local text = ("%d of %d workers ready"):format(ready, #group.workers)
   return ready == #group.workers and not group.is_stopping, text .. (status and ": " .. status or "")
end

--- Begins; without a service manager of its own, or without a folder for the sockets, it hears nothing.
function Muster:begin()
   if not notify.is_on() then return end
   for number, worker in ipairs(self.group.folder and self.group.workers or {}) do
      local close, why = listen.open(path_of(self, number), function(...) told(self, worker, ...) end)
      if not close then log.warn("a worker's words are not heard", { worker = number, error = why }) end
      self.closers[number] = close
   end
   self.watchdog = notify.watchdog()
   if self.watchdog then look_for_stuck(self) end
   notify.begin(function() return look(self) end)
end

--- Closes and removes the sockets.
function Muster:close()
   for number in ipairs(self.group.workers) do
      if self.closers[number] then self.closers[number]() end
   end
   self.closers = {}
end

--- Makes it.
-- @tparam table group of cli.supervise
function muster.new(group) return setmetatable({ group = group, closers = {} }, Muster) end

return muster

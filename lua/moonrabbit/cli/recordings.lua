--- cli.recordings: files of the flight recorder: at SIGUSR1, and when a connection is given up or a handler abandoned.
-- SPDX-License-Identifier: MIT
local directory = require "moonrabbit.cli.directory"
local log = require "moonrabbit.loop.log"
local recorder = require "moonrabbit.loop.recorder"
local spawn = require "moonrabbit.cli.spawn"
local state_folder = require "moonrabbit.base.state_folder"

local C = require("moonrabbit.base.ffi").C

local recordings = {}

local LEAST = 10 -- files that are kept in the folder; the oldest are removed
local EACH = 2 -- files that are kept for each worker, if those are more
local PAUSE, FAILED_PAUSE = 10, 1 -- seconds without another file after one, or after a failure, unless a signal asks for it: a
-- thousand connections may be given up at once

local place -- the folder that was named; nil: that of base/state_folder
local number, most = 0, LEAST
local next_at = 0 -- of a file that nobody asks for; by the monotonic clock

-- The names of the files, the oldest first: their names begin with their time.
local function files(path)
   local names, why = directory.names(path)
   if not names then return nil, why end
   local list = {}
   for _, name in ipairs(names) do
      if name:find "^recorder%-%d+T%d+Z%-%d+%-%d+%.jsonl$" then list[#list + 1] = name end
   end
   table.sort(list)
   return list
end

local function make_room(path)
   directory.make(path)
   local list, why = files(path)
   if not list then return nil, why end
   for i = 1, #list - most + 1 do os.remove(path .. "/" .. list[i]) end
   return true
end

--- Writes a file, and a line of the log that says where it is.
-- @tparam string reason
-- @tparam[opt] boolean is_asked by somebody: at any time
-- @treturn ?string its path; nil: none was written
function recordings.write(reason, is_asked)
   local path, now = place or state_folder(), C.mr_now()
   if not is_asked and now < next_at then return nil end
   number = number + 1
   local ok, why = nil, "there is no home directory: --recorder-dir names another one"
   if path then ok, why = make_room(path) end
   if ok then
      path = ("%s/recorder-%s-%d-%04d.jsonl"):format(path, os.date "!%Y%m%dT%H%M%SZ", spawn.pid(), number)
      local err
      ok, err = recorder.write(path)
      why = err and err.text
   end
   if not is_asked then next_at = now + (ok and PAUSE or FAILED_PAUSE) end
   if not ok then
      log.warn("recording not written", { reason = reason, error = why })
      return nil
   end
   log.info("recording written", { reason = reason, path = path })
   return path
end

--- Has files written from now on.
-- @tparam ?string path of the folder; nil: that of base/state_folder
-- @tparam ?number workers that write there, too
function recordings.begin(path, workers)
   place, most, next_at = path, math.max(LEAST, EACH * (workers or 1)), 0
   recorder.on_trouble(function(reason) recordings.write(reason) end)
end

return recordings

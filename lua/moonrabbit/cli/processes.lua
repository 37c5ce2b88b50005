--- cli.processes: finds the running processes that have a console, by their sockets.
-- SPDX-License-Identifier: MIT
local ask = require "moonrabbit.cli.ask"
local C = require("moonrabbit.base.ffi").C
local directory = require "moonrabbit.cli.directory"
local escaped = require "moonrabbit.cli.escaped"
local ffi = require "ffi"
local file_status = require "moonrabbit.cli.file_status"
local json = require "moonrabbit.base.json"

local processes = {}

local NAME_MAX = 40 -- bytes
local MISSING = 2 -- ENOENT
local PATIENCE = 2 -- seconds for an answer of the I/O thread

ffi.cdef [[
int mr_unlink(const char *path) __asm__("unlink");
]]

-- The folder of this user's consoles.
local function folder()
   local out = ffi.new "char[256]"
   return C.mr_console_folder(out, 256) and ffi.string(out) or "/nonexistent"
end

-- The status of a file of that kind that is this user's; nil: it is not.
local function own(path, kind)
   local status = file_status.of_path(path)
   return status and status.uid == ffi.C.mr_geteuid() and status.kind == kind and status or nil
end

--- The processes of this user that have a console, by pid. Files of dead ones are removed.
-- @treturn table list of {pid, name, path}
function processes.list()
   local where, list = folder(), {}
   local status = own(where, file_status.FOLDER)
   if not status or not status.is_private then return list end -- others may have put something there
   for _, file in ipairs(directory.names(where) or {}) do
      local pid, name = file:match "^(%d+)-(.*)%.sock$"
      local path = where .. "/" .. file
      if pid and not ask.is_dead(path) then
         list[#list + 1] = { pid = tonumber(pid), name = name, path = path }
      elseif pid and own(path, file_status.SOCKET) then
         ffi.C.mr_unlink(path)
      end
   end
   table.sort(list, function(a, b) return a.pid < b.pid end)
   return list
end

-- A name as it is in the name of a socket's file: as in runtime/api/console.c.
local function clean(name) return (name:sub(1, NAME_MAX):gsub("[^%w._-]", "_")) end

-- The names of a supervisor and of its workers: that of the script, and what they are.
local SUPERVISOR, WORKER = "^(.*)%.workers$", "^(.*)%.%d+$"

--- The name of the console of a script's process.
-- @tparam string script
-- @tparam ?number|string role the number of a worker, "workers" for their supervisor; nil: it is alone
-- @treturn string
function processes.name(script, role)
   local suffix = role and "." .. role or ""
   return (script == "-" and "stdin" or script):match "[^/]*$":sub(1, NAME_MAX - #suffix) .. suffix
end

--- The path of the console of a process.
-- @tparam number pid
-- @tparam string name
-- @treturn string
function processes.path(pid, name) return ("%s/%d-%s.sock"):format(folder(), pid, clean(name)) end

local function matches(one, which)
   if tostring(one.pid) == which then return true end
   local name, script = clean(which), one.name:match(WORKER) or one.name:match(SUPERVISOR)
   return one.name == name or one.name == name .. ".lua" or script == name or script == name .. ".lua"
end

-- Those that are meant where no pid was given: a supervisor instead of its workers, or its workers instead of it.
local function those_meant(list, is_for_all)
   local supervised, left = {}, {}
   for _, one in ipairs(list) do
      local script = one.name:match(SUPERVISOR)
      if script then supervised[script] = true end
   end
   for _, one in ipairs(list) do
      local is_left_out = not is_for_all and one.name:match(SUPERVISOR) or is_for_all and supervised[one.name:match(WORKER)]
      if not is_left_out then left[#left + 1] = one end
   end
   return #left > 0 and left or list
end

local function describe(list)
   local lines = {}
   for i, one in ipairs(list) do lines[i] = ("   %d  %s"):format(one.pid, escaped(one.name)) end
   return table.concat(lines, "\n")
end

--- The process that is meant.
-- @tparam ?string which a pid, a name, or the path of a socket; nil: the only one there is
-- @tparam[opt] boolean is_for_all a supervisor, which tells of all its workers, counts as one process; default: each of its workers
-- @treturn[1] table pid and name (nil for a path), path
-- @treturn[2] nil, string what is wrong
function processes.find(which, is_for_all)
   if which and which:find("/", 1, true) then
      local why = ask.refusal(which)
      if why then return nil, escaped(why) end
      return { path = which }
   end
   local all, list = processes.list(), {}
   for _, one in ipairs(all) do
      if not which or matches(one, which) then list[#list + 1] = one end
   end
   if #list > 1 then list = those_meant(list, is_for_all) end
   if #list == 1 then return list[1] end
   if #list > 1 then return nil, ("%d processes%s; which one?\n%s"):format(#list, which and " have that name" or "", describe(list)) end
   if #all == 0 then return nil, "no process of this user has a console: `moonrabbit run` opens one, mr.console() in another host" end
   return nil, ('no process "%s"; there are:\n%s'):format(escaped(which), describe(all))
end

--- Requests a page of a process.
-- @tparam table process of processes.find
-- @tparam string path with its query
-- @tparam[opt] string body of a POST request
-- @tparam[opt] boolean for_ever waits as long as it takes: for what the script has to do
-- @tparam[opt] table hold as of ask.page
-- @treturn[1] table the decoded page
-- @treturn[1] number the status code
-- @treturn[1] string the page as it came
-- @treturn[2] nil, string what is wrong
function processes.ask(process, path, body, for_ever, hold)
   local code, text = ask.page(process.path, path, not for_ever and PATIENCE or nil, body, hold)
   if not code then return nil, text end
   local ok, page = pcall(json.decode, text)
   if not ok then return nil, process.path .. ": does not answer like a console of Moonrabbit" end
   return page, code, text
end

--- True if a process no longer listens, or has removed its socket.
-- @tparam table process of processes.find
function processes.is_gone(process)
   if ask.is_dead(process.path) then return true end
   local _, _, code = io.open(process.path)
   return code == MISSING
end

--- Requests the page /status of a process.
-- @tparam table process of processes.find
-- @treturn[1] table the page
-- @treturn[1] string the same as it came
-- @treturn[2] nil, string what is wrong
function processes.status(process)
   local page, code, text = processes.ask(process, "/status")
   if not page then return nil, code end
   if type(page) ~= "table" or code ~= 200 or type(page.script) ~= "table" then
      return nil, ("%s: does not answer with a page /status like a console of Moonrabbit (HTTP status %d)"):format(process.path, code)
   end
   return page, text
end

return processes

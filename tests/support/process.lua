--- process: the command running beside a test: its output, its signals, its end.
-- SPDX-License-Identifier: MIT
local broker = require "broker"

local process = {}

local Process = {}
Process.__index = Process
local started = {}

local function read(path)
   local f = io.open(path)
   if not f then return nil end
   local text = f:read "*a"
   f:close()
   return text
end

--- Starts a shell command, which is to be one program; standard output and error go to one file.
-- @tparam string command
-- @tparam[opt] string environment such as "A=1 B=2"
function process.start(command, environment)
   local file = os.tmpname()
   local self = setmetatable({ file = file }, Process)
   os.execute(("{ %s sh -c 'echo $$ >%s.pid; exec %s' >%s 2>&1 </dev/null; echo $? >%s.code; } &"):format(environment or "",
      file, command, file, file))
   self.pid = tonumber(broker.eventually("the process", function()
      local pid = read(file .. ".pid")
      return pid and pid:match "^(%d+)\n"
   end))
   started[#started + 1] = self
   return self
end

--- `moonrabbit run` with some options of a script on disk, at the broker of the suite.
function process.run(options, path, environment)
   return process.start(("%s run %s %s"):format(broker.command, options, path), ("AMQP_URL=%s %s"):format(broker.tcp_url,
      environment or ""))
end

--- All that it has written so far.
function Process:output() return read(self.file) or "" end

--- Waits until it has written `text` (plain) `count` (1) times.
function Process:says(text, count)
   local function times()
      local n, at = 0, 0
      repeat
         at = self:output():find(text, at + 1, true)
         if at then n = n + 1 end
      until not at
      return n
   end
   local ok, why = pcall(broker.eventually, ("%q"):format(text), function() return times() >= (count or 1) end)
   if not ok then error(tostring(why) .. "; it said:\n" .. self:output(), 2) end
end

--- Sends a signal, such as "TERM".
function Process:signal(name) os.execute(("kill -%s %d"):format(name, self.pid)) end

--- Waits until it has taken the signals that it was sent: two alike would be one, and of two others the order is the system's.
function Process:heeds()
   broker.eventually("its heed of signals", function()
      local status = read(("/proc/%d/status"):format(self.pid))
      return not status or not status:match "ShdPnd:%s*(%x+)":find "[^0]"
   end)
end

--- Waits for its end; returns its output and its exit code.
function Process:wait()
   local code = tonumber(broker.eventually("the end of the process", function()
      local text = read(self.file .. ".code")
      return text and text:match "^(%d+)\n"
   end, 60))
   self.has_ended = true
   local out = self:output()
   for _, suffix in ipairs { "", ".pid", ".code" } do os.remove(self.file .. suffix) end
   return out, code
end

--- Ends it by SIGTERM.
function Process:stop()
   self:signal "TERM"
   return self:wait()
end

-- The process, and all that it has started and those have; each is stopped first, so that it starts no more.
local function family(pid, list)
   os.execute(("kill -STOP %d 2>/dev/null"):format(pid)) -- it may have ended by itself
   list[#list + 1] = pid
   for child in (read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""):gmatch "%d+" do family(tonumber(child), list) end
   return list
end

--- Ends those that a failed test has left, and what they have started.
function process.end_all()
   for _, self in ipairs(started) do
      if not self.has_ended then
         for _, pid in ipairs(family(self.pid, {})) do os.execute(("kill -KILL %d 2>/dev/null"):format(pid)) end
         self:wait()
      end
   end
   started = {}
end

return process

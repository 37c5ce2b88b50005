--- pane: a program at a real terminal: a pane of tmux, with a server of its own.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local ffi = require "ffi"
local mr = require "moonrabbit"

local pane = {}

ffi.cdef 'int mr_pane_pid(void) __asm__("getpid");'

local Pane = {}
Pane.__index = Pane
local started, count = {}, 0

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- A tmux command takes some milliseconds.
local function tmux(self, arguments)
   local pipe = assert(io.popen(("tmux -L %s %s 2>&1"):format(self.server, arguments)))
   local out = pipe:read "*a"
   pipe:close()
   return out
end

--- Starts a shell command; when it ends, its exit code is a line "exit N".
-- @tparam string command
-- @tparam[opt] string environment such as "A=1 B=2"
-- @tparam[opt] table size columns=80, rows=24
function pane.start(command, environment, size)
   count = count + 1
   size = size or {}
   local self = setmetatable({ server = ("spec-%d-%d"):format(ffi.C.mr_pane_pid(), count) }, Pane)
   local line = ("env LC_ALL=C.UTF-8 TERM=screen %s %s; echo exit $?; sleep 1000"):format(environment or "", command)
   tmux(self, ("-u -f /dev/null new-session -d -x %d -y %d %s"):format(size.columns or 80, size.rows or 24, quoted(line)))
   started[#started + 1] = self
   return self
end

--- What the terminal shows, and what has gone off its top; without the spaces at the ends of lines.
-- @tparam[opt] boolean has_colours with the sequences for colours
function Pane:shows(has_colours) return tmux(self, "capture-pane -p -S -500" .. (has_colours and " -e" or "")) end

--- Waits until the terminal shows a text (plain); returns all that it shows.
function Pane:has(text, times)
   local seen
   local ok = pcall(broker.eventually, text, function()
      mr.sleep(0.03)
      seen = self:shows()
      local n, at = 0, 0
      repeat
         at = seen:find(text, at + 1, true)
         if at then n = n + 1 end
      until not at
      return n >= (times or 1)
   end, 60)
   if not ok then error(("not seen: %s\n%s"):format(text, seen), 2) end
   return seen
end

--- Types a text.
function Pane:types(text) tmux(self, "send-keys -l -- " .. quoted(text)) end

--- Presses keys by tmux's names: "Enter", "Tab", "C-c", "Up".
function Pane:presses(...) tmux(self, "send-keys " .. table.concat({ ... }, " ")) end

--- Types a line.
function Pane:enters(text)
   self:types(text)
   self:presses "Enter"
end

--- What tmux knows of it, such as "alternate_on" or "cursor_flag".
function Pane:is(what) return (tmux(self, ("display-message -p '#{%s}'"):format(what)):gsub("%s+$", "")) end

--- Gives the terminal another size.
function Pane:resize(columns, rows) tmux(self, ("resize-window -x %d -y %d"):format(columns, rows)) end

--- Waits for the end of the command.
-- @treturn number exit code
function Pane:exit_code() return tonumber(self:has "\nexit ":match "\nexit (%d+)") end

--- Ends all that a test has started.
function pane.end_all()
   for _, self in ipairs(started) do
      tmux(self, "kill-server")
      os.execute("rm -f ${TMUX_TMPDIR:-/tmp}/tmux-$(id -u)/" .. self.server)
   end
   started = {}
end

return pane

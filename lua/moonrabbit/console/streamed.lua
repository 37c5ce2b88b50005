--- streamed: the answer to an expression as lines of JSON: one with each part of what it prints, as it comes, and the answer itself.
-- SPDX-License-Identifier: MIT
-- Of a client that reads slowly a bounded number of bytes is kept: print waits for it. Only where it cannot wait, such as within
-- table.sort, is what finds no room left out.
local json = require "moonrabbit.base.json"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"
local utf8_text = require "moonrabbit.base.utf8_text"

local streamed = {}

local KIND, ROOM = "application/x-ndjson", 2 ^ 20 -- bytes that wait for a client
local PIECE = 32768  -- bytes of text in one line; as JSON they are at most six times as many
local PAUSE = 0.001  -- seconds between two tries

local Streamed = {}
Streamed.__index = Streamed

-- Where a piece that begins there ends: at most PIECE bytes on, and not within a character.
local function piece_end(text, at)
   local last = at + PIECE - 1
   if last >= #text then return #text end
   for i = last, last - 3, -1 do
      local next_byte = text:byte(i + 1)
      if next_byte < 0x80 or next_byte > 0xBF then return i end
   end
   return last
end

-- True when it is written; false: there is no room, and the caller cannot wait for it.
local function write(self, line)
   while not self.has_left and not self.put(line) do
      if not pcall(task.check) then return false end
      loop.sleep(PAUSE)
   end
   return true
end

local function line_of(answer) return utf8_text.repaired(json.encode(answer)) .. "\n" end

--- Sends a part of what the expression prints.
-- @tparam string text
-- @treturn number how many bytes of it were left out
function Streamed:print(text)
   local at = 1
   while at <= #text do
      local last = piece_end(text, at)
      if not write(self, line_of { output = text:sub(at, last) }) then return #text - at + 1 end
      at = last + 1
   end
   return 0
end

--- Sends the answer, and ends.
-- @tparam table answer of evaluate.run
function Streamed:finish(answer)
   local line = line_of(answer)
   for at = 1, #line, PIECE do write(self, line:sub(at, at + PIECE - 1)) end
   self.close()
end

--- The client has left: nothing waits for it any more.
function Streamed:leave() self.has_left = true end

--- Begins an answer.
-- @tparam table request of host_pages.serve_console
-- @treturn table with the methods print, finish, leave; nil: there is no memory
function streamed.begin(request)
   local put, close = request.stream(KIND, ROOM)
   if not put then return nil end
   return setmetatable({ put = put, close = close, has_left = false }, Streamed)
end

return streamed

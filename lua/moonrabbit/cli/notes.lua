--- cli.notes: what workers were at when they died: each notes in a file what came again, the supervisor counts.
-- SPDX-License-Identifier: MIT
-- A file, because its content outlives the process, however that ends. Only messages that are delivered again are noted: a line
-- "+KEY" when the handler begins ("*KEY": with no other in its last round beside it), "-KEY" when it has ended. The supervisor adds
-- up what was begun and not ended when a worker died, in a file that all workers read.
local checksum = require "moonrabbit.base.checksum"
local each = require "moonrabbit.base.each"
local ledger = require "moonrabbit.channel.ledger"
local log = require "moonrabbit.loop.log"

local notes = {}

local MOST = 1000           -- keys counted; the oldest are forgotten
local LONG = 65536          -- bytes of a file that is begun anew when nothing is in hand

local function read(path)
   local file = io.open(path)
   if not file then return "" end
   local text = file:read "*a"
   file:close()
   return text
end

-- ---- a worker ----

local Worker = {}
Worker.__index = Worker

function Worker.key(msg, queue) return checksum(ledger.key(msg, queue)) end

--- How many workers died with this message in hand, and whether one did so with it alone.
function Worker:count(key)
   if self.forgotten[key] then return 0, false end
   local n, alone = read(self.deaths):match("%f[%x]" .. key .. " (%d+) (%d)\n")
   return tonumber(n) or 0, alone == "1"
end

local function write(self, sign, key)
   if not self.file then
      self.file = io.open(self.path, "a")
      if not self.file then return end
      self.file:setvbuf "no"
   end
   self.file:write(sign, key, "\n")
   self.size = self.size + #key + 2
end

function Worker:begin(key, is_alone)
   self.in_hand = self.in_hand + 1
   write(self, is_alone and "*" or "+", key)
end

function Worker:done(key)
   self.in_hand = self.in_hand - 1
   write(self, "-", key)
   if self.in_hand > 0 or self.size < LONG or not self.file then return end
   self.file:close()
   self.file, self.size = io.open(self.path, "w"), 0
   if self.file then self.file:setvbuf "no" end
end

--- It was given up: should it come back one day, it begins anew.
function Worker:forget(key)
   self.forgotten[key] = true
   write(self, "!", key)
end

--- The notes of a worker.
-- @tparam string path of its file
-- @treturn table for rounds.use
function notes.worker(path)
   local self = setmetatable({ path = path, deaths = path:match "^.*/" .. "deaths", forgotten = {}, in_hand = 0, size = 0 }, Worker)
   local bound = { key = Worker.key }
   for _, name in ipairs { "count", "begin", "done", "forget" } do bound[name] = function(...) return self[name](self, ...) end end
   return bound
end

-- ---- the supervisor ----

local Book = {}
Book.__index = Book

--- The path of a worker's file.
function Book:path(number) return ("%s/notes.%d"):format(self.folder, number) end

local function save(self)
   local lines = {}
   for _, key in ipairs(self.order) do
      if self.counts[key] then lines[#lines + 1] = ("%s %d %d\n"):format(key, self.counts[key], self.alone[key] and 1 or 0) end
   end
   local path = self.folder .. "/deaths"
   local file = io.open(path .. ".new", "w")
   if not file then return end
   file:write(table.concat(lines))
   file:close()
   os.rename(path .. ".new", path)
end

local function forget(self, key)
   for i, other in ipairs(self.counts[key] and self.order or {}) do
      if other == key then table.remove(self.order, i) break end
   end
   self.counts[key], self.alone[key] = nil, nil
end

local function count_death(self, key)
   if not self.counts[key] then
      self.order[#self.order + 1] = key
      if #self.order > MOST then forget(self, self.order[1]) end
   end
   self.counts[key] = (self.counts[key] or 0) + 1
end

--- A worker has ended: counts what it was at, if it died of it.
-- @tparam number number
-- @tparam boolean has_died
function Book:ended(number, has_died)
   local path, in_hand = self:path(number), {}
   local alone = {}
   for sign, key in read(path):gmatch "([%+%*%-!])(%x+)\n" do
      if sign == "!" then forget(self, key) else in_hand[key] = (in_hand[key] or 0) + (sign == "-" and -1 or 1) end
      alone[key] = sign == "*" or nil
   end
   os.remove(path)
   if not has_died then return save(self) end
   for key, n in each(in_hand) do
      if n > 0 then
         count_death(self, key)
         self.alone[key] = self.alone[key] or alone[key]
         log.warn("a worker died with a message in hand that had been delivered before", { worker = number, key = key,
            deaths = self.counts[key] })
      end
   end
   save(self)
end

--- Removes its files.
function Book:close(workers)
   for number = 1, workers do os.remove(self:path(number)) end
   os.remove(self.folder .. "/deaths")
end

--- The book of a supervisor.
-- @tparam string folder for the files
-- @treturn table methods path, ended, close
function notes.book(folder) return setmetatable({ folder = folder, counts = {}, alone = {}, order = {} }, Book) end

return notes

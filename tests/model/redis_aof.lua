-- redis_aof: what the append-only file of a Redis says of some messages, known by their correlation id.
-- SPDX-License-Identifier: MIT
local files = require "files"

local aof = {}

-- The commands of a file, in their order: fn(words, is_single); a single one stands in no MULTI.
local function each_command(text, fn)
   local at, is_single = 1, true
   while true do
      local _, e, count = text:find("^%*(%d+)\r\n", at)
      if not e then return end -- the end; or what a kill has cut
      local words = {}
      at = e + 1
      for i = 1, tonumber(count) do
         local _, f, size = text:find("^%$(%d+)\r\n", at)
         if not f then return end
         words[i] = text:sub(f + 1, f + size)
         at = f + size + 3
      end
      words[1] = words[1]:upper()
      if words[1] == "MULTI" then is_single = false end
      fn(words, is_single)
      if words[1] == "EXEC" then is_single = true end
   end
end

local function id_of(text) return text:match '"correlation_id": "([^"]+)"' end

-- The lists as they were after each command: by their keys, of ids, the first is the left one.
local function follower(wanted, tell)
   local lists, names = {}, {}
   local function list(key)
      lists[key] = lists[key] or {}
      return lists[key]
   end
   local follow = {}
   function follow.LPUSH(w, say)
      for i = 3, #w do table.insert(list(w[2]), 1, id_of(w[i]) or "") say(id_of(w[i]), "LPUSH " .. w[2]) end
   end
   function follow.RPUSH(w, say)
      for i = 3, #w do table.insert(list(w[2]), id_of(w[i]) or "") say(id_of(w[i]), "RPUSH " .. w[2]) end
   end
   function follow.RPOP(w, say, is_single)
      local id = table.remove(list(w[2]))
      say(id, (is_single and "BRPOP " or "RPOP ") .. w[2])
   end
   function follow.DEL(w)
      for i = 2, #w do lists[w[i]] = nil end
   end
   function follow.HSET(w, say)
      names[w[3]] = id_of(w[4])
      say(names[w[3]], w[1] .. " " .. w[3])
   end
   follow.HSETNX = follow.HSET
   function follow.HDEL(w, say)
      for i = 3, #w do say(names[w[i]], "HDEL " .. w[i]) names[w[i]] = nil end
   end
   function follow.ZADD(w, say) say(id_of(w[#w]), "ZADD " .. w[2]) end
   function follow.ZREM(w, say)
      for i = 3, #w do say(id_of(w[i]), "ZREM " .. w[2]) end
   end
   return function(words, is_single)
      local fn = follow[words[1]]
      if fn then fn(words, function(id, what) if wanted[id] then tell(id, what) end end, is_single) end
   end
end

--- What was done with each of some messages, in order.
-- @tparam string folder of the append-only files, "appendonlydir"
-- @tparam table wanted a set of ids
-- @treturn table id -> list of texts such as "LPUSH q"; BRPOP is kombu's, RPOP one of a script
function aof.events(folder, wanted)
   local events = {}
   for id in pairs(wanted) do events[id] = {} end
   local follow = follower(wanted, function(id, what) table.insert(events[id], what) end)
   local pipe = assert(io.popen("ls -v " .. folder .. "/*.incr.aof"))
   for path in pipe:lines() do each_command(files.read(path), follow) end
   pipe:close()
   return events
end

return aof

-- redis_ledger: what was confirmed is handled, whatever happens to Redis, to our processes and to kombu's.
-- Run it with: moonrabbit run tests/model/redis_ledger.lua SECONDS [SEED [ROUND]]
-- Processes of ours and one of kombu's publish to the same queues and consume from them, by a private Redis (appendonly, always).
-- Once in a second or two one of them is killed or stopped, Redis, too, or their connections are. After each round of ROUND seconds
-- (90) all is handled, and the books of all (redis_book) are compared. What kombu loses by itself is told by Redis's own file (redis_aof).
-- SPDX-License-Identifier: MIT
package.path = "tests/model/?.lua;tests/support/?.lua;" .. package.path
local mr = require "moonrabbit"
local aof = require "redis_aof"
local book = require "redis_book"
local files = require "files"
local redis = require "redis"

local SECONDS, SEED = tonumber(mr.args[1]) or 60, tonumber(mr.args[2]) or os.time()
local ROUND = tonumber(mr.args[3]) or 90
local COMMAND = os.getenv "MOONRABBIT_COMMAND" or ".build/release/bin/moonrabbit"
local END = 120      -- seconds for the last messages
local STANDSTILL = 45 -- seconds without an end of a message that are too many, among faults
local VISIBILITY = 5

local state = SEED % 2147483646 + 1
local function fate(n) -- Lehmer's generator, with the constants of Park, Miller and Stockmeyer 1993
   state = state * 48271 % 2147483647
   return n and math.floor(state / 2147483647 * n) + 1 or state / 2147483647
end

io.stdout:setvbuf "line"
local began = mr.now()
local function say(form, ...) print(("%7.1f " .. form):format(mr.now() - began, ...)) end

redis.start()
files.write(redis.dir .. "/redis.conf", files.read(redis.dir .. "/redis.conf") .. "auto-aof-rewrite-percentage 0\n")
redis.cli("CONFIG", "SET", "auto-aof-rewrite-percentage", 0)
local url = redis.env.MR_REDIS_URL
print(("%g s, seed %d, %s"):format(SECONDS, SEED, redis.dir))

-- ---- the processes ----

local actors = {} -- by their places: "steady" is never killed

local COMMANDS = {
   ours = ("%s run --log-level error tests/model/redis_worker.lua %s?visibility_timeout=%d %s %%s"):format(COMMAND, url, VISIBILITY,
      redis.dir),
   kombu = ("/usr/bin/python3 tests/model/redis_peer.py %s %s %%s"):format(url, redis.dir),
}

local function start(place)
   local a = actors[place]
   a.life = a.life + 1
   a.name = ("%s.%d"):format(place, a.life)
   book.open(redis.dir, a.name)
   local path = redis.dir .. "/pid." .. a.name
   local command = COMMANDS[a.kind]:format(a.name)
   os.execute(("sh -c 'echo $$ >%s; exec %s' >>%s/out.%s 2>&1 </dev/null &"):format(path, command, redis.dir, place))
   repeat
      mr.sleep(0.01)
      local file = io.open(path)
      a.pid = file and tonumber(file:read "*l")
      if file then file:close() end
   until a.pid
end

local function signal(a, name) os.execute(("kill -%s %d 2>/dev/null"):format(name, a.pid)) end

local function is_alive(a) return os.execute(("kill -0 %d 2>/dev/null"):format(a.pid)) == 0 end

local function memory(a)
   local file = io.open(("/proc/%d/status"):format(a.pid))
   local text = file and file:read "*a" or ""
   if file then file:close() end
   return (tonumber(text:match "VmRSS:%s+(%d+)") or 0) / 1024
end

-- ---- faults ----

local MORTAL = { "one", "two", "kombu" }
local ALL = { "one", "two", "kombu", "steady" }
local busy = 0 -- faults that last

local function during(who, fn, ...)
   local from = mr.now()
   book.fault(who, from, math.huge)
   local mine = book.faults[#book.faults]
   fn(...)
   mine.to = mr.now()
end

local function kill(name)
   local a = actors[MORTAL[fate(#MORTAL)]]
   local pause = fate() * 2
   if a.is_down then return end
   a.is_down = true
   busy = busy + 1
   mr.spawn(function()
      during(a.name, function()
         signal(a, "CONT")
         signal(a, name)
         if name == "TERM" then
            local limit = mr.now() + 45 -- it waits for handlers and confirms for 30 s
            while is_alive(a) and mr.now() < limit do mr.sleep(0.05) end
            if is_alive(a) then book.problem("%s does not end by SIGTERM", a.name) signal(a, "KILL") end
         end
      end)
      mr.sleep(pause)
      start(a.place)
      a.is_down, busy = false, busy - 1
   end)
end

local faults = {}
function faults.kill_process() kill "KILL" end
function faults.end_process() kill "TERM" end
function faults.stop_process()
   local a, seconds = actors[ALL[fate(#ALL)]], 0.5 + fate() * 8
   if a.is_down then return end
   busy = busy + 1
   mr.spawn(function()
      during(a.name, function()
         signal(a, "STOP")
         mr.sleep(seconds)
         signal(a, "CONT")
      end)
      busy = busy - 1
   end)
end
function faults.kill_redis()
   local pause = fate() * 1.5
   during("redis", function()
      redis.kill()
      mr.sleep(pause)
      redis.start()
   end)
end
function faults.stop_redis()
   local pid, pause = files.read(redis.dir .. "/pid"):match "%d+", 0.2 + fate() * 2.5
   during("redis", function()
      os.execute("kill -STOP " .. pid)
      mr.sleep(pause)
      os.execute("kill -CONT " .. pid)
   end)
end
function faults.cut()
   local kind = fate() < 0.5 and "normal" or "pubsub"
   during("redis", function() redis.cli("CLIENT", "KILL", "TYPE", kind) end)
end
local NAMES = { "kill_redis", "kill_redis", "kill_process", "kill_process", "kill_process", "end_process", "stop_process", "stop_process",
   "stop_redis", "cut", "cut" }

-- ---- a round ----

local function phase(name) files.write(redis.dir .. "/phase", name) end

local function watch_progress()
   book.read()
   if book.last_end == 0 or mr.now() - book.last_end < STANDSTILL then return end
   book.problem("nothing was handled for %.0f s", mr.now() - book.last_end)
   book.last_end = mr.now()
end

local function strike(seconds)
   local over, calm = mr.now() + seconds, mr.now() + seconds * 0.6
   while mr.now() < over do
      local name = NAMES[fate(#NAMES)]
      faults[name]()
      book.add("fault: " .. name)
      mr.sleep(0.5 + fate() * 1.5)
      watch_progress()
      if mr.now() > calm and seconds >= 60 then -- what happens twice now has another cause than a fault
         mr.sleep(seconds * 0.25)
         calm = math.huge
      end
   end
end

local function left()
   local text = ""
   for _, key in ipairs { "led.work", "led.raw", "led.work.dead", "led.raw.dead" } do
      for _, suffix in ipairs { "", "\6\0223", "\6\0226", "\6\0229" } do
         local n = redis.cli("LLEN", key .. suffix)
         if n ~= "0" then text = ("%s %s%s:%s"):format(text, key, suffix:sub(3), n) end
      end
   end
   for key, n in pairs { unacked = redis.cli("HLEN", "unacked"), index = redis.cli("ZCARD", "unacked_index"),
      delayed = redis.cli("ZCARD", "moonrabbit.delayed"), invalid = redis.cli("LLEN", "moonrabbit.invalid") } do
      if n ~= "0" then text = ("%s %s:%s"):format(text, key, n) end
   end
   return text
end

local function rest()
   while busy > 0 do mr.sleep(0.05) end
   local from = mr.now()
   phase "rest"
   repeat
      mr.sleep(0.25)
      book.read()
      local waits_for = nil
      for _, a in pairs(actors) do if (book.idle[a.name] or 0) < mr.now() - 1 then waits_for = a.name end end
      local remains = waits_for or left()
      if remains == "" then return book.read() end -- what was acked while it was counted, too
      if mr.now() - from > END then book.problem("in vain waited %d s for: %s", END, remains) return end
   until false
end

-- Lost by kombu: popped by its BRPOP, and never recorded.
local function why(missing)
   local wanted, by_kombu, texts = {}, {}, {}
   for _, id in ipairs(missing) do wanted[id] = true end
   for id, events in pairs(aof.events(redis.dir .. "/data/appendonlydir", wanted)) do
      by_kombu[id] = (events[#events] or ""):find "^BRPOP" ~= nil
      texts[id] = table.concat(events, ", ")
   end
   return by_kombu, texts
end

-- The books of a round are done: Redis's file begins anew.
local function turn_page()
   local before = redis.cli("INFO", "persistence"):match "aof_base_size:(%d+)"
   redis.cli "BGREWRITEAOF"
   local limit = mr.now() + 30
   repeat
      mr.sleep(0.1)
      local info = redis.cli("INFO", "persistence")
   until before and info:find("aof_rewrite_in_progress:0", 1, true) and info:find("aof_rewrite_scheduled:0", 1, true) or mr.now() > limit
end

-- ---- the run ----

files.write(redis.dir .. "/driver", files.read "/proc/self/stat":match "%d+")
phase "publish"
for _, place in ipairs(ALL) do
   actors[place] = { place = place, kind = place == "kombu" and "kombu" or "ours", life = 0 }
   start(place)
end
mr.sleep(2)
local first_memory
repeat
   phase "publish"
   strike(math.min(ROUND, math.max(1, SECONDS - (mr.now() - began))))
   local at = mr.now()
   rest()
   book.close(why)
   local now = memory(actors.steady)
   first_memory = first_memory or now
   book.add "rounds"
   say("round: %d confirmed, %d handled, %d again, at rest after %.1f s; longest gap %.1f s; steady has %.1f MiB; problems: %d",
      book.count.confirmed, book.count.handled, book.count["handled again"] or 0, mr.now() - at, book.longest_gap, now, #book.problems)
   turn_page()
until mr.now() - began >= SECONDS or #book.problems > 20
local last_memory = memory(actors.steady)
local failures = redis.shell(("grep -h 'task failed\\|Error' %s/out.* | head -5"):format(redis.dir))
for line in failures:gmatch "[^\n]+" do book.problem("%s", line) end
if not is_alive(actors.steady) then book.problem "the process that nobody kills has ended" end

for _, a in pairs(actors) do signal(a, "KILL") end
local names = {}
for what in pairs(book.count) do names[#names + 1] = what end
table.sort(names)
for _, what in ipairs(names) do print(("%-36s %9d"):format(what, book.count[what])) end
print(("memory of the process that nobody kills: %.1f MiB after the first round, %.1f at the end"):format(first_memory, last_memory))

if #book.problems > 0 then
   redis.stop()
   print(("%d problems; seed %d; see %s"):format(#book.problems, SEED, redis.dir))
   error("the ledger of Redis does not hold", 0)
end
redis.clean()
print "the ledger of Redis holds"
mr.stop()

--- script: what a message costs in Lua, in numbers that a busy machine does not change; called by tests/instructions/run.sh.
-- SPDX-License-Identifier: MIT
--
--   moonrabbit run tests/instructions/script.lua publish|consume|consumer
--
-- Prints "KIND WHAT NUMBER":
--   bytes    garbage of 1000 messages, once all is compiled. What the compiler keeps out of memory is made when its code
--            falls back to the interpreter: so this counts that, too.
--   late     traces that were given up in that time. Code that runs for each message has been compiled, or refused, before.
--   refused  the most times that one place was given up because LuaJIT does not compile what is there. It tries some twenty times.
local mr = require "moonrabbit"
local util = require "jit.util"
local vmdef = require "jit.vmdef"

local WARM, MEASURED, MOST, PREFETCH = 100000, 50000, 1000, 1000

local kind = ...
local late, places, refused = 0, {}, 0

-- The numbers of the errors that say: this is never compiled. NYI is "not yet implemented".
local is_refusal = {}
for number, text in pairs(vmdef.traceerr) do
   is_refusal[number] = (text:find "^NYI" or text:find "^blacklisted" or text:find "disabled for function") ~= nil
end

local function place_of(func, pc)
   local info = util.funcinfo(func, pc)
   return info.loc or tostring(info.ffid or info.addr)
end

local function on_trace(what, _, func, pc, why)
   if what ~= "abort" then return end
   late = late + 1
   if not is_refusal[why] then return end
   local place = place_of(func, pc)
   places[place] = (places[place] or 0) + 1
   refused = math.max(refused, places[place])
end
jit.off(on_trace)

local before

local function begin()
   late = 0
   collectgarbage()
   collectgarbage "stop"
   before = collectgarbage "count"
end

local function finish()
   local kib = collectgarbage "count" - before
   local own = late
   collectgarbage "restart"
   print(("%s bytes %d"):format(kind, kib * 1024 / MEASURED * 1000 + 0.5))
   print(("%s late %d"):format(kind, own))
   print(("%s refused %d"):format(kind, refused))
   for place, times in pairs(places) do io.stderr:write(("%s is refused %d times\n"):format(place, times)) end
end

local conn = mr.connect "memory://"
local ch = assert(conn:channel())
local body, sum, seen = ("x"):rep(100), 0, 0
local done = mr.event()

local function handle(msg)
   if seen == WARM then begin() end
   if seen == WARM + MEASURED then finish() done:set() end
   seen = seen + 1
   sum = sum + #msg.body
end

local kinds = {}

local function publish(messages)
   for _ = 1, messages / MOST do
      for _ = 1, MOST do assert(ch:publish_async("", "script", body)) end
      assert(ch:wait_for_confirms(60))
   end
end

function kinds.publish()
   publish(WARM)
   begin()
   publish(MEASURED)
   finish()
end

local function fill() publish(WARM + MEASURED + MOST) end

function kinds.consume()
   fill()
   local consuming = assert(conn:channel())
   assert(consuming:qos { prefetch_count = PREFETCH })
   assert(consuming:consume("script", handle))
   assert(done:wait(60))
end

function kinds.consumer()
   fill()
   mr.consumer { connection = conn, queue = "script", declare = false, dead_letter = false, prefetch = PREFETCH,
      retry = mr.retry.exponential { attempts = 8 }, middleware = { function(msg, next) return next(msg) end }, handler = handle }
   assert(done:wait(60))
end

assert(ch:queue_declare { queue = "script" })
assert(ch:confirm_select())
jit.attach(on_trace, "trace")
kinds[kind]()
mr.stop()

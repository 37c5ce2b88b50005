--- calls: a client whose system calls tests/instructions/run.sh counts with strace, against a broker in another process.
-- SPDX-License-Identifier: MIT
--
--   moonrabbit run --url URL tests/instructions/calls.lua
--
-- Before each round it asks for a file KIND/MESSAGES, which is not there: in strace's output this is where the round begins.
local ffi = require "ffi"
local mr = require "moonrabbit"

local ROUNDS, MANY, PREFETCH = 20, 1000, 1000
local FEW_ROUNDS, FEW = 20, 100 -- one by one

ffi.cdef [[int calls_access(const char *path, int mode) __asm__("access");]]
local function begin(kind, messages) ffi.C.calls_access(("round/%s/%d"):format(kind, messages), 0) end

require("moonrabbit.testing").lead_patience(1000) -- under strace a system call takes very long
mr.busy_poll(0)
local conn = mr.connect()
local body = ("x"):rep(100)

local function publish_many(ch)
   for _ = 1, ROUNDS do
      begin("publish-many", MANY)
      for _ = 1, MANY do assert(ch:publish_async("", "calls", body)) end
      assert(ch:wait_for_confirms(60))
   end
end

local function publish_one_by_one(ch)
   for _ = 1, FEW_ROUNDS do
      begin("publish-one-by-one", FEW)
      for _ = 1, FEW do assert(ch:publish("", "calls", body)) end
   end
end

-- Rounds of twice the prefetch: each has answers to wait for.
local function consume(kind, messages, prefetch, rounds)
   local ch, seen, done = assert(conn:channel()), 0, mr.event()
   assert(ch:qos { prefetch_count = prefetch })
   assert(ch:consume("calls", function()
      if seen == messages * rounds then
         begin("end", 1)
         done:set()
      elseif seen % messages == 0 and seen < messages * rounds then
         begin(kind, messages)
      end
      seen = seen + 1
   end))
   assert(done:wait(60))
   assert(ch:close())
end

local ch = assert(conn:channel())
assert(ch:queue_declare { queue = "calls", exclusive = true })
assert(ch:confirm_select())
publish_many(ch)
publish_one_by_one(ch)
begin("end", 1)
consume("consume-one-by-one", FEW, 1, FEW_ROUNDS)
consume("consume-many", 2 * PREFETCH, PREFETCH, ROUNDS * MANY / (2 * PREFETCH) - 1)
conn:close()

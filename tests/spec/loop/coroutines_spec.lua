--- coroutines: those of the script's own within a task, and tasks that somebody else wants to resume.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 122
local mr = require "moonrabbit"
local coroutines = require "moonrabbit.loop.coroutines"
local loop = require "moonrabbit.loop.loop"
local shutdown = require "moonrabbit.program.shutdown"
local task = require "moonrabbit.loop.task"
local waits = require "waits"

local coroutines_path = debug.getinfo(coroutines.suspend, "S").source:sub(2)

local function in_task(fn)
   local box = waits.background(fn)
   waits.eventually("the end of the task", function() return box.done end)
   return box.result, box.err
end

describe("a coroutine of the script's own", function()
   after_each(function() loop.close(1) end)

   it("waits by itself: what was begun first does not wait for what was begun last (FIELD-H3)", function()
      local order, began = {}, mr.now()
      for i = 1, 4 do
         mr.spawn(function()
            coroutine.wrap(function() mr.sleep(i * 0.1) end)()
            order[#order + 1] = i
         end)
      end
      waits.eventually("all", function() return #order == 4 end)
      assert.same({ 1, 2, 3, 4 }, order)
      assert.is_true(mr.now() - began >= 0.4)
   end)

   it("ends what waits first although it was begun first, in handlers, too (FIELD-H3)", function()
      local conn = mr.connect "memory://coroutines"
      local ch = assert(conn:channel())
      local pool = assert(mr.pool { url = "memory://coroutines", max_connections = 2 })
      assert(ch:queue_declare { queue = "work", auto_delete = true })
      local handled = 0
      assert(ch:consume("work", function()
         coroutine.wrap(function()
            assert(pool:with(function(lent)
               mr.sleep(0.001)
               return lent:queue_declare { queue = "work", passive = true }
            end))
         end)()
         handled = handled + 1
      end))
      for _ = 1, 4 do assert(ch:publish("", "work", "x")) end
      waits.eventually("four messages", function() return handled == 4 end)
      pool:close()
   end)

   it("keeps its own yields: a generator that waits between its values (FIELD-H3)", function()
      local seen, others = {}, 0
      local timer = mr.every(0.001, function() others = others + 1 end)
      in_task(function()
         local function rows()
            for i = 1, 3 do
               mr.sleep(0.005)
               local got = coroutine.yield(i, nil)
               assert.is_nil(got)
            end
            return nil
         end
         for i in coroutine.wrap(rows) do seen[#seen + 1] = i end
      end)
      timer:cancel()
      assert.same({ 1, 2, 3 }, seen)
      assert.is_true(others > 0)
   end)

   it("may be in another, which goes on when it does (FIELD-H3)", function()
      local got = in_task(function()
         local inner = coroutine.wrap(function(a)
            mr.sleep(0.001)
            local b = coroutine.yield(a + 1)
            mr.sleep(0.001)
            return a + b
         end)
         local outer = coroutine.wrap(function()
            local first = inner(1)
            mr.sleep(0.001)
            coroutine.yield(first)
            return inner(10)
         end)
         return { outer(), outer() }
      end)
      assert.same({ 2, 11 }, got)
   end)

   it("gives all its values and errors as Lua's does (FIELD-H3)", function()
      local raw = coroutines.resume
      local function results(resume, fn, ...)
         local co = coroutine.create(fn)
         return { n = select("#", resume(co, ...)) }, { resume(co, ...) }, { resume(co, ...) }, coroutine.status(co)
      end
      local bodies = {
         function() end, function() return nil, nil end, function(...) return ... end, function() error { 1 } end,
         function() error("text", 0) end, function(...) coroutine.yield(coroutine.yield(...)) end,
      }
      for _, resume in ipairs { coroutine.resume, coroutine.resume } do
         for i, body in ipairs(bodies) do
            local theirs = { results(raw, body, 1, nil, 3) }
            assert.same(theirs, { results(resume, body, 1, nil, 3) }, i)
            assert.same(theirs, in_task(function() return { results(resume, body, 1, nil, 3) } end), i)
         end
      end
      assert.is_false(pcall(coroutine.resume, "no thread"))
      in_task(function()
         assert.is_false(pcall(coroutine.resume, "no thread"))
         assert.is_false(pcall(coroutine.wrap, 1))
         local w = coroutine.wrap(function() error("boom", 0) end)
         local _, why = pcall(w)
         assert.equal("boom", why)
         _, why = pcall(w)
         assert.is_truthy(why:find("dead coroutine", 1, true))
         local me
         me = coroutine.create(function() return coroutine.resume(me) end)
         local ok, inner, text = coroutine.resume(me)
         assert.same({ true, false }, { ok, inner })
         assert.is_truthy(text:find("cannot resume", 1, true))
      end)
   end)

   it("ends by the time limit of its handler (FIELD-H3)", function()
      local conn = mr.connect "memory://coroutines"
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "slow", auto_delete = true })
      local why
      mr.consumer { queue = "slow", connection = conn, declare = false, dead_letter = false, time_limit = 0.02,
         handler = function()
            local co = coroutine.create(function() mr.sleep(60) end)
            local _, err = coroutine.resume(co)
            why = err
            error(err, 0)
         end }
      assert(ch:publish("", "slow", "x"))
      waits.eventually("the time limit", function() return why end)
      assert.equal("timeout", why.kind)
   end)

   it("cannot be resumed while it waits (FIELD-H3)", function()
      local co = coroutine.create(function() return mr.sleep(0.02) or "slept" end)
      local first
      mr.spawn(function() first = { coroutine.resume(co) } end)
      in_task(function()
         local ok, why = coroutine.resume(co, "foreign")
         assert.is_false(ok)
         assert.is_truthy(why:find("mr.event", 1, true))
         ok, why = select(2, coroutines.resume(co, "foreign")) -- Lua's own
         assert.is_nil(ok)
         assert.is_truthy(why:find("mr.event", 1, true))
      end)
      assert.is_nil(first)
      waits.eventually("its end", function() return first end)
      assert.is_true(first[1])
   end)

   it("is refused when Moonrabbit cannot know who resumes it (FIELD-H3)", function()
      local ok, why = in_task(function()
         local _, resumed, text = pcall(coroutines.resume, coroutine.create(function() mr.sleep(0.001) end))
         return resumed, text
      end)
      assert.is_false(ok)
      assert.is_truthy(why:find("coroutines_spec%.lua:%d+: this cannot wait in a coroutine that Moonrabbit does not know of.*mr%.spawn"))
   end)

   it("pumps in the main chunk, and ends when the program is to stop (FIELD-H3)", function()
      local ok, why
      mr.after(0.01, mr.stop)
      coroutine.wrap(function() ok, why = pcall(mr.sleep, 600) end)()
      assert.is_false(ok)
      assert.equal(task.STOPPED, why)
   end)

   it("does not keep the program from stopping, by the deadline (FIELD-H3)", function()
      local conn = mr.connect "memory://coroutines"
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "stuck", auto_delete = true })
      local at_work = 0
      assert(ch:consume("stuck", function()
         at_work = at_work + 1
         coroutine.wrap(function() mr.event():wait() end)()
      end))
      for _ = 1, 3 do assert(ch:publish("", "stuck", "x")) end
      waits.eventually("the handlers", function() return at_work == 3 end)
      mr.log.configure "off"
      local began = mr.now()
      local left = shutdown.run(0.3)
      mr.log.configure "warn"
      assert.equal(3, left.handlers)
      assert.equal(3, #left.abandoned)
      assert.is_truthy(left.abandoned[1].at:find("coroutines_spec.lua", 1, true)) -- where it waits is told
      assert.is_true(mr.now() - began < 5)
   end)

   it("is not kept beyond its end", function()
      collectgarbage()
      local before = collectgarbage "count"
      for _ = 1, 200 do
         in_task(function() coroutine.wrap(function() mr.sleep(0) end)() end)
      end
      collectgarbage()
      assert.is_true(collectgarbage "count" - before < 512)
   end)
end)

describe("a task", function()
   after_each(function() loop.close(1) end)

   it("does not go on by somebody else's coroutine.resume, which is told why (FIELD-H2)", function()
      local co, slept
      mr.spawn(function()
         co = coroutine.running()
         local from = mr.now()
         mr.sleep(0.03)
         slept = mr.now() - from
      end)
      local function refused(resume, ...)
         local ok, a, b = resume(...)
         return tostring(ok) .. " " .. tostring(a) .. tostring(b)
      end
      assert.is_truthy(refused(coroutine.resume, co, "x"):find("^false .*mr%.event%(%)"))
      assert.is_truthy(refused(coroutines.resume, co, "x"):find("^true nil.*mr%.event%(%)")) -- Lua's own, taken before
      in_task(function()
         assert.is_truthy(refused(coroutine.resume, co, "x"):find("^false .*mr%.event%(%)"))
         assert.is_truthy(refused(coroutines.resume, co, "x"):find("^true nil.*mr%.event%(%)"))
      end)
      assert.is_nil(slept)
      waits.eventually("the end of its wait", function() return slept end)
      assert.is_true(slept >= 0.03)
      -- Its coroutine does other jobs now: nobody else gives it one.
      local ran
      assert.is_truthy(refused(coroutines.resume, co, function() ran = true end):find("mr.event", 1, true))
      assert.is_nil(ran)
      assert.is_true(in_task(function() return true end))
   end)

   it("gives way by a bare coroutine.yield, and is not resumed by others meanwhile (FIELD-H2)", function()
      local co, got
      mr.spawn(function()
         co = coroutine.running()
         got = { n = select("#", coroutine.yield()) }
      end)
      assert.is_nil(got)
      assert.is_false((coroutine.resume(co, "x")))
      assert.is_truthy(select(3, coroutines.resume(co, "x")):find("mr.event", 1, true))
      assert.is_nil(got)
      waits.eventually("its turn", function() return got end)
      assert.equal(0, got.n)
   end)

   it("says that nobody takes what it yields (FIELD-H2)", function()
      local ok, why = in_task(function() return pcall(coroutine.yield, 1) end)
      assert.is_false(ok)
      assert.is_truthy(why:find("mr.event", 1, true))
   end)

   it("bridges a callback by an event, where coroutine.yield cannot (FIELD-H2)", function()
      local callback
      local function ask(fn) callback = fn end -- another library
      local box = waits.background(function()
         local answered = mr.event()
         ask(function(...) answered:set(...) end)
         return answered:wait(10)
      end)
      callback("answer", 2)
      waits.eventually("the answer", function() return box.done end)
      assert.same({ "answer", 2 }, { box.result, box.err })
   end)
end)

describe("where coroutine.create, resume and yield are bound to a request, as in ngx_lua", function()
   -- The module anew, after ngx_lua has replaced Lua's functions; `bound` are the calls of those.
   local function load_again(bound, cleared)
      local names = { "create", "resume", "yield", "wrap" }
      local kept, registry = {}, debug.getregistry()
      local raw, exdata = registry["moonrabbit.coroutine"], package.loaded["thread.exdata"]
      local lua = { create = coroutine.create, resume = raw.resume, yield = raw.yield }
      for _, name in ipairs(names) do
         kept[name] = coroutine[name]
         coroutine["_" .. name] = lua[name]
         coroutine[name] = function(...)
            bound[#bound + 1] = name
            return lua[name](...)
         end
      end
      registry["moonrabbit.coroutine"] = nil
      package.loaded["thread.exdata"] = function(to) cleared[#cleared + 1] = to end
      local fresh = dofile(coroutines_path)
      registry["moonrabbit.coroutine"], package.loaded["thread.exdata"] = raw, exdata
      local theirs = { resume = coroutine.resume, yield = coroutine.yield }
      for _, name in ipairs(names) do coroutine[name], coroutine["_" .. name] = kept[name], nil end
      return fresh, theirs
   end

   it("makes and resumes tasks by Lua's own, and takes them out of the request (D1)", function()
      local bound, cleared = {}, {}
      local fresh = load_again(bound, cleared)
      local co = fresh.create(function(...)
         fresh.detach()
         return fresh.suspend(...)
      end)
      fresh.ours[co] = true
      assert.same({ true, "token" }, { fresh.resume(co, "token") })
      assert.same({ true, "answer" }, { fresh.resume(co, fresh.GO, "answer") })
      assert.same({}, bound)
      assert.equal(1, #cleared)
      assert.is_true(cleared[1] == nil)
      assert.equal("cdata", type(cleared[1]))
   end)

   it("leaves coroutines of a request to it", function()
      local bound = {}
      local _, ours = load_again(bound, {})
      local co = coroutine.create(function() return ours.yield "x" end)
      assert.same({ true, "x" }, { ours.resume(co) })
      assert.same({ true, "y" }, { ours.resume(co, "y") })
      assert.same({ "resume", "yield", "resume" }, bound)
   end)
end)

--- model: what the models share: chance that a seed repeats, a broker behind a proxy that cuts, problems, and the end.
-- SPDX-License-Identifier: MIT
-- MODEL_URL names a broker (RabbitMQ); without it there is an embedded one, which can do more mischief.
package.path = "tests/support/?.lua;" .. package.path
local mr = require "moonrabbit"
local proxy = require "proxy"

local model = { problems = {}, count = setmetatable({}, { __index = function() return 0 end }) }

model.seconds = tonumber(mr.args[1]) or 30
model.seed = tonumber(mr.args[2]) or os.time()
math.randomseed(model.seed)

-- Which faults strike must not depend on what the tasks draw.
local last = model.seed % 2147483646 + 1
--- A stream of chance of its own: a whole number from 1 to n, or from 0 to 1.
function model.fate(n) -- Lehmer's generator, with the constants of Park, Miller and Stockmeyer 1993
   last = last * 48271 % 2147483647
   return n and math.floor(last / 2147483647 * n) + 1 or last / 2147483647
end
function model.between(a, b) return a + (b - a) * model.fate() end

function model.problem(form, ...) table.insert(model.problems, form:format(...)) end
function model.add(what, n) model.count[what] = model.count[what] + (n or 1) end

--- A task whose error counts.
function model.spawn(fn, ...)
   local arguments = { ... }
   mr.spawn(function()
      local ok, why = xpcall(function() fn(unpack(arguments)) end, debug.traceback)
      if not ok then model.problem("a task failed: %s", why) end
   end)
end

function model.wait_until(what, limit, condition)
   local deadline = mr.now() + limit
   while not condition() do
      if mr.now() > deadline then return model.problem("in vain waited %d s for: %s", limit, what) end
      mr.sleep(0.01)
   end
end

local url = os.getenv "MODEL_URL"
local port
if url and url ~= "" then
   port = tonumber(url:match ":(%d+)/?[^/]*$")
else
   model.broker = assert(mr.testing.broker { listen = "127.0.0.1:0" })
   url, port = ("amqp://guest:guest@127.0.0.1:%d/"):format(model.broker.port), model.broker.port
end
local between = assert(proxy.start(port))

--- Connects: straight, or by way of what cuts.
function model.connect(name, is_cut, more)
   local opts = { url = is_cut and (url:gsub(":" .. port, ":" .. between.port)) or url, name = name,
      retry = mr.retry.fixed { delay = 0.05 } }
   for k, v in pairs(more or {}) do opts[k] = v end
   return mr.connect(opts)
end

--- Ends the connections that go by way of the proxy: at their next byte, in that direction.
function model.cut()
   local way = model.fate() < 0.5 and "cut_down" or "cut_up"
   between[way], between.resets = model.fate(2000), model.fate() < 0.5
   model.add "cuts"
   mr.sleep(0.05)
   between[way] = nil
end

model.faults = { model.cut, model.cut, model.cut }
if model.broker then
   table.insert(model.faults, function()
      model.broker:delay(model.between(0.01, 0.1))
      mr.sleep(model.between(0, 0.3))
      model.broker:delay(0)
   end)
   table.insert(model.faults, function()
      model.broker:block()
      mr.sleep(model.between(0, 0.5))
      model.broker:block(false)
   end)
end

--- Lets faults strike until so many seconds (those of the run) after `began`.
function model.strike(began, seconds)
   while mr.now() - began < (seconds or model.seconds) do
      mr.sleep(model.between(0.05, 1))
      model.faults[model.fate(#model.faults)]()
   end
end

--- Prints what was counted and found; ends with an error when a problem was found.
function model.finish(name)
   local names = {}
   for what in pairs(model.count) do names[#names + 1] = what end
   table.sort(names)
   for _, what in ipairs(names) do print(("%-36s %9d"):format(what, model.count[what])) end
   for i = 1, math.min(#model.problems, 20) do print("PROBLEM: " .. model.problems[i]) end
   print(#model.problems == 0 and name .. " holds" or ("%d problems; seed %d"):format(#model.problems, model.seed))
   require("peer").stop_all()
   if #model.problems > 0 then error(name .. " does not hold", 0) end
end

io.stdout:setvbuf "line"
print(("%g s, seed %d, %s"):format(model.seconds, model.seed, model.broker and "embedded broker" or "MODEL_URL"))

return model

--- models: runs a script of tests/model by the command, and looks at what it says.
-- SPDX-License-Identifier: MIT
local assert = require "luassert"
local broker = require "broker"

local models = {}

local SECONDS = tonumber(os.getenv "MR_MODEL_SECONDS") or 30

local function run(name, holds, counted, url)
   local seed = os.time()
   local out, code = broker.shell(("MODEL_URL=%s %s run --log-level error tests/model/%s.lua %g %d 2>&1"):format(url,
      broker.command, name, SECONDS, seed), SECONDS + 240)
   local short = out:gsub("[^\n]*level=error[^\n]*\n", "")
   assert.equal(0, code, short)
   assert.truthy(short:find(holds, 1, true), short)
   for _, what in ipairs(counted) do
      assert.is_true((tonumber(short:match("\n" .. what .. "%s+(%d+)")) or 0) > 0, what .. " did not happen:\n" .. short)
   end
end

--- Defines the tests of a model.
-- @tparam function it busted's
-- @tparam string name of the script
-- @tparam string holds what it prints when all is well
-- @tparam table counted what must have happened at least once
function models.run(it, name, holds, counted)
   local where = broker.is_rabbitmq and "RabbitMQ" or "the embedded broker, whose faults join in"
   it(("hold by the model %s, on %s"):format(name, where), function()
      run(name, holds, counted, broker.is_rabbitmq and "'" .. broker.url .. "'" or "")
   end)
end

return models

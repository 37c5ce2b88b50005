--- ensure: retries an operation: kombu's ensure and ensure_connection, by a policy of retry.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local retry = require "moonrabbit.loop.retry"

local ensure = {}

local SPEC = { errback = "function", max_retries = "number", interval_start = "number", interval_step = "number",
   interval_max = "number", timeout = "number" }

--- Checks the options of a retry and adds defaults.
-- @tparam ?table opts errback(err, interval), max_retries (nil: no limit, 0: none), interval_start,
-- interval_step, interval_max (seconds), timeout (seconds in total)
-- @tparam table usual interval_start, interval_step, interval_max
function ensure.options(opts, usual)
   opts = options.check(opts, SPEC)
   options.whole("max_retries", opts.max_retries, 0, 2 ^ 53 - 1)
   for k, v in each(opts) do
      if k ~= "errback" and k ~= "max_retries" then options.seconds(k, v) end
   end
   return merged(usual, opts)
end

-- Outcomes of a publish for which another attempt may succeed.
local PASSING = { lost = true, timeout = true, backpressure = true, blocked_timeout = true }

--- True if another attempt may succeed after this error: of a connection, of a channel unless the broker says that the
-- request itself is wrong, or of a publish that was lost.
function ensure.is_retriable(err)
   if not errors.is(err) or err.kind == "bad_argument" then return false end
   if err.scope == "publish" then return PASSING[err.kind] or false end
   return err.scope == "connection" or err.scope == "channel" and (err.recoverable or err.kind == "closed")
end

--- Calls attempt() until it succeeds, or no retries are left.
-- @tparam table opts of ensure.options
-- @tparam function attempt returns nil, err if it failed
-- @return the results of attempt; when it gives up, the last error unchanged
function ensure.run(opts, attempt)
   local policy = retry.linear { start = opts.interval_start, step = opts.interval_step, max = opts.interval_max,
      attempts = opts.max_retries and opts.max_retries + 1 }
   local failed, began = 0, C.mr_now()
   while true do
      local results = { n = 0 }
      local function keep(...) results = { n = select("#", ...), ... } end
      keep(attempt())
      local err = results[2]
      if results[1] ~= nil or not ensure.is_retriable(err) then return unpack(results, 1, results.n) end
      failed = failed + 1
      local pause, elapsed = policy { attempt = failed }, C.mr_now() - began
      if pause == "stop" or opts.timeout and elapsed + pause >= opts.timeout then return nil, err end
      if opts.errback then opts.errback(err, pause) end
      loop.sleep(pause)
   end
end

return ensure

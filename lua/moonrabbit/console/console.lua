--- console: a Unix socket by which `moonrabbit attach` looks into the running program.
-- SPDX-License-Identifier: MIT
-- The I/O thread serves it: /status and /metrics are right while the script spins. What needs Lua arrives as a request for a
-- page, and a task answers it between messages. Each answer is JSON.
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local complete = require "moonrabbit.console.complete"
local control = require "moonrabbit.console.control"
local errors = require "moonrabbit.base.errors"
local evaluate = require "moonrabbit.console.evaluate"
local host_pages = require "moonrabbit.health.host_pages"
local ffi = require "ffi"
local log = require "moonrabbit.loop.log"
local look = require "moonrabbit.console.look"
local loop = require "moonrabbit.loop.loop"
local monitor = require "moonrabbit.console.monitor"
local options = require "moonrabbit.base.options"
local streamed = require "moonrabbit.console.streamed"
local task = require "moonrabbit.loop.task"
local printing = require "moonrabbit.console.printing"
local value = require "moonrabbit.base.value"

local console = {}

local LOGGED = 200 -- bytes of an expression in the log
local LATE = 1 -- seconds beyond its time that an expression has to end

local is_read_only = false

local page = host_pages.json

--- The answer to those who want to change something all the same.
console.READ_ONLY = "this console is read-only (--console-read-only)"
local READ_ONLY = console.READ_ONLY

-- The number of a query, or the default; nil and what is wrong if it is out of range.
local function number_of(query, name, most, default)
   if query[name] == nil then return default end
   local n = tonumber(query[name])
   if n and n > 0 and n <= most then return n end
   return nil, ("%s must be a number above 0, and at most %.0f"):format(name, most)
end

local ENDLESS = "it did not end at its time: it catches the errors that are to end it, and goes on"

-- An expression runs in a task of its own, which may refuse to end.
local function bounded(text, opts, request)
   local token, answer, worker = task.token(), nil, nil
   task.spawn(function()
      worker = task.current()
      answer = evaluate.run(text, opts)
      task.wake(token, true)
   end)
   local has_left = false
   function request.on_left()
      has_left = true
      if opts.stream then opts.stream:leave() end
      task.wake(token, true)
   end
   if not answer then loop.wait(token, opts.seconds + LATE) end
   if answer then return answer end
   task.condemn(worker)
   if has_left then return { ok = false, output = "", error = "given up" } end
   log.warn("an expression of a console does not end", { text = printing.redact(text):sub(1, LOGGED) })
   return { ok = false, output = "", error = ENDLESS }
end

-- The same with what it prints as it comes: see streamed.
local function stream_answer(text, opts, request)
   local stream = streamed.begin(request)
   if not stream then return page(500, { error = "out of memory" }) end
   opts.stream = stream
   function opts.sink(part) return stream:print(part) end
   stream:finish(bounded(text, opts, request))
end

local function on_evaluate(query, request)
   if is_read_only then return page(403, { error = READ_ONLY }) end
   local seconds, why = number_of(query, "seconds", 86400, evaluate.SECONDS)
   if not seconds then return page(400, { error = why }) end
   local output
   output, why = number_of(query, "output", query.stream and 2 ^ 40 or 2 ^ 24, nil)
   if why then return page(400, { error = why }) end
   local text = request.body or ""
   log.info("evaluated by console", { text = printing.redact(text):sub(1, LOGGED), uid = request.uid, pid = request.pid })
   local opts = { seconds = seconds, output = output, json = query.json ~= nil }
   if not query.stream then return page(200, bounded(text, opts, request)) end
   return stream_answer(text, opts, request)
end

local function on_complete(_, request) return page(200, { words = value.array(complete.line(request.body or "")) }) end

local function on_control(query, request)
   if is_read_only then return page(403, { error = READ_ONLY }) end
   query.uid, query.pid = request.uid, request.pid
   local text, why = control.run(query["do"], query)
   if not text then return page(400, { error = why }) end
   return page(200, { text = text })
end

local function on_handlers() return page(200, { list = look.handlers() }) end

local PAGES = { ["/evaluate"] = on_evaluate, ["/complete"] = on_complete, ["/control"] = on_control, ["/handlers"] = on_handlers,
   ["/monitor"] = monitor.page }

--- Opens the console: `moonrabbit attach`, `status` and `top` find it.
-- @tparam[opt] table opts name (of the program, for the file's name), path (of the socket; default: PID-NAME.sock in this user's
-- folder of consoles), read_only=false (nothing is run or changed)
-- @treturn[1] string the path
-- @treturn[2] nil, error
function console.start(opts)
   opts = options.check(opts or {}, { name = "string", path = "string", read_only = "boolean" })
   local err = ffi.new "mr_error"
   local status = C.mr_console_start(loop.runtime(), opts.path, opts.name or evaluate.name(), err)
   if status ~= 0 then return nil, errors.of_c(err) end
   for where, fn in each(PAGES) do host_pages.serve_console(where, fn) end
   is_read_only = opts.read_only or false
   return console.path()
end

--- Closes the console.
function console.stop() C.mr_console_stop(loop.runtime()) end

--- The socket's path; nil: there is no console.
function console.path()
   local text = C.mr_console_path(loop.runtime())
   return text ~= nil and ffi.string(text) or nil
end

return console

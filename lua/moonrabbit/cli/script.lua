--- cli.script: a script as text, its environment, and the modules that it requires.
-- SPDX-License-Identifier: MIT
-- The first run of a script is plain Lua. When it is loaded again, it runs beside the old one, with its own globals (it sees
-- the old values of globals that it does not set), and with its modules loaded again.
local beside = require "moonrabbit.cli.beside"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local task = require "moonrabbit.loop.task"

local script = {}

local baseline = {}                  -- modules that were loaded before the script
local environment = _G               -- of the running edition
local files                          -- files of the running edition; nil: the first one
local last_try = {}                  -- files of the last edition that was loaded, even if it failed

local INPUT = "-" -- the script is read from standard input

-- The results of load and loadfile, or task.STOPPED if the program must stop before the text is read.
local function load_chunk(path)
   if path ~= INPUT then return loadfile(path, "t") end -- text only: manipulated bytecode can break out of LuaJIT
   local text, why = require("moonrabbit.cli.input").read()
   if not text then return nil, why end
   return load(text, "=standard input", "t")
end

local function load_text(path, env)
   local chunk, why = load_chunk(path)
   if not chunk then
      if why == task.STOPPED then return nil, why end
      return nil, why:find "wrong mode" and path .. ": is bytecode; only the text of a script is run" or why
   end
   return env and setfenv(chunk, env) or chunk
end

local function is_ours(name) return baseline[name] or name == "moonrabbit" or name:find "^moonrabbit%." end

-- The function require for an edition's own modules.
local function new_require(env, list, folder)
   local loaded, LOADING = {}, {}
   return function(name)
      if type(name) ~= "string" or is_ours(name) or package.preload[name] then return require(name) end
      if loaded[name] == LOADING then error(("loop or previous error loading module '%s'"):format(name), 2) end
      if loaded[name] ~= nil then return loaded[name] end
      local path = package.searchpath(name, beside.path(folder))
      if not path then return require(name) end -- a module in C, or a missing one
      local chunk, why = load_text(path, env)
      if not chunk then error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, why), 2) end
      loaded[name] = LOADING
      table.insert(list, path)
      local value = chunk(name, path)
      loaded[name] = value == nil and true or value
      return loaded[name]
   end
end

local function new_environment(list, folder)
   local env = {}
   env._G, env.require = env, new_require(env, list, folder)
   return setmetatable(env, { __index = _G })
end

-- For xpcall: a traceback, but mr.stop is no error.
local function explain(e) return e == task.STOPPED and e or errors.trace(e, 2) end

-- Files of modules that were required since the baseline.
local function modules_since()
   local list = {}
   for name in each(package.loaded) do
      local path = type(name) == "string" and not is_ours(name) and package.searchpath(name, package.path)
      if path then list[#list + 1] = path end
   end
   return list
end

--- Runs the script for the first time.
-- @tparam string path
-- @tparam table arguments
-- @tparam[opt] table env its globals
-- @treturn[1] true also when mr.stop ended it
-- @treturn[2] nil, string what is wrong
function script.run(path, arguments, env)
   for name in each(package.loaded) do baseline[name] = true end
   beside.put_first(beside.folder(path))
   local chunk, why = load_text(path, env)
   if not chunk then return why == task.STOPPED or nil, why end
   local ok, trace = xpcall(chunk, explain, unpack(arguments))
   if ok or trace == task.STOPPED then return true end
   return nil, trace
end

--- The globals of the running edition.
function script.environment() return environment end

--- Loads the script again, beside the running one.
-- @treturn[1] function run() -> true | nil, what is wrong
-- @treturn[1] table its files; the files of modules are added when they are required. `folder` is the folder of its modules
-- @treturn[2] nil, string what is wrong
function script.again(path, arguments)
   if path == INPUT then return nil, "it came from standard input, which can be read once only: give it in a file" end
   local list = { path, folder = beside.folder(path) } -- a link may have another target now
   local env = new_environment(list, list.folder)
   local chunk, why = load_text(path, env)
   if not chunk then return nil, why end
   list.environment = env
   return function()
      local ok, trace = xpcall(chunk, explain, unpack(arguments))
      if ok or trace == task.STOPPED then return true end
      return nil, trace
   end, list
end

--- The files to watch: those of the running edition, and of the last tried one.
function script.files(path)
   local list = files and { unpack(files) } or modules_since()
   table.insert(list, path)
   for _, file in ipairs(last_try) do list[#list + 1] = file end
   return list
end

--- Sets the files of an edition that is being tried.
function script.tried(list) last_try = list end

--- Sets the files of the running edition.
function script.set_files(list)
   files, environment = list, list.environment
   beside.put_first(list.folder)
end

return script

--- passwords: those that are functions of the program's: asked before each connect.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local passwords = {}

local PATIENCE = 5 -- seconds that a password's function has where no connect_timeout says otherwise

-- What a function gives within its time, or nil and what was wrong. One that waits for ever is left alone with its wait.
local function answer_of(fn, seconds)
   local token = task.token()
   local ok, secret
   task.background(function()
      ok, secret = pcall(fn)
      task.wake(token, true)
   end)
   if ok == nil and not loop.wait(token, seconds) then return nil, (" within %g s"):format(seconds) end
   if ok then return secret, "" end
   return nil, ": it raised an error"
end

-- What a function gives is what the next connect uses. The function may release the connection.
local function ask(self, fn, name, set)
   if type(fn) ~= "function" then return true end
   if self.released then return nil, self.gone end
   local secret, why = answer_of(fn, self.options.connect_timeout or PATIENCE)
   if self.released then return nil, self.gone end
   if type(secret) == "string" and set(self.handle, secret, #secret) == 0 then return true end
   return nil, errors.new("bad_option", "config", ("the %s function gave no string%s"):format(name, why))
end

local function key_password(self)
   local ssl_options = self.options.ssl_options
   return type(ssl_options) == "table" and ssl_options.password or nil
end

--- Is there a password of a connection to ask for?
function passwords.are_asked(self)
   return type(self.options.password) == "function" or type(key_password(self)) == "function"
end

--- Asks for those that there are, and has the next connect use them. Waits.
-- @treturn[1] true
-- @treturn[2] nil, error
function passwords.renew(self)
   local ok, err = ask(self, self.options.password, "password", C.mr_connection_password)
   if ok then ok, err = ask(self, key_password(self), "ssl_options.password", C.mr_connection_key_password) end
   return ok, err
end

return passwords

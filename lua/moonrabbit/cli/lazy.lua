--- cli.lazy: a module that is loaded when it is first used.
-- SPDX-License-Identifier: MIT
-- What describes the commands (help, man pages, completion) is made without the library, by the build among others.

--- A stand-in for a module.
-- @tparam string name as require takes it
-- @treturn table its fields are the module's; the first that is read loads it
return function(name)
   return setmetatable({}, { __index = function(_, key) return require(name)[key] end })
end

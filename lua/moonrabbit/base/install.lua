--- install: gives a class functions that are written in another file, by their names.
-- SPDX-License-Identifier: MIT
-- A class's own file names its parts where it makes the class. This is for parts that lie above their class: a module
-- that knows both puts them together.

--- Puts functions of `part` into `class`.
-- @tparam table class
-- @tparam table part
-- @tparam string ... their names; one that `part` lacks is an error
return function(class, part, ...)
   for _, name in ipairs { ... } do
      class[name] = part[name] or error(("there is no %s to install"):format(name))
   end
end

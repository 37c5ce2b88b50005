--- cli.docs: where the pages of docs/ are: in the build tree, or installed.
-- SPDX-License-Identifier: MIT
local docs = {}

local here = debug.getinfo(1, "S").source:match "^@(.*/)cli/docs%.lua$" or "./"

local FOLDERS = {
   here .. "../../docs/",                            -- build tree
   here .. "../../../doc/moonrabbit/docs/",          -- PREFIX/share/lua/5.1/moonrabbit, PREFIX/share/doc/moonrabbit
}

-- "a/b/../c" -> "a/c"
local function tidy(path)
   local count
   repeat path, count = path:gsub("[^/]+/%.%./", "", 1) until count == 0
   return path
end

--- A page, as help names it.
-- @tparam string name such as "worker.md"
-- @treturn string its path; "docs/NAME" if it is not there
function docs.path(name)
   for _, folder in ipairs(FOLDERS) do
      local path = tidy(folder .. name)
      local file = io.open(path)
      if file then
         file:close()
         return path
      end
   end
   return "docs/" .. name
end

return docs

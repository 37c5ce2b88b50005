--- files: whole files, read and written.
-- SPDX-License-Identifier: MIT
local files = {}

--- All that is in a file; an error if there is none.
function files.read(path)
   local file = assert(io.open(path))
   local text = file:read "*a"
   file:close()
   return text
end

--- Makes a file, or replaces one.
function files.write(path, text)
   local file = assert(io.open(path, "w"))
   file:write(text)
   file:close()
end

return files

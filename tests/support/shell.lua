--- shell: runs a command beside a test.
-- SPDX-License-Identifier: MIT
local waits = require "waits"

--- Runs a shell command of at most `seconds` (120, for a busy machine) without stopping the loop. Returns its output and exit code.
return function(command, seconds)
   seconds = seconds or 120
   local file = os.tmpname()
   -- timeout needs one program, so the command becomes the argument of a shell.
   command = ("timeout %d sh -c '%s'"):format(seconds, command:gsub("'", "'\\''"))
   os.execute(("{ (%s) >%s 2>&1; echo \"exit $?\" >%s.new; mv %s.new %s.done; } &"):format(command, file, file, file, file))
   local out = waits.eventually(command, function()
      local done = io.open(file .. ".done")
      if not done then return nil end
      local line = done:read "*l"
      done:close()
      return line
   end, seconds + 20)
   local f = assert(io.open(file))
   local text = f:read "*a"
   f:close()
   os.remove(file)
   os.remove(file .. ".done")
   return text, tonumber(out:match "exit (%d+)")
end

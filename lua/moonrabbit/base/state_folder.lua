--- state_folder: the folder of what a program keeps from one run to the next.
-- SPDX-License-Identifier: MIT

--- Finds it: MOONRABBIT_STATE; STATE_DIRECTORY, which systemd sets; else of XDG.
-- @tparam[opt] function getenv
-- @treturn ?string nil: not even HOME is set
return function(getenv)
   getenv = getenv or os.getenv
   local function given(name)
      local v = getenv(name)
      return v ~= "" and v or nil
   end
   if given "MOONRABBIT_STATE" then return given "MOONRABBIT_STATE" end
   if given "STATE_DIRECTORY" then return (given "STATE_DIRECTORY":match "^[^:]*") end
   local base = given "XDG_STATE_HOME" or given "HOME" and given "HOME" .. "/.local/state"
   return base and base .. "/moonrabbit"
end

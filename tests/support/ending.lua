--- ending: a helper of busted: every spec file has a Moonrabbit of its own, which ends with the file.
-- SPDX-License-Identifier: MIT
-- Without it its runtime and thread would stay, and be reported as stalled since nobody polls it any more.
local busted = require "busted"

busted.subscribe({ "file", "end" }, function()
   local loop = package.loaded["moonrabbit.loop.loop"]
   if loop then loop.close(1) end
   return nil, true
end)

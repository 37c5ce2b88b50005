--- ending: a helper of busted: every spec file has a Moonrabbit of its own, which ends with the file.
-- SPDX-License-Identifier: MIT
-- Without it its runtime and thread would stay, and be reported as stalled since nobody polls it any more.
-- The file MR_JOURNAL gets a line when a test begins and when a file has ended: of a suite that hangs nothing else is known.
local busted = require "busted"

local journal = os.getenv "MR_JOURNAL"
journal = journal and assert(io.open(journal, "w"))

local function note(format, ...)
   if not journal then return end
   journal:write(format:format(...), "\n")
   journal:flush()
end

busted.subscribe({ "test", "start" }, function(element, parent)
   note("began %s: %s %s", os.date "%T", parent.name, element.name)
   return nil, true
end)

busted.subscribe({ "file", "end" }, function(file)
   local loop = package.loaded["moonrabbit.loop.loop"]
   if loop then loop.close(1) end
   note("took %.0f s: %s", file.duration, file.name)
   return nil, true
end)

--- cli.losses: the losses at the end of a program, as exit code and text.
-- SPDX-License-Identifier: MIT
local losses = {}

--- Exit codes: publishes were lost; handlers were abandoned.
losses.UNSENT, losses.ABANDONED = 74, 75

--- The text about abandoned handlers and lost publishes.
-- @tparam number handlers
-- @tparam number publishes
-- @tparam[opt] string why in front of it
-- @treturn ?string nil: there is nothing to say
function losses.text(handlers, publishes, why)
   local texts = { why }
   if handlers > 0 then texts[#texts + 1] = "unsettled messages come again" end
   if publishes > 0 then texts[#texts + 1] = "publishes that were not confirmed do not come again" end
   return texts[1] and table.concat(texts, "; ")
end

return losses

--- redact: text for people, without the passwords of the URLs in it. runtime/base/redact.c has the same rule.
-- SPDX-License-Identifier: MIT

--- A password may contain / and @: it ends at the last @ of the word. The text may be a stranger's: each byte is looked at a few
-- times, however many URLs seem to begin in it.
-- @tparam string text
-- @treturn string
return function(text)
   local at = text:find("://", 1, true)
   if not at then return text end
   local parts, kept = {}, 1
   while at do
      local stop = text:find("[%s\"']", at) or #text + 1
      local word = text:sub(at, stop - 1)
      local _, colon = word:find "://[^/:]*:"
      local last = colon and word:match "^.*()@"
      if last and last > colon then
         parts[#parts + 1] = text:sub(kept, at + colon - 1) .. "***"
         kept = at + last - 1
      end
      at = text:find("://", stop, true) -- what is left of the word has no other @
   end
   return table.concat(parts) .. text:sub(kept)
end

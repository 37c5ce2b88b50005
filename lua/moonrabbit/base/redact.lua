--- redact: text for people, without the passwords of the URLs in it. runtime/base/redact.c has the same rule.
-- SPDX-License-Identifier: MIT

-- What is shown of a word that begins with "://".
local function shown(word)
   local head, tail = "", word
   local _, colon = word:find "://[^/:]*:"
   local last = colon and word:match "^.*()@"
   if last and last > colon then
      head, tail = word:sub(1, colon) .. "***", word:sub(last)
      -- The @ may be within a password of the query, which goes on behind it.
      local before = word:sub(colon + 1, last - 1)
      if before:find("password=", before:match "^.*[&;]()" or 1, true) then tail = tail:gsub("^[^&;]*", "") end
   end
   return head .. (tail:gsub("password=[^&;]*", "password=***"))
end

--- A password may contain / and @: it ends at the last @ of the word. That of an option `...password=` ends at & or ;. The text may
-- be a stranger's: each byte is looked at a few times, however many URLs seem to begin in it.
-- @tparam string text
-- @treturn string
return function(text)
   local at = text:find("://", 1, true)
   if not at then return text end
   local parts, kept = {}, 1
   while at do
      local stop = text:find("[%s\"']", at) or #text + 1
      parts[#parts + 1] = text:sub(kept, at - 1) .. shown(text:sub(at, stop - 1))
      kept = stop
      at = text:find("://", stop, true)
   end
   return table.concat(parts) .. text:sub(kept)
end

--- cli.escaped: text for a terminal: what a broker or a script has named may contain control characters.
-- SPDX-License-Identifier: MIT

--- The text in one line, without control characters.
-- @param text a string, or something that has one
-- @treturn string
return function(text)
   return (tostring(text):gsub("[%z\1-\31\127]", function(c)
      return c == "\n" and "\\n" or c == "\t" and "\\t" or ("\\x%02x"):format(c:byte())
   end):gsub("\194([\128-\159])", function(c) return ("\\u%04x"):format(c:byte()) end))
end

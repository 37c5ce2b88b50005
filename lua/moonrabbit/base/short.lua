--- short: names cut to what AMQP allows, with a checksum that distinguishes those with the same beginning.
-- SPDX-License-Identifier: MIT
local checksum = require "moonrabbit.base.checksum"

local short = {}

local SUM_SIZE = 8 -- digits

local NAME_SIZE = 255 -- the maximum bytes of a name

--- The first bytes of a text, without an incomplete character at the end.
function short.head(text, size)
   return (text:sub(1, size):gsub("[\192-\255][\128-\191]*$", function(last)
      local lead = last:byte()
      return #last < (lead >= 240 and 4 or lead >= 224 and 3 or 2) and "" or nil
   end))
end

--- prefix .. name .. suffix, in at most 255 bytes: a long name is cut.
function short.name(prefix, name, suffix)
   if #prefix + #name + #suffix > NAME_SIZE then
      suffix = ("~%s%s"):format(checksum(name):sub(1, SUM_SIZE), suffix)
      name = short.head(name, NAME_SIZE - #prefix - #suffix)
   end
   return prefix .. name .. suffix
end

return short

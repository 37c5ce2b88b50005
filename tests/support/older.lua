--- older: a broker before RabbitMQ 3.10, as far as quorum queues are concerned: they have no time to live.
-- SPDX-License-Identifier: MIT
local queue_type = require "moonrabbit.channel.queue_type"

--- Until the end of the test, whose `finally` this is, or of the returned function.
return function(finally)
   local newer = queue_type.at_least_once
   function queue_type.at_least_once(arguments)
      local all = newer(arguments)
      all["x-max-age"] = "1D" -- refused, in the same words
      return all
   end
   local function undo() queue_type.at_least_once = newer end
   finally(undo)
   return undo
end

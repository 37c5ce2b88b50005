--- aliases: names that people bring along from other libraries, and what they are called here.
-- SPDX-License-Identifier: MIT
local aliases = {}

-- Without underscores, in lower case -> the names here, of which the first known one is meant.
local MEANT = {
   -- connections
   host = { "hostname" }, server = { "hostname" }, address = { "hostname" }, user = { "userid" }, username = { "userid" },
   login = { "userid", "user_id" }, pass = { "password" }, passwd = { "password" }, passphrase = { "password" },
   secret = { "password" }, vhost = { "virtual_host" }, vhosts = { "virtual_host" }, uri = { "url" }, tls = { "ssl" },
   tlsoptions = { "ssl_options" }, connectionname = { "name" }, reconnect = { "recover" }, autorecovery = { "recover" },
   -- queues, exchanges, consumers
   name = { "queue", "exchange" }, queuename = { "queue" }, exchangename = { "exchange" }, key = { "routing_key" },
   routing = { "routing_key" }, bindingkey = { "routing_key" }, kind = { "type" }, exchangetype = { "type" },
   args = { "arguments" }, callback = { "handler" }, onmessage = { "handler" }, onmessagecallback = { "handler" },
   fn = { "handler" }, qos = { "prefetch", "prefetch_count" }, prefetchcount = { "prefetch" },
   prefetch = { "prefetch_count" }, autoack = { "no_ack" }, workers = { "concurrency" }, threads = { "concurrency" },
   retries = { "retry", "max_retries" }, attempts = { "retry" }, dlq = { "dead_letter" }, deadletterqueue = { "dead_letter" },
   -- messages
   payload = { "body" }, content = { "body" }, data = { "body" }, message = { "body" }, id = { "message_id" },
   tag = { "delivery_tag", "consumer_tag" }, props = { "properties" }, reply = { "reply_to" }, encoding = { "content_encoding" },
   mimetype = { "content_type" }, durable = { "persistent" }, ttl = { "expiration" }, acknowledge = { "ack" },
}

-- What is an argument of a queue, not an option of its own.
local ARGUMENTS = { ttl = "x-message-ttl", messagettl = "x-message-ttl", expires = "x-expires", maxlength = "x-max-length",
   maxpriority = "x-max-priority", queuetype = "x-queue-type", deadletterexchange = "x-dead-letter-exchange",
   dlx = "x-dead-letter-exchange",
   deadletterroutingkey = "x-dead-letter-routing-key", alternateexchange = "alternate-exchange", overflow = "x-overflow" }

--- What a word from elsewhere is called here.
-- @tparam string word
-- @tparam table known set of the names that are possible
-- @treturn ?string as it would be written, such as `hostname`
function aliases.of(word, known)
   local plain = word:lower():gsub("^x%-", ""):gsub("[_%-]", "")
   for _, name in ipairs(MEANT[plain] or {}) do
      if known[name] then return name end
   end
   local argument = known.arguments and ARGUMENTS[plain]
   return argument and ('arguments = { ["%s"] = ... }'):format(argument) or nil
end

return aliases

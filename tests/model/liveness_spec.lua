--- tests/model/liveness.lua for MR_MODEL_SECONDS (30): on the embedded broker, or on RabbitMQ where that is the broker.
local models = require "models"

describe("handlers that wait for one another among large bodies (FIELD-R1, FIELD-H1)", function()
   models.run(it, "liveness", "the liveness holds", { "acks", "answers", "asks on the channel that consumes", "cancels",
      "computing moments", "confirms of a row", "consumed within", "floods", "gets with a message", "handled: default prefetch",
      "handled: mr.consumer", "handled: no prefetch", "handled: prefetch 1", "handled: prefetch 5", "handled: without acks",
      "looped over", "publishes on another connection", "publishes on the channel that consumes", "publishes on the same connection" })
end)

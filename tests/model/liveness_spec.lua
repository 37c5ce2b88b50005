--- tests/model/liveness.lua for MR_MODEL_SECONDS (30): on the embedded broker, or on RabbitMQ where that is the broker.
local models = require "models"

describe("handlers that wait for one another among large bodies (FIELD-R1, FIELD-H1)", function()
   models.run(it, "liveness", "the liveness holds", { "confirms", "answers", "gets", "consumes", "cancels", "computing moments",
      "handled with acks", "handled without acks" })
end)

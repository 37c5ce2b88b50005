--- tests/model/settlement.lua for MR_MODEL_SECONDS (30): on the embedded broker, or on RabbitMQ where that is the broker.
local models = require "models"

describe("consumers that begin and end in every way at once", function()
   models.run(it, "settlement", "the settlement holds", { "deliveries", "cancels", "closes", "cuts", "deleted queues", "answers",
      "recovers", "gets", "refused: second settle" })
end)

--- tests/model/ledger.lua for MR_MODEL_SECONDS (30): on the embedded broker, or on RabbitMQ where that is the broker.
local models = require "models"

describe("publishers and channels that send equal bodies while connections are cut", function()
   models.run(it, "ledger", "the ledger holds", { "told acked", "told nacked", "told returned", "told lost", "cuts", "committed" })
end)

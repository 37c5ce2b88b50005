--- tests/model/copies.lua for MR_MODEL_SECONDS (30): on the embedded broker, and on RabbitMQ where that is the broker.
local models = require "models"

describe("messages of chance that fail, wait and are buried", function()
   models.run(it, "copies", "every copy holds", { "published", "handled", "buried", "deep ones", "large ones", "type L", "type T" })
end)

--- redact: the passwords of URLs within a text. tests/unit/base/test_redact.c has the same samples.
local redact = require "moonrabbit.base.redact"

describe("a text for people", function()
   it("has no passwords of URLs", function()
      for text, expected in pairs {
         ["cannot reach amqp://u:hunter2@h/"] = "cannot reach amqp://u:***@h/",
         ["amqp://u:p/w@x@h/v, amqp://h:5672/v"] = "amqp://u:***@h/v, amqp://h:5672/v",
         ['url="amqps://u:secret@h:5671" then amqp://:x@h'] = 'url="amqps://u:***@h:5671" then amqp://:***@h',
         ["'http://a:b@c' 'http://d:e@f'"] = "'http://a:***@c' 'http://d:***@f'",
         ["a://://u:x@h"] = "a://:***@h",
         ["amqp://u:@h"] = "amqp://u:***@h",
         ["amqp://h?password=x&a=b, y"] = "amqp://h?password=***&a=b, y",
         ["sentinel://:hop@h:1,i:2/0?x=y&sentinel_password=skip;z=1 password=2"] =
            "sentinel://:***@h:1,i:2/0?x=y&sentinel_password=***;z=1 password=2",
         ["sentinel://h:1?sentinel_password=a@b&x=y"] = "sentinel://h:***&x=y",
         ["sentinel://h:1?sentinel_password=a&x=c@d"] = "sentinel://h:***@d",
         ["x://a:1;x_password=a;y://b:2;password=c"] = "x://a:1;x_password=***;y://b:2;password=***",
      } do assert.equal(expected, redact(text)) end
   end)

   it("is else as it was", function()
      for _, text in ipairs { "", "://", "amqp://h", "amqp://u@h", "amqp://h:5672/v", "amqp://h/a:b@c", "u:p@h",
         "amqp://h:5672 mail me@home", 'amqp://"u:p@h' } do assert.equal(text, redact(text)) end
   end)

   it("follows the rule that a pattern can say", function()
      local pieces = { ":", "/", "://", "@", "a", " ", '"', "'", "\n", "\0", "\255", "u:p@h" }
      for _ = 1, 20000 do
         local text = {}
         for i = 1, math.random(0, 14) do text[i] = pieces[math.random(#pieces)] end
         text = table.concat(text)
         assert.equal((text:gsub("(://[^%s/:\"']*):[^%s\"']*@", "%1:***@")), redact(text))
      end
   end)

   it("is no work for long, whatever a stranger sends", function()
      for _, piece in ipairs { "://a:", "://", "://a:b@", "://a:b@ ", "@", ":", "://a:password=", "://a:password=@", "password=" } do
         local text, began = piece:rep(2 ^ 18 / #piece), os.clock()
         redact(text)
         assert.is_true(os.clock() - began < 1, piece) -- a pattern took 80 s
      end
   end)
end)

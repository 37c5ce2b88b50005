--- cli.top_state: the order, the filter, the selection and the keys of top.
local top_state = require "moonrabbit.cli.top_state"

local function queue(name, handled, more)
   local q = { queue = name, handled = handled, failed = 0, retried = 0, dead = 0, handler = {} }
   for k, v in pairs(more or {}) do q[k] = v end
   return q
end

local function page(time, queues, more)
   local p = { pid = 7, time = time, queues = queues, consumers = {}, connections = {}, publishers = {} }
   for k, v in pairs(more or {}) do p[k] = v end
   return p
end

local function names(state)
   local list = {}
   for i, row in ipairs(state.rows) do list[i] = row.name end
   return table.concat(list, " ")
end

local function press(state, keys)
   local order
   for key in keys:gmatch "%S+" do order = state:key(key) end
   return order
end

describe("the state of top", function()
   local state
   before_each(function()
      state = top_state.new()
      state:show(page(10, { queue("b", 10, { dead = 1 }), queue("a", 10, { dead = 3 }), queue("c", 10) }))
   end)

   it("orders by the busiest first, by each column in turn, and the other way round", function()
      state:show(page(12, { queue("b", 20, { dead = 1 }), queue("a", 14, { dead = 3 }), queue("c", 50) }))
      press(state, "s")
      assert.same({ "settling", "c b a" }, { state:order()[1], names(state) })
      press(state, "r")
      assert.equal("a b c", names(state))
      press(state, "s s s s s")
      assert.same({ "dead", "a b c" }, { state:order()[1], names(state) })
      press(state, "s s")
      assert.same({ "name", "a b c" }, { state:order()[1], names(state) })
      press(state, "r")
      assert.equal("c b a", names(state))
      press(state, "left")
      assert.equal("lag", state:order()[1])
   end)

   it("selects rows within the list, and keeps the selected one where the order changes", function()
      press(state, "s s s s s s s s") -- by name
      press(state, "j")
      assert.equal("b", state.rows[state.selected].name)
      press(state, "r")
      assert.equal("b", state.rows[state.selected].name)
      press(state, "down down down down")
      assert.equal("a", state.rows[state.selected].name)
      press(state, "up up up up k")
      assert.equal("c", state.rows[state.selected].name)
      press(state, "end")
      state:show(page(11, { queue("c", 1) }))
      assert.equal("c", state.rows[state.selected].name)
   end)

   it("shows the rows around the selected one where there is little room", function()
      local many = {}
      for i = 1, 20 do many[i] = queue(("q%02d"):format(i), 0) end
      state:show(page(11, many))
      assert.same({ 1, 5 }, { state:seen(5) })
      press(state, "page_down")
      assert.same({ 7, 11 }, { state:seen(5) })
      press(state, "G")
      assert.same({ 16, 20 }, { state:seen(5) })
      press(state, "home")
      assert.same({ 1, 5 }, { state:seen(5) })
   end)

   it("filters by a text that is typed, without regard to case, until Escape", function()
      press(state, "/ B")
      assert.same({ "b", true }, { names(state), state.is_typing })
      assert.is_nil(press(state, "q")) -- a letter of the text, not the key
      assert.equal("", names(state))
      press(state, "backspace enter")
      assert.same({ "b", false }, { names(state), state.is_typing })
      press(state, "escape")
      assert.equal(3, #state.rows)
      press(state, "/ \195 \164 backspace")
      assert.equal("", state.filter)
   end)

   it("orders to quit, and to pause where a consumer is selected", function()
      assert.equal("quit", press(state, "q"))
      assert.equal("pause", press(state, "p"))
      press(state, "tab")
      assert.is_nil(press(state, "p"))
      press(state, "tab tab / x enter")
      assert.is_nil(press(state, "p"))
   end)

   it("shows help until the next key, which does nothing else", function()
      press(state, "h")
      assert.is_true(state.is_helping)
      assert.is_nil(press(state, "q"))
      assert.is_false(state.is_helping)
   end)

   it("compares with a page that is half a second old at least", function()
      state:show(page(11, {}))
      assert.equal(10, state.before.time)
      state:show(page(11.1, {}))
      assert.equal(10, state.before.time)
      state:show(page(12, {}))
      assert.equal(11.1, state.before.time)
      state:show(page(13, {}, { pid = 8 }))
      assert.is_nil(state.before)
   end)

   it("tells workers apart where there are some", function()
      press(state, "w")
      assert.is_nil(state.is_split)
      local own = { worker = 1, pid = 8, page = page(12, { queue("a", 1) }, { pid = 8, publishes = { confirm = {} } }) }
      state:show(page(12, {}, { workers = { own, { worker = 2, pid = 9, page = own.page } } }))
      assert.equal(1, #state.rows)
      press(state, "w")
      assert.same({ 2, "worker" }, { #state.rows, state:columns()[2][1] })
   end)

   it("says in words how the consumers of a row are", function()
      local function words(consumers, on, paused)
         return top_state.condition { consumers = consumers, on = on, paused = paused }
      end
      assert.same({ "none", "2 on", "paused", "away", "1 of 2" },
         { words(0, 0, 0), words(2, 2, 0), words(2, 0, 2), words(2, 0, 1), words(2, 1, 1) })
   end)
end)

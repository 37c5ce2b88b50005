--- check_rows: fails when a row of the capability contract or of the list of faults has no test that names it.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/tools/check_rows.lua [ROOT] [--list]
--
-- The rows are those of the project's design papers, CONTRACT.md (A to R, X), FAULTS.md (T, S) and FIELD.md, whose rows are
-- written FIELD-W1, as its letters are taken by others. A test names a row in
-- its title or in that of its describe(): it("is ensured, however many tries it takes (Q35, M7)", ...); one of C in a
-- comment right before its function. `pending` holds the rows that somebody is still at, and who; one that has been
-- named by now is an error, too, so that the list gets shorter. `left_out` says why a row has no place here. --list tells
-- where each row is named.

-- letter -> the highest number; "T" has holes.
local CONTRACT = { A = 8, B = 4, C = 5, D = 4, E = 5, F = 4, G = 3, H = 7, I = 8, K = 5, L = 8, M = 9, N = 5, O = 11, P = 3,
   Q = 41, R = 15, X = 23 }
local FAULTS = "T01 T03 T04 T05 T06 T07 T08 T10 T11 T12 T13 T14 T15 T16 T17 T18 T19 T20 T21 T23 T25 T26 T27 T28 T29 T31 "
   .. "T34 T35 T36 T37 T38 T39 T41 T42 T43 T44 S1 S2 S3 S4 S5 S6 S7 S8 S9"
-- Those of FIELD.md: a letter, from, to.
local FIELD = { { "W", 1, 7 }, { "W", 10, 21 }, { "W", 30, 41 }, { "R", 1, 23 }, { "H", 1, 8 }, { "C", 1, 15 }, { "F", 1, 11 } }

local pending = {
}
-- What has no place here, and why.
local left_out = {
   X1 = "actors of dramatiq; a consumer always names its queue",
}


local root, lists = ".", false
for i = 1, #arg do
   if arg[i] == "--list" then lists = true else root = arg[i] end
end

local rows, is_row = {}, {}
local function add(id)
   rows[#rows + 1] = id
   is_row[id] = true
end
local letters = {}
for letter in pairs(CONTRACT) do letters[#letters + 1] = letter end
table.sort(letters)
for _, letter in ipairs(letters) do
   for n = 1, CONTRACT[letter] do add(letter .. n) end
end
for id in FAULTS:gmatch "%S+" do add(id) end
for _, part in ipairs(FIELD) do
   for n = part[2], part[3] do add(("FIELD-%s%d"):format(part[1], n)) end
end

local named = {}                -- row -> list of "file:line"
local function name(id, where)
   if not is_row[id] then return end
   named[id] = named[id] or {}
   table.insert(named[id], where)
end
local function take(title, where)
   title = title:gsub("FIELD%-[A-Z]%d+", function(id)
      name(id, where)
      return ""
   end)
   for id in title:gmatch "%f[%w][A-Z]%d+%f[%W]" do name(id, where) end
   for letter, from, to in title:gmatch "%f[%w]([A-Z])(%d+)%-%1(%d+)" do -- O3-O6; the ends are named already
      for n = from + 1, to - 1 do name(("%s%0" .. #from .. "d"):format(letter, n), where) end
   end
end

-- What of a line belongs to a title: its strings up to the word function, and whether that was there.
local function strings(line)
   local texts, at = {}, 1
   while true do
      local quote = line:find("[\"']", at) or #line + 1
      if line:sub(at, quote - 1):find "%f[%w]function%f[%W]" then return texts, true end
      local close = line:find(line:sub(quote, quote), quote + 1, true)
      if quote > #line then return texts, false end
      if not close then return texts, false end
      texts[#texts + 1] = line:sub(quote, close)
      at = close + 1
   end
end

-- The titles of a spec: what stands between it( or describe( (or it_embedded and the like) and its function, which may be
-- on the next line.
local function take_spec(path)
   local n, is_open = 0, false
   for line in io.lines(path) do
      n = n + 1
      if is_open or line:find "%f[%w]it[%w_]*%s*%(" or line:find "unless_redis%s*%(" or line:find "^%s*describe%s*%(" then
         local texts, is_whole = strings(line)
         take(table.concat(texts, " "), path .. ":" .. n)
         is_open = not is_open and not is_whole
      end
   end
end

-- The comment that ends right before a test function.
local function take_c(path)
   local n, comment = 0, {}
   for line in io.lines(path) do
      n = n + 1
      if line:find "^/%*" then comment = { line }
      elseif line:find "^ %*" then comment[#comment + 1] = line
      elseif line:find "^static void test_" then
         take(table.concat(comment, " "), path .. ":" .. n)
         comment = {}
      else
         comment = {}
      end
   end
end

local function each(pattern, fn)
   local pipe = assert(io.popen(("cd '%s' && find %s | sort"):format(root, pattern)))
   local count = 0
   for path in pipe:lines() do
      fn(root == "." and path or root .. "/" .. path)
      count = count + 1
   end
   pipe:close()
   assert(count > 0, "no file: " .. pattern)
end
each("tests/spec tests/contract tests/fault tests/cluster tests/model -name '*_spec.lua'", take_spec)
each("tests/unit -name 'test_*.c'", take_c)
each("tests/host -name '*.c'", take_c)

local faults, waiting, left = 0, {}, 0
for _, id in ipairs(rows) do
   if lists then print(id, named[id] and table.concat(named[id], " ") or pending[id] and "pending: " .. pending[id] or "-") end
   if pending[id] and named[id] then
      faults = faults + 1
      print(("%s is pending (%s), but named at %s: take it off the list"):format(id, pending[id], named[id][1]))
   elseif pending[id] then
      waiting[#waiting + 1] = id
   elseif not named[id] and not left_out[id] then
      faults = faults + 1
      print(id .. ": no test names it")
   end
end
for id in pairs(pending) do assert(is_row[id], "no such row: " .. id) end
for id in pairs(left_out) do
   assert(is_row[id] and not named[id], "no such row, or it has a test: " .. id)
   left = left + 1
end
if #waiting > 0 then print("note: rows pending: " .. table.concat(waiting, " ")) end
print(faults == 0 and ("rows: all of %d named"):format(#rows - #waiting - left) or ("rows: %d to mend"):format(faults))
os.exit(faults == 0 and 0 or 1)

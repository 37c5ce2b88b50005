--- cli.editline: a line typed at a terminal, by libedit, while the loop goes on.
-- SPDX-License-Identifier: MIT
-- libedit asks for each character by a callback, in which the caller's `wait` runs the loop. LuaJIT forbids callbacks into
-- compiled code: the functions that call libedit are never compiled. A callback must not raise errors, and its last act must
-- be one of ffi: that tells LuaJIT which coroutine is the one below the next callback.
local escaped = require "moonrabbit.cli.escaped"
local ffi = require "ffi"
local terminal = require "moonrabbit.cli.terminal"
local text_width = require "moonrabbit.cli.text_width"

local editline = {}

ffi.cdef [[
typedef struct mr_editline mr_editline;
typedef struct mr_edit_history mr_edit_history;
typedef struct { int number; const char *text; } mr_edit_event;
typedef struct { const char *buffer, *cursor, *last; } mr_edit_line;
typedef struct { unsigned short rows, columns, width, height; } mr_edit_size;
mr_editline *mr_edit_init(const char *program, void *in, void *out, void *err) __asm__("el_init");
void mr_edit_end(mr_editline *e) __asm__("el_end");
const char *mr_edit_gets(mr_editline *e, int *count) __asm__("el_gets");
int mr_edit_set(mr_editline *e, int what, ...) __asm__("el_set");
int mr_edit_set_wide(mr_editline *e, int what, ...) __asm__("el_wset");
int mr_edit_insert(mr_editline *e, const char *text) __asm__("el_insertstr");
const mr_edit_line *mr_edit_line_of(mr_editline *e) __asm__("el_line");
void mr_edit_resize(mr_editline *e) __asm__("el_resize");
mr_edit_history *mr_edit_history_init(void) __asm__("history_init");
void mr_edit_history_end(mr_edit_history *h) __asm__("history_end");
int mr_edit_history_do(mr_edit_history *h, mr_edit_event *event, int what, ...) __asm__("history");
int mr_edit_ioctl(int fd, unsigned long request, ...) __asm__("ioctl");
void *mr_edit_keep(const char *library, int flags) __asm__("dlopen");
long mr_edit_read(int fd, void *buffer, size_t size) __asm__("read");
]]

local PROMPT, EDITOR, SIGNAL, BIND, SETTY, ADDFN, HIST, GETCFN, REFRESH = 21, 2, 3, 4, 8, 9, 10, 13, 20
local SETSIZE, ENTER, SETUNIQUE = 1, 10, 20 -- of history
local REFRESHED, FAILED, LISTED = 4, 6, 8 -- CC_REFRESH, CC_ERROR, CC_REDISPLAY
local LIBRARY = "libedit.so.2"
local KEEP = 2 + 0x1000 -- RTLD_NOW, RTLD_NODELETE
local WINDOW_SIZE = 0x5413
local write = io.stdout.write -- cli.above replaces it for others
local KEPT = 1000 -- entries of the history
local PIECE = 4096
local BRACKET = "\1" -- around what has no width in a prompt

local Edit = {}
Edit.__index = Edit

local function int(n) return ffi.cast("int", n) end
local function text(s) return ffi.cast("const char *", s) end
-- Wide text, which libedit keeps without a copy. (It never frees the copies that it makes of text that is not.)
local function wide(s)
   local out = ffi.new("int[?]", #s + 1)
   for i = 1, #s do out[i - 1] = s:byte(i) end
   return out
end
local NAME, HELP = wide "mr-complete", wide "complete the word"
local END = ffi.cast("char *", nil)

-- ---- characters ----

-- How many bytes the character has that begins with this one.
local function size_of(byte) return byte < 0xc0 and 1 or byte < 0xe0 and 2 or byte < 0xf0 and 3 or 4 end

local function code_of(bytes)
   local first = bytes:byte()
   if #bytes == 1 then return first end
   local code = first % 2 ^ (7 - #bytes)
   for i = 2, #bytes do code = code * 64 + bytes:byte(i) % 64 end
   return code
end

-- True if there are more bytes; else `outcome` says why not.
local function fill(self)
   local why = self.wait()
   if why ~= "key" then
      self.outcome = why
      return false
   end
   local n = tonumber(ffi.C.mr_edit_read(0, self.box, PIECE))
   if n > 0 then
      self.typed = self.typed .. ffi.string(self.box, n)
      return true
   end
   if n == 0 or ffi.errno() ~= 11 and ffi.errno() ~= 4 then self.outcome = "end" end
   return self.outcome == nil
end

local function next_code(self)
   while self.typed == "" or #self.typed < size_of(self.typed:byte()) do
      if not fill(self) then return nil end
   end
   local size = size_of(self.typed:byte())
   local code = code_of(self.typed:sub(1, size))
   self.typed = self.typed:sub(size + 1)
   return code
end

-- ---- completion ----

local function common(words)
   local first = words[1]
   for i = 2, #words do
      while words[i]:sub(1, #first) ~= first do first = first:sub(1, -2) end
   end
   return first
end

-- The choices in columns, in the order of columns.
local function in_columns(words, width)
   local longest = 0
   for _, word in ipairs(words) do longest = math.max(longest, text_width.of(word) + 2) end
   local across = math.max(math.floor(width / longest), 1)
   local down = math.ceil(#words / across)
   local lines = {}
   for row = 1, down do
      local parts = {}
      for at = row, #words, down do parts[#parts + 1] = words[at] .. (" "):rep(longest - text_width.of(words[at])) end
      lines[row] = (table.concat(parts):gsub("%s+$", ""))
   end
   return table.concat(lines, "\n")
end

-- Names may be anything: those that cannot stand in a line, or would change the terminal, are not offered.
local function fit_for_a_line(words)
   local fit = {}
   for _, word in ipairs(words) do
      if type(word) == "string" and escaped(word) == word and not word:find " " then fit[#fit + 1] = word end
   end
   return fit
end

-- Returns what libedit is to do. After a list it draws the line anew below it.
local function complete(self)
   local line = self.lib.mr_edit_line_of(self.handle)
   local before = ffi.string(line.buffer, line.cursor - line.buffer)
   local words, last = self.complete(before)
   words = fit_for_a_line(words or {})
   if #words == 0 then return FAILED end
   local more = common(words):sub(#last + 1)
   if more ~= "" then self.lib.mr_edit_insert(self.handle, more) end
   if #words == 1 then return REFRESHED end
   write(io.stdout, "\n", in_columns(words, self:columns()), "\n")
   io.stdout:flush()
   return LISTED
end

-- ---- where the cursor is ----

-- The row on the terminal, from the first of the prompt on.
local function row_of(self)
   local line = self.lib.mr_edit_line_of(self.handle)
   local shown = self.plain .. ffi.string(line.buffer, line.cursor - line.buffer)
   local row, column, width = 0, 0, self:columns()
   for c in shown:gmatch "[%z\1-\127\194-\244][\128-\191]*" do
      local taken = c == "\n" and 0 or text_width.of(c)
      if c == "\n" or column + taken > width then row, column = row + 1, 0 end -- a wide character is not split
      column = column + taken
      if column == width then row, column = row + 1, 0 end
   end
   return row
end

--- How many columns the terminal has.
function Edit.columns()
   local size = ffi.new "mr_edit_size"
   if ffi.C.mr_edit_ioctl(1, WINDOW_SIZE, size) ~= 0 or size.columns == 0 then return 80 end
   return size.columns
end

local function redraw(self) self.lib.mr_edit_set(self.handle, REFRESH) end
jit.off(redraw)

--- Writes text above the line that is being typed.
-- @tparam string lines whole ones
function Edit:above(lines)
   if not self.is_reading then
      write(io.stdout, lines)
      io.stdout:flush()
      return
   end
   local row = row_of(self)
   write(io.stdout, "\r", row > 0 and ("\27[%dA"):format(row) or "", "\27[J", lines)
   io.stdout:flush()
   redraw(self)
end

--- Takes the terminal's new size.
function Edit:resize()
   if not self.handle then return end
   self.lib.mr_edit_resize(self.handle)
   if self.is_reading then redraw(self) end
end
jit.off(Edit.resize)

-- ---- a line ----

local function set_prompt(self, prompt)
   self.plain = prompt:gsub("\27%[[%d;]*m", "")
   prompt = prompt:gsub("\27%[[%d;]*m", BRACKET .. "%0" .. BRACKET)
   self.prompt = ffi.new("char[?]", #prompt + 1, prompt)
end

--- Reads a line.
-- @tparam string prompt
-- @treturn[1] string without its end
-- @treturn[2] nil, string "end" (Ctrl-D), or what `wait` gave: "interrupt"...
function Edit:read(prompt)
   set_prompt(self, prompt)
   self.outcome, self.is_reading = nil, true
   local line = self.lib.mr_edit_gets(self.handle, self.count)
   self.is_reading = false
   if line == nil or self.outcome then return nil, self.outcome or "end" end
   return (ffi.string(line):gsub("\n$", ""))
end
jit.off(Edit.read)

--- Adds an entry to the history.
function Edit:remember(entry) self.lib.mr_edit_history_do(self.history, self.event, ENTER, text(entry)) end

--- Gives the terminal back as it was.
function Edit:close()
   if not self.handle then return end
   self.lib.mr_edit_end(self.handle)
   self.lib.mr_edit_history_end(self.history)
   self.handle, self.is_reading = nil, false
end
jit.off(Edit.close)

local function callbacks(self)
   self.on_prompt = ffi.cast("const char *(*)(mr_editline *)", function() return self.prompt end)
   self.on_character = ffi.cast("int (*)(mr_editline *, int *)", function(_, out)
      local ok, code = pcall(next_code, self)
      if not ok then self.outcome = "end" end
      out[0] = ok and code or 0
      return ok and code and 1 or 0
   end)
   self.on_tab = ffi.cast("unsigned char (*)(mr_editline *, int)", function()
      local ok, what = pcall(complete, self)
      self.count[0] = 0
      return ok and what or FAILED
   end)
end
jit.off(callbacks, true)

local function set_up(self)
   local set, e = self.lib.mr_edit_set, self.handle
   set(e, PROMPT, self.on_prompt, int(BRACKET:byte()))
   set(e, EDITOR, text "emacs")
   set(e, SIGNAL, int(0))
   set(e, SETTY, text "-d", text "+isig", text "susp=", END) -- Ctrl-C is a signal also while nobody reads keys
   set(e, GETCFN, self.on_character)
   self.lib.mr_edit_set_wide(e, ADDFN, NAME, HELP, self.on_tab)
   set(e, BIND, text "^I", text "mr-complete", END)
   set(e, BIND, text "^R", text "em-inc-search-prev", END)
   set(e, HIST, ffi.cast("void *", self.lib.mr_edit_history_do), self.history)
end
jit.off(set_up)

--- Makes a line editor of standard input and output, which must be a terminal.
-- @tparam function wait fn() -> "key" when standard input can be read; else why the line is given up
-- @tparam function complete_line fn(text before the cursor) -> whole last words, the last word so far; may wait
-- @tparam table entries of the history, the oldest first
-- @treturn[1] editor
-- @treturn[2] nil, string what is wrong
function editline.new(wait, complete_line, entries)
   local ok, lib = pcall(ffi.load, LIBRARY)
   if not ok then return nil, "a prompt needs the library libedit.so.2: install the package libedit2" end
   ffi.C.mr_edit_keep(LIBRARY, KEEP) -- what it, and the library of terminals, keep for ever stays theirs
   terminal.set_locale()
   local self = setmetatable({ lib = lib, wait = wait, complete = complete_line, typed = "", box = ffi.new("char[?]", PIECE),
      count = ffi.new "int[1]", event = ffi.new "mr_edit_event", prompt = ffi.new("char[1]"), plain = "" }, Edit)
   self.handle = lib.mr_edit_init("moonrabbit", io.stdin, io.stdout, io.stderr)
   if self.handle == nil then return nil, "this terminal cannot be used" end
   self.history = lib.mr_edit_history_init()
   lib.mr_edit_history_do(self.history, self.event, SETSIZE, int(KEPT))
   lib.mr_edit_history_do(self.history, self.event, SETUNIQUE, int(1))
   for _, entry in ipairs(entries) do self:remember(entry) end
   callbacks(self)
   set_up(self)
   return self
end
jit.off(editline.new)

return editline

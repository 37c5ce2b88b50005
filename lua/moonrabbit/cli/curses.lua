--- cli.curses: a full screen by ncurses: lines with styles, keys, the size; afterwards the terminal is as it was.
-- SPDX-License-Identifier: MIT
-- By FFI and not by Debian's lua-curses, which serves LuaJIT, too: its initscr ends the process by itself where the terminal is not
-- known, it has no newterm, and it would be one more package; libncursesw6 is on every Debian that has procps.
local bit = require "bit"
local ffi = require "ffi"
local terminal = require "moonrabbit.cli.terminal"

local curses = {}

ffi.cdef [[
int mr_curses_ioctl(int fd, unsigned long request, ...) __asm__("ioctl");
typedef struct { unsigned short rows, columns, width, height; } mr_curses_size;
extern void *mr_curses_stdin __asm__("stdin");
extern void *mr_curses_stdout __asm__("stdout");
extern void *mr_curses_window __asm__("stdscr");
void *mr_curses_newterm(const char *type, void *out, void *in) __asm__("newterm");
void mr_curses_delscreen(void *screen) __asm__("delscreen");
int mr_curses_endwin(void) __asm__("endwin");
int mr_curses_cbreak(void) __asm__("cbreak");
int mr_curses_noecho(void) __asm__("noecho");
int mr_curses_curs_set(int visible) __asm__("curs_set");
int mr_curses_set_escdelay(int ms) __asm__("set_escdelay");
int mr_curses_keypad(void *window, bool on) __asm__("keypad");
int mr_curses_nodelay(void *window, bool on) __asm__("nodelay");
int mr_curses_wgetch(void *window) __asm__("wgetch");
int mr_curses_wmove(void *window, int row, int column) __asm__("wmove");
int mr_curses_wclrtobot(void *window) __asm__("wclrtobot");
int mr_curses_wclrtoeol(void *window) __asm__("wclrtoeol");
int mr_curses_waddnstr(void *window, const char *text, int size) __asm__("waddnstr");
int mr_curses_wattrset(void *window, int attributes) __asm__("wattrset");
int mr_curses_wrefresh(void *window) __asm__("wrefresh");
int mr_curses_clearok(void *window, bool on) __asm__("clearok");
int mr_curses_resizeterm(int rows, int columns) __asm__("resizeterm");
bool mr_curses_has_colors(void) __asm__("has_colors");
int mr_curses_start_color(void) __asm__("start_color");
int mr_curses_use_default_colors(void) __asm__("use_default_colors");
int mr_curses_init_pair(short pair, short foreground, short background) __asm__("init_pair");
]]

local IN, OUT = 0, 1
local GET_SIZE = 0x5413 -- TIOCGWINSZ
local NONE = -1 -- ERR
local UNDERLINE, REVERSE, BOLD = bit.lshift(1, 17), bit.lshift(1, 18), bit.lshift(1, 21)
local RED, CYAN, DEFAULT = 1, 6, -1
local BAD, KEYS = 1, 2 -- pairs of colours
local ESCAPE_MS = 25 -- within which the bytes of one key arrive

local NAMES = { [9] = "tab", [10] = "enter", [13] = "enter", [27] = "escape", [127] = "backspace", [8] = "backspace", [258] = "down",
   [259] = "up", [260] = "left", [261] = "right", [262] = "home", [263] = "backspace", [338] = "page_down", [339] = "page_up",
   [343] = "enter", [360] = "end" }

local Screen = {}
Screen.__index = Screen

--- True if standard input and output are a terminal.
function curses.is_terminal() return terminal.is_terminal(IN) and terminal.is_terminal(OUT) end

-- Each style is an attribute of text, and with colours more than that.
local function styles_of(lib)
   local styles = { title = BOLD, bad = BOLD, header = UNDERLINE, selected = REVERSE, keys = 0 }
   if not terminal.wanted(OUT) or not lib.mr_curses_has_colors() then return styles end
   lib.mr_curses_start_color()
   lib.mr_curses_use_default_colors()
   lib.mr_curses_init_pair(BAD, RED, DEFAULT)
   lib.mr_curses_init_pair(KEYS, CYAN, DEFAULT)
   styles.bad, styles.keys = BOLD + bit.lshift(BAD, 8), bit.lshift(KEYS, 8)
   return styles
end

--- Takes the whole terminal.
-- @treturn[1] screen methods size, draw, keys, resize, close
-- @treturn[2] nil, string what is wrong
function curses.open()
   local ok, lib = pcall(ffi.load, "libncursesw.so.6")
   if not ok then return nil, "ncurses is missing: install the package libncursesw6" end
   terminal.set_locale()
   io.stdout:flush()
   local handle = lib.mr_curses_newterm(nil, ffi.C.mr_curses_stdout, ffi.C.mr_curses_stdin)
   if handle == nil then return nil, ('no full screen on a terminal of the type "%s" (TERM)'):format(os.getenv "TERM" or "") end
   lib.mr_curses_cbreak()
   lib.mr_curses_noecho()
   lib.mr_curses_set_escdelay(ESCAPE_MS)
   lib.mr_curses_curs_set(0)
   local window = lib.mr_curses_window
   lib.mr_curses_keypad(window, true)
   lib.mr_curses_nodelay(window, true)
   local self = setmetatable({ lib = lib, handle = handle, window = window, styles = styles_of(lib) }, Screen)
   self:resize()
   return self
end

--- Takes up the terminal's present size.
function Screen:resize()
   local size = ffi.new "mr_curses_size"
   ffi.C.mr_curses_ioctl(OUT, GET_SIZE, size)
   self.rows, self.columns = size.rows > 0 and size.rows or 24, size.columns > 0 and size.columns or 80
   self.lib.mr_curses_resizeterm(self.rows, self.columns)
end

--- Draws all anew.
-- @tparam table lines of cli.top_text
function Screen:draw(lines)
   local lib, window = self.lib, self.window
   for i = 1, math.min(#lines, self.rows) do
      local line = lines[i]
      lib.mr_curses_wmove(window, i - 1, 0)
      lib.mr_curses_wattrset(window, 0)
      lib.mr_curses_wclrtoeol(window)
      lib.mr_curses_wattrset(window, self.styles[line.style] or 0)
      lib.mr_curses_waddnstr(window, line.text, #line.text)
   end
   lib.mr_curses_wattrset(window, 0)
   if #lines < self.rows then
      lib.mr_curses_wmove(window, #lines, 0)
      lib.mr_curses_wclrtobot(window)
   end
   lib.mr_curses_wrefresh(window)
end

--- The keys that were pressed since.
-- @treturn table names, such as "down", and characters; others are left out
function Screen:keys()
   local list = {}
   local code = self.lib.mr_curses_wgetch(self.window)
   while code ~= NONE do
      local name = NAMES[code] or code >= 32 and code < 256 and string.char(code)
      if name then list[#list + 1] = name end
      code = self.lib.mr_curses_wgetch(self.window)
   end
   return list
end

--- Gives the terminal back as it was.
function Screen:close()
   self.lib.mr_curses_endwin()
   self.lib.mr_curses_delscreen(self.handle)
end

return curses

-- pages: writes the man pages and the shell completions, from what `moonrabbit --help` and moonrabbit.h say.
-- SPDX-License-Identifier: MIT
--
--   luajit examples/packages/pages.lua ROOT OUT        as the build does; OUT gets man1/ man3/ man7/ and completion/
--
-- The commands' pages come from the parser of lua/moonrabbit/cli, moonrabbit(3) from the header's comments, moonrabbit(7) from
-- README.md: a page cannot say what the program does not. "@prefix@" stands for the place of the installation. It needs no
-- library, only lua-argparse.
local root, out = arg[1], arg[2]
package.path = ("%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(root, root, package.path)
local DOCS = "@prefix@/share/doc/moonrabbit"
package.loaded["moonrabbit.cli.docs"] = { path = function(name) return DOCS .. "/docs/" .. name end }
local cli = require "moonrabbit.cli"

local function read(path)
   local file = assert(io.open(root .. "/" .. path))
   local text = file:read "*a"
   file:close()
   return text
end

local header = read "runtime/include/moonrabbit.h"
local version = header:match '#define MR_VERSION_STRING "([%d.]+)"'

local function write(path, text)
   local file = assert(io.open(out .. "/" .. path, "w"))
   file:write(text)
   file:close()
end

-- ---- roff ----

-- A text that means itself: a backslash, a hyphen as it is typed, and what would be a request at a line's begin.
local function plain(text)
   return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("\n([.'])", "\n\\&%1"):gsub("^([.'])", "\\&%1"))
end

local function bold(text) return "\\fB" .. plain(text) .. "\\fR" end

local function head(name, section) return (".TH %s %s \"\" \"moonrabbit %s\"\n"):format(name:upper(), section, version) end

-- Lines as they are.
local function block(lines)
   return ".PP\n.RS 4\n.nf\n" .. plain((table.concat(lines, "\n"):gsub("\t", "    "))) .. "\n.fi\n.RE\n"
end

-- Paragraphs; indented lines as they are; a line that ends with a colon is a paragraph of its own.
local function paragraphs(text)
   local made, prose, lines = {}, {}, {}
   local function flush()
      if prose[1] then made[#made + 1] = ".PP\n" .. plain(table.concat(prose, "\n")) .. "\n" end
      if lines[1] then made[#made + 1] = block(lines) end
      prose, lines = {}, {}
   end
   for line in (text .. "\n"):gmatch "([^\n]*)\n" do
      local is_indented = line:find "^%s+%S"
      if line == "" or is_indented and prose[1] or not is_indented and lines[1] then flush() end
      if is_indented then lines[#lines + 1] = line:gsub("^   ", "") elseif line ~= "" then prose[#prose + 1] = line end
      if not is_indented and line:find ":$" then flush() end
   end
   flush()
   return table.concat(made)
end

-- ---- the commands ----

local function option_text(option)
   local names, value = {}, option._argname and " " .. option._argname or ""
   for _, alias in ipairs(option._aliases) do names[#names + 1] = bold(alias) end
   local text = option._description or ""
   if option._default then text = ("%s Default: %s."):format(text, option._default) end
   return (".TP\n%s%s\n%s\n"):format(table.concat(names, ", "), plain(value), plain(text))
end

local function options_of(element)
   local made = { ".SH OPTIONS\n" }
   for _, argument in ipairs(element._arguments) do
      made[#made + 1] = (".TP\n\\fI%s\\fR\n%s\n"):format(plain(argument._name), plain(argument._description or ""))
   end
   for _, option in ipairs(element._options) do made[#made + 1] = option_text(option) end
   return table.concat(made)
end

-- "Usage: moonrabbit run [-h] ..." of the parser, without its first word.
local function synopsis(element)
   local usage = element:get_usage():gsub("^Usage: *", ""):gsub("\n%s+", " ")
   return (".SH SYNOPSIS\n.nh\n.ad l\n%s\n.ad\n.hy\n"):format((plain(usage):gsub("^(moonrabbit[ %l]*)", "\\fB%1\\fR")))
end

local function name_of(page, what) return (".SH NAME\n%s \\- %s\n"):format(plain(page), plain(what)) end

local function see_also(list) return ".SH SEE ALSO\n" .. table.concat(list, ",\n") .. "\n" end

local function reference(name, section) return (".BR %s (%s)"):format(plain(name), section) end

-- .BR takes arguments, so the commas between references are arguments, too.
local function references(list)
   local lines = {}
   for i, one in ipairs(list) do lines[i] = reference(one[1], one[2]) .. (list[i + 1] and " ," or "") end
   return see_also { table.concat(lines, "\n") }
end

local function lower_first(text) return (text:gsub("^%u%l", string.lower):gsub("%.$", "")) end

local ENVIRONMENT = [[
.SH ENVIRONMENT
.TP
.B AMQP_URL
The broker, such as amqp://user:password@host:5672/vhost; MOONRABBIT_URL comes first. Without both it is memory://, a broker
within the process.
.TP
.B MOONRABBIT_*
Each option of \fBmoonrabbit run\fR that takes a value, but \-\-set: MOONRABBIT_DRAIN for \-\-drain.
.TP
.B MOONRABBIT_BROKER_PASSWORD
The password of \fBmoonrabbit broker \-\-user\fR.
.TP
.B MOONRABBIT_STORE
The Redis of \fBmoonrabbit broker\fR, as for \-\-store.
.TP
.B NOTIFY_SOCKET, WATCHDOG_USEC
Set by systemd for a unit of Type=notify: see \fBmoonrabbit\-run\fR(1).
]]

local parser = cli.parser()
local commands = {}
for _, command in ipairs(parser._commands) do
   if command._name ~= "help" then commands[#commands + 1] = command end
end

local function command_page(command)
   local page = "moonrabbit-" .. command._name
   write(("man1/%s.1"):format(page), head(page, 1) .. name_of(page, lower_first(command._description)) .. synopsis(command) ..
      ".SH DESCRIPTION\n" .. paragraphs(command._description) .. (command._epilog and paragraphs(command._epilog) or "") ..
      options_of(command) .. ENVIRONMENT .. references { { "moonrabbit", 1 }, { "moonrabbit", 7 } })
end

local function main_page()
   local list, also = {}, {}
   for i, command in ipairs(commands) do
      list[i] = (".TP\n\\fBmoonrabbit\\-%s\\fR(1)\n%s\n"):format(command._name, plain(command._description))
      also[i] = { "moonrabbit-" .. command._name, 1 }
   end
   also[#also + 1] = { "moonrabbit", 3 }
   also[#also + 1] = { "moonrabbit", 7 }
   write("man1/moonrabbit.1", head("moonrabbit", 1) .. name_of("moonrabbit", lower_first(parser._description)) ..
      synopsis(parser) .. ".SH DESCRIPTION\n" .. paragraphs(parser._description) .. paragraphs(parser._epilog) ..
      ".SH COMMANDS\n" .. table.concat(list) .. options_of(parser) .. ENVIRONMENT .. ([[
.SH FILES
.TP
.I /etc/moonrabbit/NAME.lua
The script of the systemd unit moonrabbit@NAME.service.
.TP
.I /etc/moonrabbit/NAME.env
Its environment (AMQP_URL, MOONRABBIT_*), readable by root alone.
.TP
.I DOCS
The documentation, and examples to run.
]]):gsub("DOCS", DOCS) .. references(also))
end

-- ---- moonrabbit(3) ----

-- A comment without its marks.
local function words_of(comment)
   return (comment:gsub("^/%*%s?", ""):gsub("%s*%*/%s*$", ""):gsub("\n%s*%* ?", "\n"))
end

-- What is indented by a tab is code.
local function introduction(text)
   local made = {}
   for part in (text .. "\n\n"):gmatch "(.-)\n\n" do
      local is_code = part:find "^\t"
      made[#made + 1] = is_code and block { (part:gsub("^\t", ""):gsub("\n\t", "\n")) } or ".PP\n" .. plain(part) .. "\n"
   end
   return table.concat(made)
end

-- A section: comments that begin a line are paragraphs, everything else is code.
local function section(text)
   local made, code, comment = {}, {}, nil
   local function flush()
      while code[1] and code[#code]:find "^%s*$" do code[#code] = nil end
      if code[1] then made[#made + 1] = block(code) end
      code = {}
   end
   for line in text:gmatch "([^\n]*)\n" do
      if comment then comment = comment .. "\n" .. line
      elseif line:find "^/%*" and not line:find "clang%-format" then
         flush()
         comment = line
      elseif line ~= "" or code[1] then
         if not line:find "clang%-format" then code[#code + 1] = line:gsub("^MR_API ", "") end
      end
      if comment and comment:find "%*/%s*$" then
         made[#made + 1] = ".PP\n" .. plain(words_of(comment)) .. "\n"
         comment = nil
      elseif comment and line:find "%*/" then -- code behind the comment, on one line
         made[#made + 1] = block { comment }
         comment = nil
      end
   end
   flush()
   return table.concat(made)
end

local function library_page()
   local body = header:match "/%* ffi: begin %*/\n(.-)/%* ffi: end %*/"
   local made = { head("moonrabbit", 3), name_of("moonrabbit", "an embedded messaging runtime for RabbitMQ, in C"),
      ".SH SYNOPSIS\n.B #include <moonrabbit.h>\n.PP\n.nf\ncc host.c $(pkg\\-config \\-\\-cflags \\-\\-libs moonrabbit)\n.fi\n",
      ".SH DESCRIPTION\n", introduction((words_of(header:match "SPDX%-License%-Identifier: MIT(\n.-)%*/"):gsub("^%s+", ""))) }
   body = "/* ---- types --- */\n" .. body .. "/* ---- end --- */\n"
   local at = 1
   while true do
      local _, stop, title = body:find("/%* %-%-%-%- ([%w ]+) %-+ %*/\n", at)
      if not stop or title == "end" then break end
      local next_at = body:find("/* ---- ", stop, true)
      made[#made + 1] = (".SH %s\n%s"):format(title:upper(), section(body:sub(stop + 1, next_at - 1)))
      at = next_at
   end
   made[#made + 1] = references { { "moonrabbit", 1 }, { "moonrabbit", 7 } }
   write("man3/moonrabbit.3", table.concat(made))
   for name in body:gmatch "MR_API [%w_ ]-%*?%s?(mr_[%w_]+)%(" do -- `man mr_runtime_poll` shows that page
      write(("man3/%s.3"):format(name), ".so man3/moonrabbit.3\n")
   end
end

-- ---- moonrabbit(7) ----

-- Markdown's emphasis and links, as plain words.
local function unmarked(text)
   return (text:gsub("%[([^%]]-)%]%([^%)]-%)", "%1"):gsub("%*%*(.-)%*%*", "%1"):gsub("`([^`]*)`", "%1"))
end

local function overview_page()
   local readme = read "README.md"
   local about = readme:match "\n(Moonrabbit is a messaging runtime.-)\n\n## Try it"
   local script = readme:match "\n## A consumer\n\n```lua\n(.-)\n```"
   local made = { head("moonrabbit", 7), name_of("moonrabbit", "RabbitMQ consumers in Lua, and messaging for programs in C"),
      ".SH DESCRIPTION\n" }
   for part in (about .. "\n\n"):gmatch "(.-)\n\n" do
      part = unmarked(part)
      if part:find "^%- " then
         for point in part:gsub("\n%- ", "\n\1"):gsub("^%- ", "\1"):gmatch "\1([^\1]+)" do
            made[#made + 1] = ".IP \\(bu 2\n" .. plain((point:gsub("\n+$", ""):gsub("\n%s+", " "))) .. "\n"
         end
      else
         made[#made + 1] = ".PP\n" .. plain(part) .. "\n"
      end
   end
   made[#made + 1] = ".SH EXAMPLE\nA consumer, invoices.lua; \\fBmoonrabbit run invoices.lua\\fR runs it:\n" ..
      block { script }
   made[#made + 1] = ".SH DOCUMENTATION\n"
   for page, text in readme:gmatch "\n| %[docs/([%w%-_]+%.md)%]%b() | ([^\n]-) |" do
      made[#made + 1] = (".TP\n.I %s/docs/%s\n%s\n"):format(DOCS, plain(page), plain(unmarked(text)))
   end
   made[#made + 1] = references { { "moonrabbit", 1 }, { "moonrabbit-run", 1 }, { "moonrabbit", 3 } }
   write("man7/moonrabbit.7", table.concat(made))
end

-- ---- all ----

local folders = ""
for _, folder in ipairs { "man1", "man3", "man7", "completion" } do folders = ("%s '%s/%s'"):format(folders, out, folder) end
assert(os.execute("mkdir -p" .. folders) == 0, "mkdir failed")
main_page()
for _, command in ipairs(commands) do command_page(command) end
library_page()
overview_page()
write("completion/moonrabbit", parser:get_bash_complete())
write("completion/_moonrabbit", parser:get_zsh_complete())
write("completion/moonrabbit.fish", parser:get_fish_complete())

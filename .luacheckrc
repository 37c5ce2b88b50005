-- Settings of luacheck for lua/, examples/ and tests/; run by tests/run.sh.
std = "luajit"
max_line_length = 140
codes = true
ignore = { "212/_.*" }                -- unused arguments whose name starts with _
files["tests/spec"] = { std = "luajit+busted" }
files["tests/contract"] = { std = "luajit+busted" }
files["tests/fault"] = { std = "luajit+busted" }
files["tests/cluster"] = { std = "luajit+busted" }
files["tests/host"] = { std = "luajit+busted" }
files["tests/timed"] = { std = "luajit+busted" }
files["tests/support"] = { std = "luajit+busted" }
files["lua/moonrabbit/ngx.lua"] = { globals = { "ngx" } }
files["lua/moonrabbit/host/ngx_*.lua"] = { globals = { "ngx" } }
files["examples/hosts/nginx-lua"] = { globals = { "ngx" } }

files["examples/hosts/love"] = { std = "luajit", globals = { "love" } }

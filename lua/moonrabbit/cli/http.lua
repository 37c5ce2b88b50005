--- cli.http: as much of HTTP as a few pages need: GET and HEAD, one answer a connection.
-- SPDX-License-Identifier: MIT
local sockets = require "moonrabbit.cli.sockets"
local task = require "moonrabbit.loop.task"

local http = {}

local PATIENCE = 5             -- seconds for a request, and for an answer to be taken
local REQUEST_MAX = 8192       -- bytes of a request's head
local ANSWER_MAX = 16 * 2 ^ 20 -- bytes of an answer
local MOST = 64                -- connections at a time
local REASONS = { [200] = "OK", [400] = "Bad Request", [404] = "Not Found", [405] = "Method Not Allowed",
   [431] = "Request Header Fields Too Large", [500] = "Internal Server Error", [503] = "Service Unavailable" }

local function head_of(code, kind, size)
   return ("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\nConnection: close\r\n%s\r\n"):format(
      code, REASONS[code], kind, size, code == 405 and "Allow: GET, HEAD\r\n" or "")
end

-- A request's head, or nil and the code to refuse it with; nil alone: there is nobody.
local function read_head(fd)
   local text = ""
   while not text:find("\r\n\r\n", 1, true) do
      local piece = sockets.read(fd, PATIENCE)
      if not piece or piece == "" then return nil end
      text = text .. piece
      if #text > REQUEST_MAX then return nil, 431 end
   end
   return text
end

-- Method, path and query, or nil and the code to refuse it with.
local function parse(head)
   local method, path, query = head:match "^(%u+) (/[^%s?]*)(%S*) HTTP/1%.[01]\r\n"
   if not method then return nil, 400 end
   if method ~= "GET" and method ~= "HEAD" then return nil, 405 end
   return method, path, query
end

local function answer_one(fd, answer)
   local head, refused = read_head(fd)
   if not head and not refused then return end
   local method, path, query
   if head then method, path, query = parse(head) end
   local code, kind, body = refused or path, "text/plain; charset=utf-8", nil
   if method then code, kind, body = answer(path, query) end
   body = body or REASONS[code] .. "\n"
   sockets.write(fd, head_of(code, kind, #body) .. (method == "HEAD" and "" or body), PATIENCE)
end

--- Serves until the runtime ends.
-- @tparam number fd that listens
-- @tparam function answer(path, query) -> code, content type, body
function http.serve(fd, answer)
   local count = 0
   task.background(function()
      while true do
         local peer = sockets.accept(fd)
         if peer and count >= MOST then
            sockets.close(peer)
         elseif peer then
            count = count + 1
            task.background(function()
               local ok, why = pcall(answer_one, peer, answer)
               sockets.close(peer)
               count = count - 1
               if not ok then error(why, 0) end
            end)
         end
      end
   end)
end

--- Asks for a page at a socket in the file system.
-- @treturn[1] number code
-- @treturn[1] string body
-- @treturn[2] nil, string what is wrong
function http.get(socket, path, timeout)
   local fd, why = sockets.connect(socket)
   if not fd then return nil, why end
   local request = ("GET %s HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n"):format(path)
   local text, goes_on = "", sockets.write(fd, request, timeout)
   while goes_on do
      local piece
      piece, why = sockets.read(fd, timeout)
      goes_on = piece and piece ~= "" and #text < ANSWER_MAX
      text = text .. (piece or "")
   end
   sockets.close(fd)
   local code, body = text:match "^HTTP/1%.%d (%d%d%d)[^\n]*\r\n.-\r\n\r\n(.*)$"
   if not code then return nil, why or "it gave no answer" end
   return tonumber(code), body
end

return http

--- certificates: a certificate authority of a test's own, made by the openssl command in a folder of its own.
-- SPDX-License-Identifier: MIT
local certificates = {}

local PARTS = [[
set -e
cd "$1"
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
authority() { # FILE NAME
   openssl req -x509 $key -days 2 -subj "/CN=$2" -keyout "$1.key" -out "$1.pem" \
      -addext basicConstraints=critical,CA:TRUE
}
certificate() { # FILE CA DAYS SUBJECT-ALTERNATIVE-NAMES
   openssl req $key -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
   echo "subjectAltName=$4" >"$1.ext"
   openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days "$3" -extfile "$1.ext" -out "$1.pem"
}
authority ca "CA of this test"
authority other_ca "Another CA"
certificate good ca 2 DNS:localhost,IP:127.0.0.1
certificate name_only ca 2 DNS:localhost
certificate expired ca -1 DNS:localhost,IP:127.0.0.1
certificate elsewhere ca 2 DNS:elsewhere.example,IP:192.0.2.1
certificate foreign other_ca 2 DNS:localhost,IP:127.0.0.1
certificate client ca 2 DNS:client
certificate client2 ca 2 DNS:client2
certificate foreign_client other_ca 2 DNS:client
openssl req -x509 $key -days 2 -subj /CN=self -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
   -keyout self.key -out self.pem
cat other_ca.pem ca.pem >both_cas.pem
]]

local function write(path, text)
   local f = assert(io.open(path, "w"))
   f:write(text)
   f:close()
end

local function read(path)
   local f = assert(io.open(path))
   local text = f:read "*a"
   f:close()
   return text
end

--- Makes them: NAME.pem and NAME.key for good (localhost, 127.0.0.1), name_only (localhost), expired, elsewhere
-- (another host), foreign (by other_ca), self (self-signed), client, client2, foreign_client; ca, other_ca.
-- @treturn table path(NAME) and key(NAME); copy(NAME, NAME2); remove()
function certificates.make()
   local pipe = io.popen "mktemp -d"
   local folder = assert(pipe:read "*l")
   pipe:close()
   write(folder .. "/make.sh", PARTS)
   local code = os.execute(("timeout 60 sh %s/make.sh %s >%s/log 2>&1 </dev/null"):format(folder, folder, folder))
   if code ~= 0 and code ~= true then error("openssl made no certificates: " .. read(folder .. "/log")) end
   local made = {}
   --- The file of a certificate.
   function made.path(name) return ("%s/%s.pem"):format(folder, name) end
   --- The file of its key.
   function made.key(name) return ("%s/%s.key"):format(folder, name) end
   --- Replaces certificate and key `to` by those of `from`, as somebody who renews them does.
   function made.copy(from, to)
      write(made.path(to) .. ".new", read(made.path(from)))
      assert(os.rename(made.path(to) .. ".new", made.path(to)))
      write(made.key(to), read(made.key(from)))
   end
   --- Removes the folder.
   function made.remove() os.execute("rm -rf " .. folder) end
   return made
end

return certificates

--- tls_peer: scripted peers that speak TLS, by OpenSSL itself: what the embedded broker cannot be told to do.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local mr = require "moonrabbit"
local peer = require "peer"

local tls_peer = {}

ffi.cdef [[
typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
const void *TLS_server_method(void);
SSL_CTX *SSL_CTX_new(const void *method);
void SSL_CTX_free(SSL_CTX *);
long SSL_CTX_ctrl(SSL_CTX *, int what, long number, void *pointer);
int SSL_CTX_use_certificate_chain_file(SSL_CTX *, const char *file);
int SSL_CTX_use_PrivateKey_file(SSL_CTX *, const char *file, int type);
int SSL_CTX_load_verify_locations(SSL_CTX *, const char *file, const char *folder);
void SSL_CTX_set_verify(SSL_CTX *, int mode, void *callback);
SSL *SSL_new(SSL_CTX *);
void SSL_free(SSL *);
int SSL_set_fd(SSL *, int fd);
int SSL_accept(SSL *);
int SSL_do_handshake(SSL *);
int SSL_read(SSL *, void *data, int size);
int SSL_write(SSL *, const void *data, int size);
int SSL_key_update(SSL *, int kind);
int SSL_renegotiate(SSL *);
int SSL_shutdown(SSL *);
int SSL_session_reused(const SSL *);
int SSL_get_error(const SSL *, int code);
const char *SSL_get_servername(const SSL *, int type);
void *SSL_get1_peer_certificate(const SSL *);
void X509_free(void *);
void *X509_get_subject_name(const void *);
char *X509_NAME_oneline(const void *name, char *buffer, int size);
void ERR_clear_error(void);
void (*signal(int number, void (*handler)(int)))(int);
]]
local S, X = ffi.load "ssl", ffi.load "crypto"

local WANT = { [2] = "r", [3] = "w" }                      -- SSL_ERROR_WANT_READ, _WRITE
local PEM, VERIFY, VERIFY_AND_REQUIRE, MAX_PROTO, REQUESTED = 1, 1, 3, 124, 1
local VERSIONS = { ["1.2"] = 0x303, ["1.3"] = 0x304 }
local PATIENCE = 10

ffi.C.signal(13, ffi.cast("void (*)(int)", 1))             -- OpenSSL's own writes raise SIGPIPE

local function context(options)
   local ctx = ffi.gc(S.SSL_CTX_new(S.TLS_server_method()), S.SSL_CTX_free)
   assert(S.SSL_CTX_use_certificate_chain_file(ctx, options.certfile) == 1, options.certfile)
   assert(S.SSL_CTX_use_PrivateKey_file(ctx, options.keyfile, PEM) == 1, options.keyfile)
   if options.max_version then S.SSL_CTX_ctrl(ctx, MAX_PROTO, VERSIONS[options.max_version], nil) end
   if options.asks then S.SSL_CTX_set_verify(ctx, VERIFY, nil) end
   if options.client_ca then
      assert(S.SSL_CTX_load_verify_locations(ctx, options.client_ca, nil) == 1)
      S.SSL_CTX_set_verify(ctx, VERIFY_AND_REQUIRE, nil)
   end
   return ctx
end

-- Calls an OpenSSL function until it is done; nil: it failed.
local function insist(session, fn, ...)
   while true do
      X.ERR_clear_error()
      local n = fn(session.ssl, ...)
      if n > 0 then return n end
      local mode = WANT[S.SSL_get_error(session.ssl, n)]
      if not mode or not mr.wait_fd(session.fd, mode, PATIENCE) then return nil end
   end
end

local function read(session, count)
   local buffer = ffi.new "char[65536]"
   while #session.input < count do
      local n = insist(session, S.SSL_read, buffer, 65536)
      if not n then return nil end
      session.input = session.input .. ffi.string(buffer, n)
   end
   local bytes = session.input:sub(1, count)
   session.input = session.input:sub(count + 1)
   return bytes
end

local function write(session, bytes)
   return #bytes == 0 or insist(session, S.SSL_write, bytes, #bytes) and true or nil
end

-- New keys for what we send; the client shall take new ones, too.
local function update_keys(session)
   return S.SSL_key_update(session.ssl, REQUESTED) == 1 and insist(session, S.SSL_do_handshake) and true
end

-- TLS 1.2: asks the client to begin the handshake anew; it is worked off with what is read and written next.
local function renegotiate(session)
   return S.SSL_renegotiate(session.ssl) == 1 and insist(session, S.SSL_do_handshake) and true
end

-- Hangs up without a word; the task that serves the session sees it.
local function cut(session) ffi.C.shutdown(session.fd, 2) end

local function client_name(session)
   local certificate = S.SSL_get1_peer_certificate(session.ssl)
   if certificate == nil then return nil end
   local text = ffi.new "char[256]"
   X.X509_NAME_oneline(X.X509_get_subject_name(certificate), text, 256)
   X.X509_free(certificate)
   return ffi.string(text)
end

local function server_name(session)
   local name = S.SSL_get_servername(session.ssl, 0)
   return name ~= nil and ffi.string(name) or nil
end

-- The client may not have read yet why it was refused: a reset would take that from it.
local function see_off(session, plain_read)
   ffi.C.shutdown(session.fd, 1)
   while plain_read(session, 1) do session.input = "" end
end

--- A peer as peer.start's, behind TLS. The sessions have `client` (the subject of the client's certificate),
-- `sni` (the name it asked for), `resumed` (of a former session), update_keys(), renegotiate() and cut().
-- @tparam table options certfile, keyfile; max_version ("1.2"), client_ca (a certificate of it is required), asks (a certificate
-- is asked for, not required: OpenSSL then fails the handshake of whoever offers a session)
-- @tparam function serve called with the session when the handshake succeeded
-- @treturn table as peer.start; refused: how many handshakes failed
function tls_peer.start(options, serve)
   local ctx = context(options)
   local state
   state = peer.start(function(session)
      local plain_read = session.read
      session.ssl = ffi.gc(S.SSL_new(ctx), S.SSL_free)
      S.SSL_set_fd(session.ssl, session.fd)
      if not insist(session, S.SSL_accept) then
         state.refused = state.refused + 1
         see_off(session, plain_read)
         return
      end
      session.read, session.write, session.update_keys, session.cut = read, write, update_keys, cut
      session.renegotiate = renegotiate
      session.client, session.sni = client_name(session), server_name(session)
      session.resumed = S.SSL_session_reused(session.ssl) == 1
      serve(session)
      if not session.is_reset then S.SSL_shutdown(session.ssl) end -- its descriptor may be another's by now
   end)
   state.refused = 0
   return state
end

--- The same as the options of a connection to it.
-- @tparam table certs of certificates.make
function tls_peer.options(certs, serve)
   local served = tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good" }, serve)
   return { url = ("amqps://localhost:%d"):format(served.port), ssl_options = { ca_certs = certs.path "ca" } }
end

return tls_peer

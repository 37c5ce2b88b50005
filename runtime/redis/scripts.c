/* scripts: the Lua scripts that run in the Redis server, each as one step there.
 * SPDX-License-Identifier: MIT
 * They read kombu's envelopes as text, and as JSON only where the text is not as kombu writes it: cjson
 * would change numbers and empty arrays. What they do not understand stays as it is. */
#include "redis/scripts.h"

/* Reads the text of an envelope: its delivery tag, and its exchange and routing key as JSON. */
#define PLACE_OF                                                                                               \
	"local function place_of(text)\n"                                                                      \
	"  local tag = text:match('.*\"delivery_tag\": \"([^\"\\\\]+)\"')\n"                                   \
	"  local info = text:match('.*\"delivery_info\": (%b{})')\n"                                           \
	"  local ex = info and info:match('\"exchange\": (\"[^\"\\\\]*\")')\n"                                 \
	"  local rk = info and info:match('\"routing_key\": (\"[^\"\\\\]*\")')\n"                              \
	"  if tag and ex and rk then return tag, ex, rk end\n"                                                 \
	"  local ok, m = pcall(cjson.decode, text)\n"                                                          \
	"  local p = ok and type(m) == 'table' and type(m.properties) == 'table' and m.properties\n"           \
	"  local d = p and type(p.delivery_info) == 'table' and p.delivery_info or {}\n"                       \
	"  tag = p and type(p.delivery_tag) == 'string' and p.delivery_tag or 'bad:' .. redis.sha1hex(text)\n" \
	"  local function json(v) return cjson.encode(type(v) == 'string' and v or '') end\n"                  \
	"  return tag, json(d.exchange), json(d.routing_key)\n"                                                \
	"end\n"

#define CLOCK                                                                                      \
	"local function clock()\n"                                                                 \
	"  local t = redis.call('TIME')\n"                                                         \
	"  return ('%d.%06d'):format(t[1], t[2])\n"                                                \
	"end\n"

/* The text between the brackets of a member of `unacked`, and the text as kombu writes it for a message
 * that comes back. */
#define MARKED                                                                                             \
	"local function parts_of(text)\n"                                                                  \
	"  return text:match('^%[(.*), (\"[^\"]*\"), (\"[^\"]*\")%]$')\n"                                  \
	"end\n"                                                                                            \
	"local function marked(text)\n"                                                                    \
	"  text = text:gsub('\"headers\": {(}?)', function(e)\n"                                           \
	"    return '\"headers\": {\"redelivered\": true' .. (e == '' and ', ' or '}')\n"                  \
	"  end, 1)\n"                                                                                      \
	"  return (text:gsub('\"delivery_info\": {', '\"delivery_info\": {\"redelivered\": true, ', 1))\n" \
	"end\n"

/* kombu matches keys by regular expressions in which `*` is `.*?[^.]` and `#` is `.*?`. */
#define QUEUES_OF                                                                                  \
	"local function pattern_of(key)\n"                                                         \
	"  local words = {}\n"                                                                     \
	"  for word in (key .. '.'):gmatch('([^.]*)%.') do\n"                                      \
	"    words[#words + 1] = word == '*' and '.-[^.]' or word == '#' and '.-'\n"               \
	"      or word:gsub('%W', '%%%0')\n"                                                       \
	"  end\n"                                                                                  \
	"  return '^' .. table.concat(words, '%.') .. '$'\n"                                       \
	"end\n"                                                                                    \
	"local function queues_of(bindings, key)\n"                                                \
	"  local seen, queues = {}, {}\n"                                                          \
	"  for _, member in ipairs(redis.call('SMEMBERS', bindings)) do\n"                         \
	"    local k, pattern, q = member:match('^(.-)\\6\\22(.-)\\6\\22(.*)$')\n"                 \
	"    local fits = k and (k == key or (pattern ~= '' and key:find(pattern_of(k))))\n"       \
	"    if fits and not seen[q] then\n"                                                       \
	"      seen[q] = true\n"                                                                   \
	"      queues[#queues + 1] = q\n"                                                          \
	"    end\n"                                                                                \
	"  end\n"                                                                                  \
	"  return queues\n"                                                                        \
	"end\n"

static const char *const texts[MR_SCRIPT_MAX] = {
	/* KEYS: the lists of a queue, those to be emptied first first; unacked, unacked_index. ARGV: how many.
	 * Answers tag, envelope, tag, envelope... Copies of one message may have one tag: each has a name of
	 * its own here, so that none hides another. */
	[MR_SCRIPT_TAKE] = PLACE_OF CLOCK
	"local unacked, index, out, now = KEYS[#KEYS - 1], KEYS[#KEYS], {}, clock()\n"
	"for i = 1, #KEYS - 2 do\n"
	"  local left = tonumber(ARGV[1]) - #out / 2\n"
	"  for _, text in ipairs(left > 0 and redis.call('RPOP', KEYS[i], left) or {}) do\n"
	"    local tag, ex, rk = place_of(text)\n"
	"    local name, n = tag, 1\n"
	"    while redis.call('HSETNX', unacked, name, '[' .. text .. ', ' .. ex .. ', ' .. rk .. ']') == 0 do\n"
	"      n = n + 1\n"
	"      name = tag .. ':' .. n\n"
	"    end\n"
	"    redis.call('ZADD', index, now, name)\n"
	"    out[#out + 1] = name\n"
	"    out[#out + 1] = text\n"
	"  end\n"
	"end\n"
	"return out\n",
	/* KEYS: a list, unacked, unacked_index. ARGV: tag. Not if somebody has restored it. */
	[MR_SCRIPT_BACK] =
		MARKED "local text = parts_of(redis.call('HGET', KEYS[2], ARGV[1]) or '')\n"
		       "redis.call('ZREM', KEYS[3], ARGV[1])\n"
		       "if text then redis.call('RPUSH', KEYS[1], marked(text)) end\n"
		       "return redis.call('HDEL', KEYS[2], ARGV[1])\n",
	/* KEYS: the bindings of an exchange. ARGV: routing key, envelope, the names' prefix, and the suffix of
	 * the priority. Answers the number of queues. */
	[MR_SCRIPT_ROUTE] = QUEUES_OF
	"local queues = queues_of(KEYS[1], ARGV[1])\n"
	"for _, q in ipairs(queues) do redis.call('LPUSH', ARGV[3] .. q .. ARGV[4], ARGV[2]) end\n"
	"return #queues\n",
	/* KEYS: the lists of a queue. */
	[MR_SCRIPT_COUNT] = "local n = 0\n"
			    "for _, key in ipairs(KEYS) do n = n + redis.call('LLEN', key) end\n"
			    "return n\n",
	/* KEYS: the lists of a queue. */
	[MR_SCRIPT_PURGE] = "local n = 0\n"
			    "for _, key in ipairs(KEYS) do n = n + redis.call('LLEN', key) end\n"
			    "redis.call('DEL', unpack(KEYS))\n"
			    "return n\n",
	/* KEYS: unacked_index. ARGV: tags. Only those that are still there. */
	[MR_SCRIPT_RENEW] = CLOCK
	"local now = clock()\n"
	"for _, tag in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now, tag) end\n",
	/* KEYS: unacked, unacked_index. ARGV: the visibility timeout in s, how many, the names' prefix, the
	 * prefix of bindings. As kombu's restore_visible, in one step. Answers how many. */
	[MR_SCRIPT_RESTORE] = QUEUES_OF MARKED
	"local t = redis.call('TIME')\n"
	"local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', t[1] - ARGV[1], 'LIMIT', 0, ARGV[2])\n"
	"for _, tag in ipairs(due) do\n"
	"  local text, ex, rk = parts_of(redis.call('HGET', KEYS[1], tag) or '')\n"
	"  if text then\n"
	"    ex, rk = cjson.decode(ex), cjson.decode(rk)\n"
	"    local queues = ex == '' and { rk } or queues_of(ARGV[4] .. ex, rk)\n"
	"    for _, q in ipairs(queues) do redis.call('RPUSH', ARGV[3] .. q, marked(text)) end\n"
	"  end\n"
	"  redis.call('ZREM', KEYS[2], tag)\n"
	"  redis.call('HDEL', KEYS[1], tag)\n"
	"end\n"
	"return #due\n",
	/* KEYS: the delayed messages, by the time when they are due. ARGV: ms, exchange, routing key, step of the
	 * priority, envelope. Answers 1: a message is kept, for whatever queues there will be. */
	[MR_SCRIPT_DELAY] = "local t = redis.call('TIME')\n"
			    "local due = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1]\n"
			    "redis.call('ZADD', KEYS[1], due, table.concat(ARGV, '\\6\\22', 2))\n"
			    "return 1\n",
	/* KEYS: the delayed messages. ARGV: how many, the names' prefix, the prefix of bindings. Moves those that are
	 * due; answers in how many ms the next one is, or -1. */
	[MR_SCRIPT_MOVE] = QUEUES_OF
	"local t = redis.call('TIME')\n"
	"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
	"for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do\n"
	"  local ex, rk, step, text = member:match('^(.-)\\6\\22(.-)\\6\\22(.-)\\6\\22(.*)$')\n"
	"  local suffix = step == '0' and '' or '\\6\\22' .. step\n"
	"  local queues = ex == '' and { rk } or queues_of(ARGV[3] .. ex, rk)\n"
	"  for _, q in ipairs(queues) do redis.call('LPUSH', ARGV[2] .. q .. suffix, text) end\n"
	"  redis.call('ZREM', KEYS[1], member)\n"
	"end\n"
	"local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')\n"
	"return next[2] and math.max(0, next[2] - now) or -1\n",
};

const char *mr_scripts_text(enum mr_redis_script script) { return texts[script]; }

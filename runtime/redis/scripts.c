/* scripts: the Lua scripts that run in the Redis server, each as one step there.
 * SPDX-License-Identifier: MIT
 * They read kombu's envelopes as text, and as JSON only where the text is not as kombu writes it: cjson
 * would change numbers and empty arrays. What they do not understand stays as it is. */
#include "redis/scripts.h"

/* Reads the delivery tag in the text of an envelope: the last one, which stands near the end. A text may have 100 MB, and
 * may be no envelope: a pattern without a `^` would try it from each of its bytes. */
#define TAG_OF                                                                                                  \
	"local function tag_of(text)\n"                                                                         \
	"  local last = '^.*\"delivery_tag\": \"([^\"\\\\]+)\"'\n"                                              \
	"  local is_there = text:find('\"delivery_tag\": \"', 1, true)\n"                                       \
	"  local tag = is_there and (text:sub(-1000):match(last) or text:match(last))\n"                        \
	"  if tag then return tag end\n"                                                                        \
	"  local ok, m = pcall(cjson.decode, text)\n"                                                           \
	"  local p = ok and type(m) == 'table' and type(m.properties) == 'table' and m.properties\n"            \
	"  return p and type(p.delivery_tag) == 'string' and p.delivery_tag or 'bad:' .. redis.sha1hex(text)\n" \
	"end\n"

#define CLOCK                                                                                      \
	"local function clock()\n"                                                                 \
	"  local t = redis.call('TIME')\n"                                                         \
	"  return ('%d.%06d'):format(t[1], t[2])\n"                                                \
	"end\n"

/* What a member of `unacked` has: the text of the envelope, its exchange and its routing key; nothing if it cannot
 * be read. And the envelope as kombu writes it for a message that comes back. */
#define MARKED                                                                                              \
	"local function parts_of(text)\n"                                                                   \
	"  local inner, tail = text:match('^%[(.*), (\"[^\"]*\", \"[^\"]*\")%]$')\n"                        \
	"  if not inner then inner, tail = text:match('^%[(.*}), (\".*\")%]$') end\n"                       \
	"  local ok, v = pcall(cjson.decode, '[' .. (tail or '') .. ']')\n"                                 \
	"  if ok and type(v[1]) == 'string' and type(v[2]) == 'string' then return inner, v[1], v[2] end\n" \
	"end\n"                                                                                             \
	"local function marked(text)\n"                                                                     \
	"  for _, place in ipairs { '\"headers\": {', '\"delivery_info\": {' } do\n"                        \
	"    local mark = '\"redelivered\": true'\n"                                                        \
	"    local _, at = text:find(place, 1, true)\n"                                                     \
	"    if at and text:sub(at + 1, at + #mark) ~= mark then\n"                                         \
	"      local rest = text:sub(at + 1)\n"                                                             \
	"      text = text:sub(1, at) .. mark .. (rest:sub(1, 1) == '}' and '' or ', ') .. rest\n"          \
	"    end\n"                                                                                         \
	"  end\n"                                                                                           \
	"  return text\n"                                                                                   \
	"end\n"

/* Puts a text into a list; if there is something else of that name, into that of the invalid ones. Answers an error, or nil. */
#define PUT                                                                                        \
	"local function put(verb, list, text, aside)\n"                                            \
	"  local said = redis.pcall(verb, list, text)\n"                                           \
	"  if type(said) == 'table' and said.err:find('WRONGTYPE', 1, true) then\n"                \
	"    said = redis.pcall('LPUSH', aside, text)\n"                                           \
	"  end\n"                                                                                  \
	"  return type(said) == 'table' and said or nil\n"                                         \
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

/* True: it is in its queue again. */
#define RESTORED                                                                                             \
	QUEUES_OF MARKED                                                                                     \
		"local function restore(unacked, tag, whole, names, bindings)\n"                             \
		"  local text, ex, rk = parts_of(whole)\n"                                                   \
		"  local queues = not text and {} or ex == '' and { rk } or queues_of(bindings .. ex, rk)\n" \
		"  local kept = false\n"                                                                     \
		"  redis.call('HDEL', unacked, tag)\n"                                                       \
		"  for _, q in ipairs(queues) do\n"                                                          \
		"    kept = type(redis.pcall('RPUSH', names .. q, marked(text))) == 'number' or kept\n"      \
		"  end\n"                                                                                    \
		"  if not kept then redis.call('HSET', unacked, tag, whole) end\n"                           \
		"  return kept\n"                                                                            \
		"end\n"

static const char *const texts[MR_SCRIPT_MAX] = {
	/* KEYS: the lists of a queue, those to be emptied first first; unacked, unacked_index. ARGV: how many, the
	 * queue's name, after how many bytes it is enough, the end of the names in `unacked`, and anything if it shall
	 * count. Answers tag, envelope, tag, envelope... and how many are left, if it is to count. Copies of one message may have one tag: each has a name
	 * of its own here, so that none hides another. And each is recorded as if it was published to its queue alone,
	 * so that who restores it puts it there, and not into other queues that got copies. */
	[MR_SCRIPT_TAKE] = TAG_OF CLOCK
	"local unacked, index, out, now = KEYS[#KEYS - 1], KEYS[#KEYS], {}, clock()\n"
	"local place = ', \"\", \"' .. ARGV[2]:gsub('[%c\"\\\\]', function(c)\n"
	"  return ('\\\\u%04x'):format(c:byte())\n"
	"end) .. '\"]'\n"
	"local bytes, most = 0, tonumber(ARGV[3])\n"
	"for i = 1, #KEYS - 2 do\n"
	"  while #out / 2 < tonumber(ARGV[1]) and bytes < most do\n"
	"    local text = redis.call('RPOP', KEYS[i])\n"
	"    if not text then break end\n"
	"    bytes = bytes + #text\n"
	"    local tag = tag_of(text) .. ARGV[4]\n"
	"    local name, n = tag, 1\n"
	"    while redis.call('HSETNX', unacked, name, '[' .. text .. place) == 0 do\n"
	"      n = n + 1\n"
	"      name = tag .. ':' .. n\n"
	"    end\n"
	"    redis.call('ZADD', index, now, name)\n"
	"    out[#out + 1] = name\n"
	"    out[#out + 1] = text\n"
	"  end\n"
	"end\n"
	"local left = 0\n"
	"if not ARGV[5] then return out end\n"
	"for i = 1, #KEYS - 2 do left = left + redis.call('LLEN', KEYS[i]) end\n"
	"out[#out + 1] = left\n"
	"return out\n",
	/* KEYS: a list, unacked, unacked_index, the invalid ones. ARGV: tag. Not if somebody has restored it. What has
	 * become unreadable in `unacked` stays there. Without memory Redis refuses what grows, unless something was removed
	 * before. */
	[MR_SCRIPT_BACK] =
		MARKED PUT "local whole = redis.call('HGET', KEYS[2], ARGV[1])\n"
			   "local text = whole and parts_of(whole)\n"
			   "if whole and not text then return 0 end\n"
			   "if text then\n"
			   "  redis.call('HDEL', KEYS[2], ARGV[1])\n"
			   "  local failed = put('RPUSH', KEYS[1], marked(text), KEYS[4])\n"
			   "  if failed then\n"
			   "    redis.call('HSET', KEYS[2], ARGV[1], whole)\n"
			   "    return failed\n"
			   "  end\n"
			   "end\n"
			   "redis.call('ZREM', KEYS[3], ARGV[1])\n"
			   "return text and 1 or 0\n",
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
	/* KEYS: unacked_index. ARGV: tags. Only those that are still there. Without memory Redis refuses ZADD, but not
	 * after a command that frees some. */
	[MR_SCRIPT_RENEW] = CLOCK
	"local now = clock()\n"
	"for _, tag in ipairs(ARGV) do\n"
	"  if redis.call('ZREM', KEYS[1], tag) == 1 then redis.call('ZADD', KEYS[1], now, tag) end\n"
	"end\n",
	/* KEYS: unacked, unacked_index. ARGV: the visibility timeout in s, how many, the names' prefix, the
	 * prefix of bindings. As kombu's restore_visible, in one step: the newest first, as each is put before those that
	 * are there. What cannot be read, or has no queue, stays, for another timeout. Answers how many. */
	[MR_SCRIPT_RESTORE] = RESTORED CLOCK
	"local t = redis.call('TIME')\n"
	"local due = redis.call('ZREVRANGEBYSCORE', KEYS[2], t[1] - ARGV[1], '-inf', 'LIMIT', 0, ARGV[2])\n"
	"for _, tag in ipairs(due) do\n"
	"  local whole = redis.call('HGET', KEYS[1], tag)\n"
	"  if not whole or restore(KEYS[1], tag, whole, ARGV[3], ARGV[4]) then\n"
	"    redis.call('ZREM', KEYS[2], tag)\n"
	"  else\n"
	"    redis.call('ZADD', KEYS[2], clock(), tag)\n"
	"  end\n"
	"end\n"
	"return #due\n",
	/* KEYS: unacked, unacked_index. ARGV: the end of the names of what was taken, the names' prefix, the prefix of
	 * bindings, and how many seconds ago it was taken at most. Restores what was taken by an answer that was lost. */
	[MR_SCRIPT_RECLAIM] = RESTORED
	"local from = redis.call('TIME')[1] - ARGV[4]\n"
	"for _, tag in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[2], '+inf', from)) do\n"
	"  local whole = tag:find(ARGV[1], 1, true) and redis.call('HGET', KEYS[1], tag)\n"
	"  if whole and restore(KEYS[1], tag, whole, ARGV[2], ARGV[3]) then\n"
	"    redis.call('ZREM', KEYS[2], tag)\n"
	"  end\n"
	"end\n",
	/* KEYS: the delayed messages, by the time when they are due. ARGV: ms, exchange, routing key, step of the
	 * priority, envelope. Answers 1: a message is kept, for whatever queues there will be. */
	[MR_SCRIPT_DELAY] = "local t = redis.call('TIME')\n"
			    "local due = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1]\n"
			    "redis.call('ZADD', KEYS[1], due, table.concat(ARGV, '\\6\\22', 2))\n"
			    "return 1\n",
	/* KEYS: the delayed messages, the invalid ones. ARGV: how many, the names' prefix, the prefix of bindings. Moves those
	 * that are due, and publishes those of step -1, whose exchange is a channel; answers in how many ms the next one is,
	 * or -1. What is none of ours is put aside: it must not hold up the others. */
	[MR_SCRIPT_MOVE] = QUEUES_OF PUT
	"local t = redis.call('TIME')\n"
	"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
	"local function queues_for(ex, rk)\n"
	"  if ex == '' then return { rk } end\n"
	"  local key = ARGV[3] .. ex\n"
	"  return redis.call('TYPE', key).ok == 'set' and queues_of(key, rk) or {}\n"
	"end\n"
	"local function move(member)\n"
	"  local ex, rk, step, text = member:match('^(.-)\\6\\22(.-)\\6\\22(.-)\\6\\22(.*)$')\n"
	"  if not ex then return put('LPUSH', KEYS[2], member, KEYS[2]) end\n"
	"  local suffix = step == '0' and '' or '\\6\\22' .. step\n"
	"  if step == '-1' then redis.call('PUBLISH', ex, text) return end\n"
	"  for _, q in ipairs(queues_for(ex, rk)) do\n"
	"    local failed = put('LPUSH', ARGV[2] .. q .. suffix, text, KEYS[2])\n"
	"    if failed then return failed end\n"
	"  end\n"
	"end\n"
	"for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do\n"
	"  local failed = move(member)\n"
	"  if failed then return failed end\n"
	"  redis.call('ZREM', KEYS[1], member)\n"
	"end\n"
	"local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')\n"
	"return next[2] and math.max(0, next[2] - now) or -1\n",
};

const char *mr_scripts_text(enum mr_redis_script script) { return texts[script]; }

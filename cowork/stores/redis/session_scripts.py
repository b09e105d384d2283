"""The scripts of the Redis store for sessions, claims, holders and the token; see `lua.py`."""

from __future__ import annotations

from cowork.stores.redis.lua import PRELUDE

CLAIM = f"""{PRELUDE}
local _, _, till, holder = claim_of(ARGV[1])
-- One of our own that is not known to us is the rest of a call that seemed to fail.
if holder and holder ~= ARGV[2] and now() < tonumber(till) then return false end
local number = next_number()
put_claim(ARGV[1], number, number, whole(now() + ARGV[3]), ARGV[2])
return number
"""

CLAIMED_ELSEWHERE = f"""{PRELUDE}
local _, _, till, holder = claim_of(ARGV[1])
return holder and holder ~= ARGV[2] and now() < tonumber(till) and 1 or 0
"""

RELEASE = f"""{PRELUDE}
if claim_of(ARGV[1]) == ARGV[2] then redis.call('HDEL', p .. 'claims', ARGV[1]) end
"""

PUT_SESSION = f"""{PRELUDE}
if not is_newest(ARGV[1], ARGV[2]) then return 0 end
put_session(ARGV[1], ARGV[3])
return 1
"""

# project, the session as it was read ('' for none), how many removals are kept; then the ids of
# those that come
DELETE_SESSION = f"""{PRELUDE}
local body = redis.call('HGET', p .. 'sessions', ARGV[1])
if (body or '') ~= ARGV[2] then return 0 end
local given, _, till, holder = claim_of(ARGV[1])
-- The turn that holds the project keeps it busy, but under a newer number that it does not know.
if given then put_claim(ARGV[1], given, next_number(), till, holder) end
redis.call('HDEL', p .. 'sessions', ARGV[1])
redis.call('ZREM', p .. 'session_order', ARGV[1])
redis.call('HDEL', p .. 'titles', ARGV[1])
redis.call('DEL', p .. 'history:' .. ARGV[1])
forget_turns(ARGV[1])
delete_nodes_of(ARGV[1])
for i = 4, #ARGV do
  forget_transcript(ARGV[i])
  redis.call('ZADD', p .. 'removals', redis.call('INCR', p .. 'place'), ARGV[i])
end
redis.call('ZREMRANGEBYRANK', p .. 'removals', 0, -ARGV[3] - 1)
return 1
"""

# project, title ('' for none)
PUT_TITLE = f"""{PRELUDE}
if redis.call('HEXISTS', p .. 'sessions', ARGV[1]) == 0 then return 0 end
if ARGV[2] == '' then redis.call('HDEL', p .. 'titles', ARGV[1])
else redis.call('HSET', p .. 'titles', ARGV[1], ARGV[2]) end
return 1
"""

# owner and a NUL
TITLES = f"""{PRELUDE}
local found = {{}}
local titles = redis.call('HGETALL', p .. 'titles')
for i = 1, #titles, 2 do
  if string.sub(titles[i], 1, #ARGV[1]) == ARGV[1] then
    found[#found + 1] = string.sub(titles[i], #ARGV[1] + 1)
    found[#found + 1] = titles[i + 1]
  end
end
return found
"""

SESSIONS = f"""{PRELUDE}
local found = {{}}
for _, project in ipairs(redis.call('ZRANGE', p .. 'session_order', 0, -1)) do
  if string.sub(project, 1, #ARGV[1]) == ARGV[1] then
    found[#found + 1] = project
    found[#found + 1] = redis.call('HGET', p .. 'sessions', project)
  end
end
return found
"""

# our version, the holder, the lease; then of each claim its project and number
HEARTBEAT = f"""{PRELUDE}
local version = redis.call('GET', p .. 'version')
if version and tonumber(version) > tonumber(ARGV[1]) then return version end
redis.call('SET', p .. 'version', ARGV[1])
redis.call('HSET', p .. 'holders', ARGV[2], whole(now()))
for i = 4, #ARGV, 2 do
  local given, newest, _, holder = claim_of(ARGV[i])
  if given == ARGV[i + 1] then
    put_claim(ARGV[i], given, newest, whole(now() + ARGV[3]), holder)
  end
end
return false
"""

HOLDERS = f"""{PRELUDE}
local found, known = {{}}, {{}}
local heartbeats = redis.call('HGETALL', p .. 'holders')
for i = 1, #heartbeats, 2 do
  known[heartbeats[i]] = true
  found[#found + 1] = heartbeats[i]
  found[#found + 1] = whole(math.max(now() - tonumber(heartbeats[i + 1]), 0))
end
local open = redis.call('HGETALL', p .. 'open')
for i = 2, #open, 2 do
  if open[i] ~= '' and not known[open[i]] then
    known[open[i]] = true
    found[#found + 1] = open[i]
    found[#found + 1] = ''
  end
end
return found
"""

# expected and new value, '' for none
COMPARE_AND_SET_TOKEN = f"""{PRELUDE}
if (redis.call('GET', p .. 'token') or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', p .. 'token') else
  redis.call('SET', p .. 'token', ARGV[2]) end
return 1
"""

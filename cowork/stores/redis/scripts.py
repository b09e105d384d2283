"""The steps of the Redis store that must happen whole or not at all, as Lua.

`KEYS[1]` is the prefix of every key.  A project is owner and name, with a NUL between.  Moments
are milliseconds of Redis's own clock, so that the clocks of several machines need not agree.
"""

from __future__ import annotations

from cowork.stores.limits import HISTORY_LENGTH, HISTORY_SIZE

_BEGIN = """
local p = KEYS[1]
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function whole(n) return string.format('%.0f', n) end
-- Greater than any before, also after Redis was restarted empty: it is no less than the time.
local function next_number()
  local t = redis.call('TIME')
  local n = t[1] * 1000000 + t[2]
  local last = tonumber(redis.call('GET', p .. 'number') or '0')
  if n <= last then n = last + 1 end
  redis.call('SET', p .. 'number', whole(n))
  return whole(n)
end
-- given, newest, until, holder
local function claim_of(project)
  local held = redis.call('HGET', p .. 'claims', project)
  if not held then return nil end
  return string.match(held, '^(%d+) (%d+) (%d+) (.*)$')
end
local function put_claim(project, given, newest, till, holder)
  local held = given .. ' ' .. newest .. ' ' .. till .. ' ' .. holder
  redis.call('HSET', p .. 'claims', project, held)
end
local function is_newest(project, number)
  local _, newest = claim_of(project)
  return newest == number
end
local function put_session(project, body)
  redis.call('HSET', p .. 'sessions', project, body)
  if not redis.call('ZSCORE', p .. 'session_order', project) then
    redis.call('ZADD', p .. 'session_order', redis.call('INCR', p .. 'place'), project)
  end
end
local function owner_of(project)
  return string.sub(project, 1, string.find(project, '\\0', 1, true) - 1)
end
-- Of each owner, how many messages wait (n) and their bytes (b).  Counted anew when the key has
-- expired: a server of an earlier version does not keep it.
local function outbox_held()
  local key, held = p .. 'outbox_held', {}
  local function add(owner, count, size)
    local had = held[owner] or {0, 0}
    held[owner] = {had[1] + count, had[2] + size}
  end
  local known = redis.call('HGETALL', key)
  for i = 1, #known, 2 do
    local kind, owner, number = known[i]:sub(1, 1), known[i]:sub(2), tonumber(known[i + 1])
    if kind == 'n' then add(owner, number, 0) elseif kind == 'b' then add(owner, 0, number) end
  end
  if known[1] then return held end
  local total = 0
  for _, project in ipairs(redis.call('ZRANGE', p .. 'projects', 0, -1)) do
    for _, id in ipairs(redis.call('ZRANGE', p .. 'waiting:' .. project, 0, -1)) do
      add(owner_of(project), 1, redis.call('HSTRLEN', p .. 'messages', id))
      total = total + 1
    end
  end
  redis.call('HSET', key, 'since', whole(now()))
  for owner, had in pairs(held) do
    redis.call('HSET', key, 'n' .. owner, whole(had[1]), 'b' .. owner, whole(had[2]))
  end
  redis.call('PEXPIRE', key, math.max(60000, total * 10))
  return held
end
local function count_message(project, count, size)
  local key, owner = p .. 'outbox_held', owner_of(project)
  if redis.call('EXISTS', key) == 1 then
    redis.call('HINCRBY', key, 'n' .. owner, count)
    redis.call('HINCRBY', key, 'b' .. owner, whole(size))
  end
end
-- See `OutboxBounds.are_reached`; the bounds, then an owner's share of each.
local function is_full(owner, most, most_bytes, share, share_bytes)
  most, most_bytes = tonumber(most), tonumber(most_bytes)
  share, share_bytes = tonumber(share), tonumber(share_bytes)
  local count, size = 0, 0
  for each, had in pairs(outbox_held()) do
    if each == owner and (had[1] >= share or had[2] >= share_bytes) then return true end
    count, size = count + math.min(had[1], share), size + math.min(had[2], share_bytes)
  end
  return count >= most or size >= most_bytes
end
local function put_message(id, project, body, place)
  if redis.call('HEXISTS', p .. 'messages', id) == 1 then return end
  place = place or redis.call('INCR', p .. 'place')
  redis.call('HSET', p .. 'messages', id, body)
  count_message(project, 1, #body)
  redis.call('ZADD', p .. 'outbox', place, id)
  redis.call('ZADD', p .. 'waiting:' .. project, place, id)
  local first = redis.call('ZRANGE', p .. 'waiting:' .. project, 0, 0, 'WITHSCORES')
  redis.call('ZADD', p .. 'projects', first[2], project)
end
local function take_message(id, project)
  local body = redis.call('HGET', p .. 'messages', id)
  if not body then return nil end
  local place = redis.call('ZSCORE', p .. 'outbox', id)
  redis.call('HDEL', p .. 'messages', id)
  count_message(project, -1, -#body)
  redis.call('SREM', p .. 'tried', id)
  redis.call('ZREM', p .. 'outbox', id)
  redis.call('ZREM', p .. 'waiting:' .. project, id)
  local first = redis.call('ZRANGE', p .. 'waiting:' .. project, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', p .. 'projects', first[2], project)
  else
    redis.call('ZREM', p .. 'projects', project)
  end
  return body, place
end
local function keep_for(turn, key, ms)
  redis.call('PEXPIRE', turn, ms)
  if key then redis.call('PEXPIRE', p .. 'key:' .. key, ms) end
end
-- A project's turns that have ended, by when they expire; it expires with the last of them.
local function index_turn(project, id, ms)
  local index = p .. 'turns_of:' .. project
  redis.call('ZREMRANGEBYSCORE', index, '-inf', whole(now()))
  redis.call('ZADD', index, whole(now() + ms), id)
  local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
  redis.call('PEXPIRE', index, whole(math.max(tonumber(last[2]) - now(), 0) + 1000))
end
local function forget_turns(project)
  local index = p .. 'turns_of:' .. project
  for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local key = redis.call('HGET', p .. 'turn:' .. id, 'key')
    if key and redis.call('HGET', p .. 'key:' .. key, 'turn') == id then
      redis.call('DEL', p .. 'key:' .. key)
    end
    redis.call('DEL', p .. 'turn:' .. id)
  end
  redis.call('DEL', index)
end
"""

CLAIM = f"""{_BEGIN}
local _, _, till, holder = claim_of(ARGV[1])
-- One of our own that is not known to us is the rest of a call that seemed to fail.
if holder and holder ~= ARGV[2] and now() < tonumber(till) then return false end
local number = next_number()
put_claim(ARGV[1], number, number, whole(now() + ARGV[3]), ARGV[2])
return number
"""

CLAIMED_ELSEWHERE = f"""{_BEGIN}
local _, _, till, holder = claim_of(ARGV[1])
return holder and holder ~= ARGV[2] and now() < tonumber(till) and 1 or 0
"""

RELEASE = f"""{_BEGIN}
if claim_of(ARGV[1]) == ARGV[2] then redis.call('HDEL', p .. 'claims', ARGV[1]) end
"""

PUT_SESSION = f"""{_BEGIN}
if not is_newest(ARGV[1], ARGV[2]) then return 0 end
put_session(ARGV[1], ARGV[3])
return 1
"""

# project, the session as it was read ('' for none), how many removals are kept; then the ids of
# those that come
DELETE_SESSION = f"""{_BEGIN}
local body = redis.call('HGET', p .. 'sessions', ARGV[1])
if (body or '') ~= ARGV[2] then return 0 end
local given, _, till, holder = claim_of(ARGV[1])
-- The turn that holds the project keeps it busy, but under a newer number that it does not know.
if given then put_claim(ARGV[1], given, next_number(), till, holder) end
redis.call('HDEL', p .. 'sessions', ARGV[1])
redis.call('ZREM', p .. 'session_order', ARGV[1])
redis.call('DEL', p .. 'history:' .. ARGV[1])
forget_turns(ARGV[1])
for i = 4, #ARGV do
  redis.call('ZADD', p .. 'removals', redis.call('INCR', p .. 'place'), ARGV[i])
end
redis.call('ZREMRANGEBYRANK', p .. 'removals', 0, -ARGV[3] - 1)
return 1
"""

FORGET_TURNS = f"{_BEGIN} forget_turns(ARGV[1])"

# id, project
INDEX_TURN = f"""{_BEGIN}
local left = redis.call('PTTL', p .. 'turn:' .. ARGV[1])
if left > 0 then index_turn(ARGV[2], ARGV[1], left) end
"""

SESSIONS = f"""{_BEGIN}
local found = {{}}
for _, project in ipairs(redis.call('ZRANGE', p .. 'session_order', 0, -1)) do
  if string.sub(project, 1, #ARGV[1]) == ARGV[1] then
    found[#found + 1] = project
    found[#found + 1] = redis.call('HGET', p .. 'sessions', project)
  end
end
return found
"""

# id, owner, state, holder, record; the question's id, project and body; key and digest; limits
PUT_TURN = f"""{_BEGIN}
local key = ARGV[9] ~= '' and ARGV[9]
if key then
  local known = redis.call('HMGET', p .. 'key:' .. key, 'turn', 'digest')
  if known[1] then return known end
end
if ARGV[6] ~= '' and is_full(ARGV[2], ARGV[11], ARGV[12], ARGV[13], ARGV[14]) then
  return 'full'
end
local turn = p .. 'turn:' .. ARGV[1]
if redis.call('EXISTS', turn) == 1 then return false end
if key then
  redis.call('HSET', p .. 'key:' .. key, 'turn', ARGV[1], 'digest', ARGV[10])
  redis.call('HSET', turn, 'key', key)
end
redis.call('HSET', turn, 'owner', ARGV[2], 'state', ARGV[3], 'holder', ARGV[4], 'record', ARGV[5])
redis.call('HSET', p .. 'open', ARGV[1], ARGV[4])
if ARGV[6] ~= '' then
  if ARGV[3] == 'queued' then
    redis.call('HSET', turn, 'question', ARGV[8], 'question_id', ARGV[6], 'project', ARGV[7])
  else
    put_message(ARGV[6], ARGV[7], ARGV[8])
  end
end
return false
"""

# id, state, record; the question's id, project and body
START_TURN = f"""{_BEGIN}
local turn = p .. 'turn:' .. ARGV[1]
if redis.call('HEXISTS', turn, 'record') == 1 and redis.call('HEXISTS', turn, 'ended') == 0 then
  redis.call('HSET', turn, 'state', ARGV[2], 'record', ARGV[3])
  redis.call('HDEL', turn, 'question')
end
if ARGV[4] ~= '' then put_message(ARGV[4], ARGV[5], ARGV[6]) end
"""

# id, owner, state, holder, record, ended, milliseconds to keep, whether the key is given back,
# whether there is a log, the log, project, the claim's number, session, exchange; then of each
# message its id, project and body
END_TURN = f"""{_BEGIN}
local turn = p .. 'turn:' .. ARGV[1]
local was = redis.call('HMGET', turn, 'ended', 'holder', 'key')
if was[1] and was[2] and was[2] ~= '' then return 1 end
redis.call('HDEL', turn, 'question', 'log')
redis.call('HSET', turn, 'owner', ARGV[2], 'state', ARGV[3], 'holder', ARGV[4], 'record', ARGV[5],
  'ended', ARGV[6])
if ARGV[9] == '1' then redis.call('HSET', turn, 'log', ARGV[10]) end
keep_for(turn, was[3], ARGV[7])
index_turn(ARGV[11], ARGV[1], ARGV[7])
if was[3] and ARGV[8] == '1' then redis.call('DEL', p .. 'key:' .. was[3]) end
redis.call('HDEL', p .. 'open', ARGV[1])
for i = 15, #ARGV, 3 do put_message(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
if ARGV[12] == '' or not is_newest(ARGV[11], ARGV[12]) then
  return ARGV[13] == '' and 1 or 0
end
if ARGV[13] ~= '' then put_session(ARGV[11], ARGV[13]) end
if ARGV[14] ~= '' then
  local history = p .. 'history:' .. ARGV[11]
  redis.call('RPUSH', history, ARGV[14])
  redis.call('LTRIM', history, -{HISTORY_LENGTH}, -1)
  local size = 0
  for _, each in ipairs(redis.call('LRANGE', history, 0, -1)) do size = size + #each end
  while size > {HISTORY_SIZE} do size = size - #redis.call('LPOP', history) end
end
return 1
"""

# the holder, the moment, milliseconds to keep
BURY_HOLDER = f"""{_BEGIN}
local lost = {{}}
local claims = redis.call('HGETALL', p .. 'claims')
for i = 1, #claims, 2 do
  local _, _, _, holder = claim_of(claims[i])
  if holder == ARGV[1] then redis.call('HDEL', p .. 'claims', claims[i]) end
end
redis.call('HDEL', p .. 'holders', ARGV[1])
local open = redis.call('HGETALL', p .. 'open')
for i = 1, #open, 2 do
  if open[i + 1] == ARGV[1] then
    local turn = p .. 'turn:' .. open[i]
    local was = redis.call('HMGET', turn, 'question', 'question_id', 'project', 'key')
    if was[1] then put_message(was[2], was[3], was[1]) end
    redis.call('HDEL', turn, 'question')
    -- Nobody holds it any more: that tells it from one that was seen to end.
    redis.call('HSET', turn, 'state', 'failed', 'ended', ARGV[2], 'holder', '')
    keep_for(turn, was[4], ARGV[3])
    redis.call('HDEL', p .. 'open', open[i])
    lost[#lost + 1] = open[i]
  end
end
return lost
"""

# our version, the holder, the lease; then of each claim its project and number
BEAT = f"""{_BEGIN}
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

HOLDERS = f"""{_BEGIN}
local found, known = {{}}, {{}}
local beats = redis.call('HGETALL', p .. 'holders')
for i = 1, #beats, 2 do
  known[beats[i]] = true
  found[#found + 1] = beats[i]
  found[#found + 1] = whole(math.max(now() - tonumber(beats[i + 1]), 0))
end
local open = redis.call('HGETALL', p .. 'open')
for i = 2, #open, 2 do
  if not known[open[i]] then
    known[open[i]] = true
    found[#found + 1] = open[i]
    found[#found + 1] = ''
  end
end
return found
"""

# expected and new value, '' for none
SWAP = f"""{_BEGIN}
if (redis.call('GET', p .. 'token') or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', p .. 'token') else
  redis.call('SET', p .. 'token', ARGV[2]) end
return 1
"""

TAKE_MESSAGE = f"{_BEGIN} take_message(ARGV[1], ARGV[2])"

NEXT_MESSAGE = f"""{_BEGIN}
local first = redis.call('ZRANGE', p .. 'waiting:' .. ARGV[1], 0, 0)
local body = first[1] and redis.call('HGET', p .. 'messages', first[1])
return body and {{body, redis.call('SISMEMBER', p .. 'tried', first[1])}}
"""

# id, whether it may have been sent
NOTE_TRY = f"""{_BEGIN}
if ARGV[2] == '0' then redis.call('SREM', p .. 'tried', ARGV[1])
elseif redis.call('HEXISTS', p .. 'messages', ARGV[1]) == 1 then
  redis.call('SADD', p .. 'tried', ARGV[1])
end
"""

# limits, the message that was the first when last asked: its body is not sent again
COUNTS = f"""{_BEGIN}
local first = redis.call('ZRANGE', p .. 'outbox', 0, 0)
return {{
  redis.call('ZCARD', p .. 'outbox'),
  redis.call('ZCARD', p .. 'dead'),
  is_full(nil, ARGV[1], ARGV[2], ARGV[3], ARGV[4]) and 1 or 0,
  first[1],
  first[1] and first[1] ~= ARGV[5] and redis.call('HGET', p .. 'messages', first[1]) or nil
}}
"""

# id, project, owner, why, died, limits; gives the ids of the letters that had to go
BURY_MESSAGE = f"""{_BEGIN}
local body, place = take_message(ARGV[1], ARGV[2])
if not body then return {{}} end
redis.call('HSET', p .. 'letter:' .. ARGV[1], 'body', body, 'place', place, 'project', ARGV[2],
  'owner', ARGV[3], 'why', ARGV[4], 'died', ARGV[5])
redis.call('ZADD', p .. 'dead', redis.call('INCR', p .. 'place'), ARGV[1])
-- Of each owner its letters, oldest first, and their bytes.
local letters, held, count, size = {{}}, {{}}, 0, 0
for _, id in ipairs(redis.call('ZRANGE', p .. 'dead', 0, -1)) do
  local letter = p .. 'letter:' .. id
  local owner, bytes = redis.call('HGET', letter, 'owner'), redis.call('HSTRLEN', letter, 'body')
  letters[owner], held[owner] = letters[owner] or {{}}, (held[owner] or 0) + bytes
  table.insert(letters[owner], {{id, bytes}})
  count, size = count + 1, size + bytes
end
local dropped = {{}}
while count > tonumber(ARGV[6]) or (count > 1 and size > tonumber(ARGV[7])) do
  local most, has = nil, -1
  for owner, theirs in pairs(letters) do
    local this = count > tonumber(ARGV[6]) and #theirs or held[owner]
    if #theirs > 0 and this > has then most, has = owner, this end
  end
  local first = table.remove(letters[most], 1)
  held[most], count, size = held[most] - first[2], count - 1, size - first[2]
  redis.call('ZREM', p .. 'dead', first[1])
  redis.call('DEL', p .. 'letter:' .. first[1])
  dropped[#dropped + 1] = first[1]
end
return dropped
"""

DEAD_LETTERS = f"""{_BEGIN}
local found = {{}}
for _, id in ipairs(redis.call('ZRANGE', p .. 'dead', 0, -1)) do
  local letter = redis.call('HMGET', p .. 'letter:' .. id, 'owner', 'body', 'why', 'died')
  if letter[1] == ARGV[1] then found[#found + 1] = {{letter[2], letter[3], letter[4]}} end
end
return found
"""

REVIVE = f"""{_BEGIN}
local count = 0
for _, id in ipairs(redis.call('ZRANGE', p .. 'dead', 0, -1)) do
  local letter = redis.call('HMGET', p .. 'letter:' .. id, 'owner', 'body', 'place', 'project')
  if letter[1] == ARGV[1] then
    put_message(id, letter[4], letter[2], letter[3])
    redis.call('ZREM', p .. 'dead', id)
    redis.call('DEL', p .. 'letter:' .. id)
    count = count + 1
  end
end
return count
"""

LEASE_RELAY = f"""{_BEGIN}
local held = redis.call('GET', p .. 'relay')
if held and held ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) > 0 then redis.call('SET', p .. 'relay', ARGV[1], 'PX', ARGV[2]) else
  redis.call('DEL', p .. 'relay') end
return 1
"""

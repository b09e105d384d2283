"""The scripts of the Redis store for turns, those of a dead holder too; see `lua.py`."""

from __future__ import annotations

from cowork.stores.limits import HISTORY_LENGTH, HISTORY_SIZE
from cowork.stores.redis.lua import PRELUDE
from cowork.stores.redis.node_scripts import NODES
from cowork.stores.redis.usage_scripts import COUNT_USAGE

# How long what was published of a turn is kept behind its end, for those who read it just now.
EVENTS_KEEP_MS = 60_000

# id, owner, state, holder, record; the question's id, project and body; key and digest; limits;
# project, and when it was created (microseconds)
PUT_TURN = f"""{PRELUDE}
if redis.call('EXISTS', p .. 'withdrawn:' .. ARGV[1]) == 1 then return 'withdrawn' end
local key = ARGV[9] ~= '' and ARGV[9]
if key then
  local known = redis.call('HMGET', p .. 'key:' .. key, 'turn', 'digest')
  -- One that was bound to a turn stays when that is deleted.
  if known[1] and redis.call('EXISTS', p .. 'turn:' .. known[1]) == 1 then return known end
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
list_turn(ARGV[15], ARGV[1], ARGV[16])
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
# key, turn, digest, milliseconds to keep
BIND_KEY = f"""{PRELUDE}
local key = p .. 'key:' .. ARGV[1]
if ARGV[5] == '1' then redis.call('DEL', key) end
if redis.call('HSETNX', key, 'turn', ARGV[2]) == 1 then
  redis.call('HSET', key, 'digest', ARGV[3])
  redis.call('PEXPIRE', key, ARGV[4])
end
"""

START_TURN = f"""{PRELUDE}
local turn = p .. 'turn:' .. ARGV[1]
local is_open = redis.call('HEXISTS', turn, 'record') == 1
  and redis.call('HEXISTS', turn, 'ended') == 0
if is_open then
  redis.call('HSET', turn, 'state', ARGV[2], 'record', ARGV[3])
  redis.call('HDEL', turn, 'question')
end
if ARGV[4] ~= '' then put_message(ARGV[4], ARGV[5], ARGV[6]) end
return is_open and 1 or 0
"""

# id, owner, state, holder, record, ended, milliseconds to keep, whether the key is given back,
# whether there is a log, the log, project, the claim's number, session, exchange; the day of what
# was spent, milliseconds to keep that, how many it is; when it was created; then of each the field
# and the numbers; then of each message its id, project and body; then of each node its key,
# session, directory and turn, how many an owner may have, and all, and how many it is
END_TURN = f"""{PRELUDE}{COUNT_USAGE}{NODES}
local turn = p .. 'turn:' .. ARGV[1]
local was = redis.call('HMGET', turn, 'ended', 'holder', 'key')
if was[2] and was[2] ~= '' and (was[1] or was[2] ~= ARGV[4]) then return 1 end
redis.call('HDEL', turn, 'question', 'log', 'parks')
redis.call('SREM', p .. 'parked', ARGV[1])
redis.call('HSET', turn, 'owner', ARGV[2], 'state', ARGV[3], 'holder', ARGV[4], 'record', ARGV[5],
  'ended', ARGV[6])
if ARGV[9] == '1' then redis.call('HSET', turn, 'log', ARGV[10]) end
keep_for(turn, was[3], ARGV[7])
list_turn(ARGV[11], ARGV[1], ARGV[18])
index_turn(ARGV[11], ARGV[1], ARGV[7])
if was[3] and ARGV[8] == '1' then redis.call('DEL', p .. 'key:' .. was[3]) end
redis.call('HDEL', p .. 'open', ARGV[1])
if ARGV[9] ~= '1' and redis.call('EXISTS', p .. 'events:' .. ARGV[1]) == 1 then
  redis.call('XTRIM', p .. 'events:' .. ARGV[1], 'MAXLEN', 0)
end
end_events(ARGV[1], {EVENTS_KEEP_MS})
local messages = 19 + 2 * ARGV[17]
count_usage(ARGV[2], ARGV[15], ARGV[16], 19, messages - 1)
local nodes = #ARGV - 2 - 4 * ARGV[#ARGV]
for i = messages, nodes - 1, 3 do put_message(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
if ARGV[12] == '' or not is_newest(ARGV[11], ARGV[12]) then
  return ARGV[13] == '' and 1 or 0
end
if ARGV[13] ~= '' then put_session(ARGV[11], ARGV[13]) end
for i = nodes, #ARGV - 3, 4 do
  put_node(ARGV[2], ARGV[i], ARGV[11], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3],
    tonumber(ARGV[#ARGV - 2]), tonumber(ARGV[#ARGV - 1]))
end
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

# id, state, record, log, our holder, the new one ('': nobody), whether it parks
SAVE_TURN = f"""{PRELUDE}
local turn = p .. 'turn:' .. ARGV[1]
local was = redis.call('HMGET', turn, 'ended', 'holder')
if was[1] or was[2] ~= ARGV[5] then return end
redis.call('HSET', turn, 'state', ARGV[2], 'record', ARGV[3], 'holder', ARGV[6], 'parks', ARGV[7])
if ARGV[4] ~= '' then redis.call('HSET', turn, 'log', ARGV[4]) end
redis.call('HSET', p .. 'open', ARGV[1], ARGV[6])
if ARGV[6] == '' then redis.call('SADD', p .. 'parked', ARGV[1]) end
"""

# owner, id, holder
ADOPT_TURN = f"""{PRELUDE}
local turn = p .. 'turn:' .. ARGV[2]
local was = redis.call('HMGET', turn, 'ended', 'holder', 'owner')
redis.call('SREM', p .. 'parked', ARGV[2])
if was[1] or was[2] ~= '' or was[3] ~= ARGV[1] then return 0 end
redis.call('HSET', turn, 'holder', ARGV[3])
redis.call('HSET', p .. 'open', ARGV[2], ARGV[3])
return 1
"""

FORGET_TURNS = f"{PRELUDE} forget_turns(ARGV[1])"

# project, the place that was the last one ('' for none) and its id, state ('' for any), since when
# those must have ended that have ('' for any), and how many turns, bytes of their records, and
# others that are passed over there are at most.  The place behind which there may be more and its
# id ('' for none); then of each its record, state, moment of its end ('' for none) and holder
TURNS = f"""{PRELUDE}
local index, from = p .. 'turns_at:' .. ARGV[1], ARGV[2] == '' and '+inf' or ARGV[2]
local found, size, seen, last = {{'', ''}}, 0, 0, nil
local listed = redis.call('ZREVRANGEBYSCORE', index, from, '-inf', 'WITHSCORES',
  'LIMIT', 0, ARGV[8] + 1)
for i = 1, #listed, 2 do
  local id, created = listed[i], listed[i + 1]
  if ARGV[2] == '' or tonumber(created) < tonumber(ARGV[2]) or id < ARGV[3] then
    if (#found - 2) / 4 >= tonumber(ARGV[6]) or size > tonumber(ARGV[7])
      or seen >= tonumber(ARGV[8]) then
      found[1], found[2] = last[2], last[1]
      return found
    end
    last, seen = {{id, created}}, seen + 1
    local turn = redis.call('HMGET', p .. 'turn:' .. id, 'state', 'ended', 'holder')
    if not turn[1] then
      redis.call('ZREM', index, id)
    elseif (ARGV[4] == '' or turn[1] == ARGV[4])
      and (ARGV[5] == '' or not turn[2] or turn[2] >= ARGV[5]) then
      local record = redis.call('HGET', p .. 'turn:' .. id, 'record')
      size = size + #record
      found[#found + 1] = record
      found[#found + 1] = turn[1]
      found[#found + 1] = turn[2] or ''
      found[#found + 1] = turn[3]
    end
  end
end
if last and #listed / 2 > tonumber(ARGV[8]) then found[1], found[2] = last[2], last[1] end
return found
"""

# id, project, when it was created
INDEX_TURN = f"""{PRELUDE}
local left = redis.call('PTTL', p .. 'turn:' .. ARGV[1])
if left ~= -2 then list_turn(ARGV[2], ARGV[1], ARGV[3]) end
if left > 0 then index_turn(ARGV[2], ARGV[1], left) end
"""

# the holder, the moment, milliseconds to keep
RELEASE_DEAD_HOLDER = f"""{PRELUDE}
local lost = {{}}
local claims = redis.call('HGETALL', p .. 'claims')
for i = 1, #claims, 2 do
  local _, _, _, holder = claim_of(claims[i])
  if holder == ARGV[1] then redis.call('HDEL', p .. 'claims', claims[i]) end
end
redis.call('HDEL', p .. 'holders', ARGV[1])
redis.call('HDEL', p .. 'workers', ARGV[1])
redis.call('DEL', p .. 'inbox:' .. ARGV[1])
local open = redis.call('HGETALL', p .. 'open')
for i = 1, #open, 2 do
  local turn = p .. 'turn:' .. open[i]
  if open[i + 1] == ARGV[1] and redis.call('HGET', turn, 'parks') == '1' then
    redis.call('HSET', turn, 'holder', '')
    redis.call('HSET', p .. 'open', open[i], '')
    redis.call('SADD', p .. 'parked', open[i])
  elseif open[i + 1] == ARGV[1] then
    local was = redis.call('HMGET', turn, 'question', 'question_id', 'project', 'key', 'state')
    if was[1] then put_message(was[2], was[3], was[1]) end
    redis.call('HDEL', turn, 'question')
    -- Nobody holds it any more: that tells it from one that was seen to end.
    redis.call('HSET', turn, 'state', 'failed', 'ended', ARGV[2], 'holder', '')
    keep_for(turn, was[4], ARGV[3])
    if was[4] and was[5] == 'queued' then redis.call('DEL', p .. 'key:' .. was[4]) end
    end_events(open[i], ARGV[3])
    redis.call('HDEL', p .. 'open', open[i])
    lost[#lost + 1] = open[i]
  end
end
return lost
"""

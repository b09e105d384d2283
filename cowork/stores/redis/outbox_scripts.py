"""The scripts of the Redis store for chat messages that wait, and dead letters; see `lua.py`."""

from __future__ import annotations

from cowork.stores.redis.lua import PRELUDE

DELETE_MESSAGE = f"{PRELUDE} take_message(ARGV[1], ARGV[2])"

NEXT_MESSAGE = f"""{PRELUDE}
local first = redis.call('ZRANGE', p .. 'waiting:' .. ARGV[1], 0, 0)
local body = first[1] and redis.call('HGET', p .. 'messages', first[1])
return body and {{body, redis.call('SISMEMBER', p .. 'tried', first[1])}}
"""

# id, whether it may have been sent
NOTE_TRY = f"""{PRELUDE}
if ARGV[2] == '0' then redis.call('SREM', p .. 'tried', ARGV[1])
elseif redis.call('HEXISTS', p .. 'messages', ARGV[1]) == 1 then
  redis.call('SADD', p .. 'tried', ARGV[1])
end
"""

# limits, the message that was the first when last asked: its body is not sent again
OUTBOX_COUNTS = f"""{PRELUDE}
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
MOVE_TO_DEAD_LETTERS = f"""{PRELUDE}
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

DEAD_LETTERS = f"""{PRELUDE}
local found = {{}}
for _, id in ipairs(redis.call('ZRANGE', p .. 'dead', 0, -1)) do
  local letter = redis.call('HMGET', p .. 'letter:' .. id, 'owner', 'body', 'why', 'died')
  if letter[1] == ARGV[1] then found[#found + 1] = {{letter[2], letter[3], letter[4]}} end
end
return found
"""

REQUEUE_DEAD_LETTERS = f"""{PRELUDE}
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

ACQUIRE_DELIVERY_LEASE = f"""{PRELUDE}
local held = redis.call('GET', p .. 'relay')
if held and held ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) > 0 then redis.call('SET', p .. 'relay', ARGV[1], 'PX', ARGV[2]) else
  redis.call('DEL', p .. 'relay') end
return 1
"""

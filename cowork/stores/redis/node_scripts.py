"""The scripts of the Redis store for nodes of conversations; see `lua.py`."""

from __future__ import annotations

from cowork.stores.redis.lua import PRELUDE

# Last uses are microseconds: several in a millisecond are no rarity.
_NODES = f"""{PRELUDE}
local function moment()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
"""

# owner, key, project, session, directory, turn; how many nodes an owner may have, and all
PUT_NODE = f"""{_NODES}
local owner, key = ARGV[1], ARGV[2]
local dropped = delete_node(owner, key)
redis.call('HSET', p .. 'node:' .. owner .. '\\0' .. key,
  'project', ARGV[3], 'session', ARGV[4], 'cwd', ARGV[5], 'turn', ARGV[6])
redis.call('HSET', p .. 'node_turns', owner .. '\\0' .. ARGV[6], key)
redis.call('SADD', p .. 'nodes_of:' .. ARGV[3], key)
redis.call('ZADD', p .. 'nodes:' .. owner, whole(moment()), key)
local count = redis.call('ZCARD', p .. 'nodes:' .. owner)
redis.call('ZADD', p .. 'node_owners', count, owner)
local owners, total = redis.call('ZRANGE', p .. 'node_owners', 0, -1, 'WITHSCORES'), 0
for i = 2, #owners, 2 do total = total + tonumber(owners[i]) end
if total > tonumber(ARGV[8]) then owner = owners[#owners - 1] end
if total > tonumber(ARGV[8]) or count > tonumber(ARGV[7]) then
  dropped = delete_node(owner, redis.call('ZRANGE', p .. 'nodes:' .. owner, 0, 0)[1])
end
if dropped and is_unnamed(dropped) and not has_nodes(dropped) then return dropped end
return false
"""

# owner, key ('' for that of the turn), turn
FIND_NODE = f"""{_NODES}
local owner, key = ARGV[1], ARGV[2]
if key == '' then key = redis.call('HGET', p .. 'node_turns', owner .. '\\0' .. ARGV[3]) end
if not key then return false end
local found = redis.call('HMGET', p .. 'node:' .. owner .. '\\0' .. key,
  'project', 'session', 'cwd', 'turn')
if not found[1] then return false end
redis.call('ZADD', p .. 'nodes:' .. owner, 'XX', whole(moment()), key)
return {{key, unpack(found)}}
"""

# milliseconds, how many at most
EXPIRE_NODES = f"""{_NODES}
local before, left = now() - ARGV[1], tonumber(ARGV[2])
for _, owner in ipairs(redis.call('ZRANGE', p .. 'node_owners', 0, -1)) do
  local found = redis.call('ZRANGEBYSCORE', p .. 'nodes:' .. owner, '-inf', whole(before * 1000),
    'LIMIT', 0, left)
  for _, key in ipairs(found) do delete_node(owner, key) end
  left = left - #found
end
local unused = {{}}
for _, project in ipairs(redis.call('ZRANGEBYSCORE', p .. 'unnamed', '-inf', whole(before))) do
  if #unused < tonumber(ARGV[2]) and not has_nodes(project) then
    unused[#unused + 1] = project
  end
end
return unused
"""

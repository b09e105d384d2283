"""The scripts of the Redis store for nodes of conversations; see `lua.py`."""

from __future__ import annotations

from cowork.stores.redis.lua import PRELUDE

# Last uses are microseconds: several in a millisecond are no rarity.
NODES = """
local function moment()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
-- How many nodes an owner may have, and all; of too many another one goes.
local function put_node(owner, key, project, session, cwd, turn, most_of_owner, most)
  delete_node(owner, key)
  redis.call('HSET', p .. 'node:' .. owner .. '\\0' .. key,
    'project', project, 'session', session, 'cwd', cwd, 'turn', turn)
  redis.call('HSET', p .. 'node_turns', owner .. '\\0' .. turn, key)
  redis.call('SADD', p .. 'nodes_of:' .. project, key)
  redis.call('ZADD', p .. 'nodes:' .. owner, whole(moment()), key)
  local count = redis.call('ZCARD', p .. 'nodes:' .. owner)
  redis.call('ZADD', p .. 'node_owners', count, owner)
  local owners, total = redis.call('ZRANGE', p .. 'node_owners', 0, -1, 'WITHSCORES'), 0
  for i = 2, #owners, 2 do total = total + tonumber(owners[i]) end
  if total > most then owner = owners[#owners - 1]
  elseif count <= most_of_owner then return end
  delete_node(owner, redis.call('ZRANGE', p .. 'nodes:' .. owner, 0, 0)[1])
end
"""

# owner, key ('' for that of the turn), turn
FIND_NODE = f"""{PRELUDE}{NODES}
local owner, key = ARGV[1], ARGV[2]
if key == '' then key = redis.call('HGET', p .. 'node_turns', owner .. '\\0' .. ARGV[3]) end
if not key then return false end
local found = redis.call('HMGET', p .. 'node:' .. owner .. '\\0' .. key,
  'project', 'session', 'cwd', 'turn')
if not found[1] then return false end
redis.call('ZADD', p .. 'nodes:' .. owner, 'XX', whole(moment()), key)
return {{key, unpack(found)}}
"""

# milliseconds without use of a node, and of a session without one; how many at most
EXPIRE_NODES = f"""{PRELUDE}
local before, orphaned, left = now() - ARGV[1], now() - ARGV[2], tonumber(ARGV[3])
for _, owner in ipairs(redis.call('ZRANGE', p .. 'node_owners', 0, -1)) do
  local found = redis.call('ZRANGEBYSCORE', p .. 'nodes:' .. owner, '-inf', whole(before * 1000),
    'LIMIT', 0, left)
  for _, key in ipairs(found) do delete_node(owner, key) end
  left = left - #found
end
local unused = {{}}
for _, project in ipairs(redis.call('ZRANGEBYSCORE', p .. 'unnamed', '-inf', whole(orphaned))) do
  if #unused < tonumber(ARGV[3]) and not has_nodes(project) then
    unused[#unused + 1] = project
  end
end
return unused
"""
